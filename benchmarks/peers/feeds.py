"""Programs that hand out shuffled batches of the same data, endlessly: the limit, ladle, and other libraries.

    ARRAYS    60,000 x 784 bytes with a label, in memory
    MAPPED    640,000 x 784 float32 in one `.npy` file
    PARQUET   5,000,000 x 20 float32 in one Parquet file, row groups of 65,536

Each is made once for a file (or "") and a batch size, `PROGRAMS[name](path, batch)`, and then starts endless iterators.
The limits have their shuffle worked out beforehand and do nothing but gather.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rates import Feed

ROWS, PIXELS = 60_000, 784
MAPPED_ROWS, FEATURES = 640_000, 784
PARQUET_ROWS, COLUMNS, GROUP, MIX = 5_000_000, 20, 65_536, 8
BUFFER = 10_000
"""Rows that the stream shuffles of other libraries hold."""

Program = Callable[[str, int], Feed]


# --- data ------------------------------------------------------------------------------------------------------------


@cache
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (ROWS, PIXELS), dtype=np.uint8), rng.integers(0, 10, ROWS)


def write_npy(path: Path) -> None:
    """Pages written here stay in the page cache: what reads them is not measured on a cold disk."""
    rng = np.random.default_rng(0)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (MAPPED_ROWS, FEATURES))
    for start in range(0, MAPPED_ROWS, 20_000):
        file[start : start + 20_000] = rng.random((20_000, FEATURES), np.float32)


def write_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    table = pa.table({f"c{i:02}": rng.random(PARQUET_ROWS, np.float32) for i in range(COLUMNS)})
    pq.write_table(table, path, row_group_size=GROUP)


# --- what several cases share ----------------------------------------------------------------------------------------


def again(start: Callable[[], Any]) -> Feed:
    """Pass after pass."""

    def batches() -> Iterator[Any]:
        while True:
            yield from start()

    return batches


def gather(rows: int, batch: int, take: Callable[[np.ndarray], Any]) -> Feed:
    """One shuffle, worked out beforehand, over and over; the last examples are left out where they fill no batch."""
    ids = np.random.default_rng(1).permutation(rows)
    return again(lambda: (take(ids[at : at + batch]) for at in range(0, rows - batch + 1, batch)))


def ladle(data: Any, batch: int, **how: Any) -> Feed:
    """The public loader. It is closed with its iterator, which may be before a pass ends."""
    from ladle.feed import Loader

    def batches() -> Iterator[Any]:
        loader = Loader(data() if callable(data) else data, batch, **{"drop_last": True, **how})
        try:
            while True:
                yield from loader
        finally:
            loader.close()

    return batches


def torch_of(dataset: Callable[[Any], Any], batch: int, **how: Any) -> Feed:
    """A DataLoader over `dataset(torch)`; worker processes live from pass to pass."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)  # Its thread pool waits for itself once a core is taken.
    items = dataset(torch)

    def batches() -> Iterator[Any]:
        loader = DataLoader(items, **{"batch_size": batch, "shuffle": True, "drop_last": True, **how})
        while True:
            yield from loader

    return batches


def grain_of(source: Any, batch: int) -> Feed:
    import grain

    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    endless = grain.MapDataset.source(source).shuffle(seed=1).repeat(None).batch(batch, drop_remainder=True)
    return again(lambda: endless.to_iter_dataset(options))


# --- 60,000 x 784 bytes with a label ---------------------------------------------------------------------------------


class Pairs:
    """A map-style dataset, one example at a time."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        return {"x": self.x[index], "y": self.y[index]}


class Fetched:
    """A map-style dataset with torch's hook for whole batches."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, ids: list[int]) -> Any:
        return self.x[ids], self.y[ids]


def raw_arrays(path: str, batch: int) -> Feed:
    x, y = images()
    return gather(ROWS, batch, lambda ids: (x[ids], y[ids]))


def take_arrays(path: str, batch: int) -> Feed:
    x, y = images()
    into = np.empty((batch, PIXELS), x.dtype), np.empty(batch, y.dtype)

    def take(ids: np.ndarray) -> Any:
        # Anything but mode="raise" writes in place; with "raise" NumPy copies once more.
        np.take(x, ids, axis=0, out=into[0], mode="clip")
        np.take(y, ids, out=into[1], mode="clip")
        return into

    return gather(ROWS, batch, take)


def ladle_arrays(to: str) -> Program:
    return lambda path, batch: ladle(dict(zip("xy", images(), strict=True)), batch, to=to)


def torch_arrays(workers: int) -> Program:
    def pairs(torch: Any) -> Any:
        return torch.utils.data.TensorDataset(*map(torch.from_numpy, images()))

    return lambda path, batch: torch_of(pairs, batch, num_workers=workers, persistent_workers=workers > 0)


def torch_fetched(path: str, batch: int) -> Feed:
    return torch_of(lambda torch: Fetched(*map(torch.from_numpy, images())), batch, collate_fn=lambda fetched: fetched)


def grain_arrays(path: str, batch: int) -> Feed:
    return grain_of(Pairs(*images()), batch)


def hugging_face_arrays(path: str, batch: int) -> Feed:
    import datasets
    import pyarrow as pa

    x, y = images()
    rows = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), PIXELS), "y": y})
    data = datasets.Dataset(rows).with_format("numpy")
    return again(lambda: data.shuffle(seed=1).iter(batch, drop_last_batch=True))


ARRAYS: dict[str, Program] = {
    "X[ids], y[ids]": raw_arrays,
    "np.take(out=)": take_arrays,
    "ladle, numpy": ladle_arrays("numpy"),
    "ladle, torch": ladle_arrays("torch"),
    "ladle, jax": ladle_arrays("jax"),
    "DataLoader, 0 workers": torch_arrays(0),
    "DataLoader, 2 workers": torch_arrays(2),
    "DataLoader, __getitems__": torch_fetched,
    "Grain": grain_arrays,
    "Hugging Face": hugging_face_arrays,
}


# --- 640,000 x 784 float32, mapped -----------------------------------------------------------------------------------


def touched(x: np.ndarray) -> np.ndarray:
    """`x` with every page of it mapped, which happens once in the life of a process and is not what is measured."""
    x.reshape(-1)[::1024].sum()
    return x


class Rows:
    """A map-style dataset over a mapped file: one row, or the rows of a whole batch, as a tensor or an array."""

    def __init__(self, path: str, convert: Callable[[np.ndarray], Any] = np.asarray) -> None:
        self.x, self.convert = touched(np.load(path, mmap_mode="r")), convert

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Any:
        return self.convert(self.x[index])


def raw_mapped(path: str, batch: int) -> Feed:
    x = touched(np.load(path, mmap_mode="r"))
    return gather(MAPPED_ROWS, batch, lambda ids: x[ids])


def ladle_mapped(order: str, **how: Any) -> Program:
    from ladle.feed import Mapped

    def made(path: str, batch: int) -> Feed:
        source = Mapped({"x": path})
        touched(source.tree["x"])
        return ladle(source, batch, order=order, **how)

    return made


def torch_mapped(path: str, batch: int) -> Feed:
    """A sampler of whole batches: the dataset is asked once for each."""
    from torch.utils.data import BatchSampler, RandomSampler

    rows = Rows(path)
    whole = BatchSampler(RandomSampler(rows), batch, drop_last=True)  # type: ignore[arg-type]
    return torch_of(
        lambda torch: Rows(path, torch.from_numpy), batch, batch_size=None, shuffle=None, drop_last=False, sampler=whole
    )


def torch_mapped_items(path: str, batch: int) -> Feed:
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # Nobody writes to it.
    return torch_of(lambda torch: Rows(path), batch)


def grain_mapped(path: str, batch: int) -> Feed:
    return grain_of(Rows(path), batch)


MAPPED: dict[str, Program] = {
    "X[ids]": raw_mapped,
    "ladle, permuted": ladle_mapped("permuted"),
    "ladle, permuted, 0 workers": ladle_mapped("permuted", workers=0),
    "ladle, permuted, 1 worker": ladle_mapped("permuted", workers=1),
    "ladle, blocks": ladle_mapped("blocks"),
    "ladle, blocks, 0 workers": ladle_mapped("blocks", workers=0),
    "DataLoader, whole batches": torch_mapped,
    "DataLoader, items": torch_mapped_items,
    "Grain": grain_mapped,
}


# --- 5,000,000 x 20 float32, Parquet ---------------------------------------------------------------------------------


def raw_parquet(path: str, batch: int) -> Feed:
    x = np.random.default_rng(0).random((PARQUET_ROWS, COLUMNS), np.float32)
    return gather(PARQUET_ROWS, batch, lambda ids: x[ids])


def ladle_parquet(workers: int) -> Program:
    from ladle.feed import Blocks, Parquet

    def made(path: str, batch: int) -> Feed:
        sizes = Parquet(path).blocks
        # A lap opens the file anew, so that its first batch is that of a new process.
        return ladle(lambda: Parquet(path), batch, order=lambda seed: Blocks(sizes, seed, MIX), workers=workers)

    return made


def pyarrow_by_hand(path: str, batch: int) -> Feed:
    """What a patient user writes: as many row groups at a time, in random order, their rows shuffled together."""
    import pyarrow.parquet as pq

    file, rng = pq.ParquetFile(path), np.random.default_rng(1)

    def one_pass() -> Iterator[Any]:
        groups = rng.permutation(file.num_row_groups).tolist()
        for at in range(0, len(groups), MIX):
            table = file.read_row_groups(groups[at : at + MIX])
            rows = np.stack([column.to_numpy() for column in table.columns], 1)
            ids = rng.permutation(len(rows))
            for start in range(0, len(ids) - batch + 1, batch):
                yield rows[ids[start : start + batch]]

    return again(one_pass)


def hugging_face_parquet(path: str, batch: int) -> Feed:
    import datasets

    stream: Any = datasets.load_dataset("parquet", data_files=path, streaming=True, split="train")
    mixed = stream.shuffle(seed=1, buffer_size=BUFFER).with_format("numpy")
    return again(lambda: mixed.iter(batch, drop_last_batch=True))


def grain_parquet(path: str, batch: int) -> Feed:
    from grain import experimental

    def one_pass() -> Any:
        rows = experimental.ParquetIterDataset(path)
        mixed = experimental.WindowShuffleIterDataset(rows, window_size=BUFFER, seed=1)
        return mixed.batch(batch, drop_remainder=True)

    return again(one_pass)


PARQUET: dict[str, Program] = {
    "A[ids] in memory": raw_parquet,
    "ladle, 0 workers": ladle_parquet(0),
    "ladle, 1 worker": ladle_parquet(1),
    "ladle, 2 workers": ladle_parquet(2),
    "pyarrow by hand": pyarrow_by_hand,
    "Hugging Face, streamed": hugging_face_parquet,
    "Grain": grain_parquet,
}
