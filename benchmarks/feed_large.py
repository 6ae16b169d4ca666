"""Training on 20 GB of Parquet: memory over time. Every row is checked to be the one that was asked for.

Claim: the feed's share of a training process stays within 1 GB, however large the data set, for a whole pass over it.

    python benchmarks/feed_large.py [--quick] [--folder DIR]        (21 GB of free disk; deleted at the end)

20 files of 60 row groups of 16,384 rows of 256 float32 that do not compress: 19.7 million rows. (A few random row
groups are written over and over; two of the columns hold the row number, as does the target: `y = row % 10`.) An MLP
256-64-10 is trained for one whole pass with `ladle.fit` in a process of its own, batches of 4096, eight row groups
mixed at a time. Then the same model for as many seconds (at most 60) on 4096 rows that live on the device: that is what
JAX and the program itself take, and is subtracted. Files are dropped from the page cache first.

Sampled once a second from `/proc/PID/smaps_rollup`: anonymous memory, which is the process's own, and resident memory,
which also counts mapped pages of files that the system may take back at any time. n = 1. Hardware and every sample:
`results/feed_large.json`; curves: `results/feed_large.png`. `--quick`: one file of 1 GB.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import Worker, headline, save, serve, table

import ladle
from ladle.feed import Parquet

FILES, GROUPS, GROUP, COLUMNS = 20, 60, 16_384, 256
BATCH, CLASSES, TINY = 4096, 10, 4096
HIGH, LOW = 1024, 4096
"""Row numbers are written as two: `row // LOW / HIGH` and `row % LOW / LOW`, which float32 holds exactly."""
MOST_BYTES = 1_000_000_000
TINY_SECONDS = 60


# --- the data --------------------------------------------------------------------------------------------------------


def write(folder: Path, files: int) -> int:
    """Write the data set and drop it from the page cache. Returns its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((COLUMNS, GROUP), np.float32) for _ in range(4)]
    names = [f"c{column:03}" for column in range(COLUMNS)]
    schema = pa.schema([(name, pa.float32()) for name in names] + [("y", pa.int32())])
    how: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    for number in range(files):
        path = folder / f"{number:03}.parquet"
        with pq.ParquetWriter(path, schema, **how) as file:
            for group in range(number * GROUPS, (number + 1) * GROUPS):
                row = np.arange(group * GROUP, (group + 1) * GROUP)
                columns = [*_numbered(row), *blocks[group % len(blocks)][2:], (row % CLASSES).astype(np.int32)]
                file.write_table(pa.table(dict(zip([*names, "y"], columns, strict=True))), row_group_size=GROUP)
        _forget(path)
    return sum(path.stat().st_size for path in folder.iterdir())


def _numbered(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers as two float32 below 8 and 1, exactly."""
    high, low = np.divmod(row, LOW)
    return (high / HIGH).astype(np.float32), (low / LOW).astype(np.float32)


def _forget(path: Path) -> None:
    """The next read of the file is from the disk."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


class Checked:
    """A source whose every row is compared with its number."""

    def __init__(self, source: Parquet) -> None:
        self.source = source
        self.taken = np.zeros(len(source), bool)
        self.blocks, self.reads_blocks, self.memory_bytes = source.blocks, source.reads_blocks, source.memory_bytes

    def __len__(self) -> int:
        return len(self.source)

    def take(self, ids: np.ndarray) -> Any:
        rows = self.source.take(ids)
        found = rows["x"][:, :2].astype(np.float64) @ (HIGH * LOW, LOW)
        if not (np.array_equal(found, ids) and np.array_equal(rows["y"], ids % CLASSES)):
            raise AssertionError(f"rows {ids[:4]}, ... were asked for and {found[:4]}, ... taken")
        self.taken[ids] = True
        return rows


# --- the process that trains -----------------------------------------------------------------------------------------


def tiny() -> Any:
    """Data of a few rows, which live on the device."""
    rng = np.random.default_rng(0)
    x, row = rng.standard_normal((TINY, COLUMNS), np.float32), np.arange(TINY)
    return ladle.data.arrays(x, (row % CLASSES).astype(np.int32), valid=0, kind="classification")


def answer(folder: str, until: str) -> dict[str, Any]:
    """Train on the files of `folder`, or on tiny data where it is empty."""
    source = Checked(Parquet(f"{folder}/*.parquet", y="y")) if folder else None
    held = {"x": np.zeros((0, COLUMNS), np.float32), "y": np.zeros(0, np.int32)}
    data = tiny() if source is None else ladle.data.streamed(source, valid=held, classes=CLASSES, name="large")
    task = ladle.Task(ladle.models.mlp(COLUMNS, 64, CLASSES), ladle.losses.cross_entropy, data)
    started = time.perf_counter()
    run = ladle.fit(task, size=BATCH, until=until)
    found = {"seconds": time.perf_counter() - started, "status": run.status, "final": run.final}
    if source is None:
        return found
    known = {"rows": len(source), "read": int(source.taken.sum()), "says_it_holds_bytes": source.memory_bytes}
    return {**found, **known, "source": source.source.describe()}


# --- the process that watches ----------------------------------------------------------------------------------------


def memory(process: int) -> dict[str, int]:
    """Bytes of a process now: `anonymous` are its own, `resident` counts mapped files as well."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {"resident": 1024 * kilobytes["Rss"], "anonymous": 1024 * kilobytes["Anonymous"]}


def watched(every: float = 1.0, **request: Any) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """What a training process answers, and its memory while it works."""
    worker = Worker([sys.executable, __file__, "--worker"])
    samples, done, started = [], threading.Event(), time.perf_counter()

    def watch() -> None:
        while not done.is_set():
            samples.append({"seconds": time.perf_counter() - started, **memory(worker.process.pid)})
            done.wait(every)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return worker(**request), samples
    finally:
        done.set()
        thread.join()
        worker.close()


def peak(samples: list[dict[str, float]], kind: str) -> float:
    return max(sample[kind] for sample in samples)


def draw(samples: dict[str, list[dict[str, float]]], limit: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for (name, of), colour in zip(samples.items(), ("tab:blue", "tab:orange"), strict=True):
        seconds = [sample["seconds"] for sample in of]
        for kind, line in (("anonymous", "-"), ("resident", ":")):
            axes.plot(seconds, [sample[kind] / 1e9 for sample in of], line, color=colour, label=f"{name}: {kind}")
    axes.axhline(limit / 1e9, color="grey", linestyle="--", label="1 GB above the peak of the tiny data")
    axes.set(xlabel="seconds since the process began", ylabel="memory, GB", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


def main(quick: bool, parent: str | None) -> None:
    files = 1 if quick else FILES
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        started = time.perf_counter()
        stored = write(Path(folder), files)
        print(f"{stored / 1e9:.2f} GB written in {time.perf_counter() - started:.0f} s", flush=True)
        found, large = watched(folder=folder, until="1 epoch")
    base, small = watched(folder="", until=f"{min(TINY_SECONDS, found['seconds']):.0f} s")
    samples = {f"{stored / 1e9:.1f} GB of Parquet": large, "tiny data on the device": small}
    share = {kind: peak(large, kind) - peak(small, kind) for kind in ("anonymous", "resident")}
    rate = {"rows_per_second": found["rows"] / found["seconds"], "bytes_per_second": stored / found["seconds"]}
    print(headline())
    rows = [[name, *(f"{peak(of, kind) / 1e6:.0f}" for kind in share)] for name, of in samples.items()]
    rows.append(["the feed's share", *(f"{value / 1e6:.0f}" for value in share.values())])
    print(table(["peak, MB", *share], rows), end="\n\n")
    print(found["source"])
    print(
        f"{found['rows']:,} rows in {found['seconds']:.0f} s: {rate['rows_per_second']:,.0f} rows and "
        f"{rate['bytes_per_second'] / 1e6:.0f} MB a second; every row that was asked for was the right one, and "
        f"{found['read']:,} were; within 1 GB: {'yes' if share['anonymous'] <= MOST_BYTES else 'NO'}"
    )
    facts = {"file_bytes": stored, "share_bytes": share, **rate, "large": found, "tiny": base}
    path = save("feed_large", quick=quick, n=1, **facts, samples=samples)
    draw(samples, peak(small, "anonymous") + MOST_BYTES, path.with_suffix(".png"))
    print(path)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one file of 1 GB: a look, not a result")
    parser.add_argument("--folder", help="where to write the data for a while; else the system's temporary folder")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    given = options()
    if given.worker:
        serve(answer)
    else:
        main(given.quick, given.folder)
