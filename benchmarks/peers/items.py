"""Programs that hand out random batches of 64 of a dataset that is asked item by item, endlessly.

    transforms    20,000 images of 32 x 32 in memory; cropped, mirrored and scaled one by one by NumPy
    jpeg          1,000 files of 240 x 320 in ten folders; decoded, made 64 x 64, cropped and mirrored
    python        4,000 items of a loop written in Python, about 1 ms each

`PROGRAMS[workload][name](path)` starts an endless iterator. Every program makes batches of torch tensors. ladle's two
processes and DataLoader's live from pass to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from peers.feeds import ladle as loader_of
from peers.images import photo
from rates import Feed

BATCH, IMAGES, PHOTOS, ITEMS, SIDE, PAD = 64, 20_000, 1_000, 4_000, 64, 4

Program = Callable[[str], Feed]


@cache
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)


def write_photos(folder: Path) -> None:
    for number in range(PHOTOS):
        of = folder / f"class{number % 10}"
        of.mkdir(parents=True, exist_ok=True)
        (of / f"{number:04}.jpg").write_bytes(photo(number % 100))


def moved(x: np.ndarray) -> np.ndarray:
    """A crop of the padded image, or its mirror image, by NumPy's shared generator: what datasets do."""
    wide = np.zeros((x.shape[0] + 2 * PAD, x.shape[1] + 2 * PAD, 3), x.dtype)
    wide[PAD:-PAD, PAD:-PAD] = x
    dy, dx = np.random.randint(0, 2 * PAD + 1, 2)
    x = wide[dy : dy + x.shape[0], dx : dx + x.shape[1]]
    return x[:, ::-1] if np.random.rand() < 0.5 else x


class Transformed:
    def __init__(self, path: str) -> None:
        self.x = pixels()

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, i: int) -> Any:
        return (moved(self.x[i]).astype(np.float32) / 255 - 0.5).transpose(2, 0, 1).copy(), i % 10


class Photos:
    def __init__(self, path: str) -> None:
        self.files = sorted(Path(path).glob("*/*.jpg"))

    def __len__(self) -> int:
        return PHOTOS

    def __getitem__(self, i: int) -> Any:
        from PIL import Image

        with Image.open(self.files[i]) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return moved(np.asarray(small)).copy(), i % 10


class Loops:
    def __init__(self, path: str) -> None:
        pass

    def __len__(self) -> int:
        return ITEMS

    def __getitem__(self, i: int) -> Any:
        total = 0
        for j in range(14_000):
            total += j * j % 7
        return np.float32(total + i), i


DATASETS = {"transforms": Transformed, "jpeg": Photos, "python": Loops}


def ladle(workload: str, how: dict[str, Any], path: str) -> Feed:
    return loader_of(lambda: DATASETS[workload](path), BATCH, to="torch", **how)


def ladle_folder(path: str) -> Feed:
    """The same work by a source of ladle's own, and a keyed stage for whole batches, in threads."""
    from ladle.feed import Augment, ImageFolder, RandomImages

    stage = Augment(RandomImages(PAD), whole=True)
    return loader_of(lambda: ImageFolder(path, size=(SIDE, SIDE)), BATCH, to="torch", augment=stage)


def torch_of(workload: str, workers: int, stateful: bool, path: str) -> Feed:
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    kind: Any = DataLoader
    if stateful:
        from torchdata.stateful_dataloader import StatefulDataLoader as kind  # type: ignore[no-redef]
    dataset = DATASETS[workload](path)

    def batches() -> Iterator[Any]:
        how = {"shuffle": True, "drop_last": True, "num_workers": workers, "persistent_workers": workers > 0}
        loader = kind(dataset, BATCH, **how)
        while True:
            yield from loader

    return batches


def grain_of(workload: str, path: str) -> Feed:
    import grain
    import torch

    dataset = DATASETS[workload](path)
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2 * BATCH)
    rows = grain.MapDataset.source(dataset).shuffle(seed=1).repeat(None).to_iter_dataset(options)
    endless = rows.batch(BATCH, drop_remainder=True)
    return lambda: (tuple(map(torch.from_numpy, batch)) for batch in endless)


def _programs(workload: str) -> dict[str, Program]:
    processes = {"num_workers": 2, "persistent_workers": True}
    return {
        "ladle": partial(ladle, workload, {}),
        "ladle, 1 process": partial(ladle, workload, {**processes, "num_workers": 1}),
        "ladle, 2 processes": partial(ladle, workload, processes),
        **({"ladle, ImageFolder": ladle_folder} if workload == "jpeg" else {}),
        "DataLoader, 0 workers": partial(torch_of, workload, 0, False),
        "DataLoader, 2 workers": partial(torch_of, workload, 2, False),
        "StatefulDataLoader, 0 workers": partial(torch_of, workload, 0, True),
        "StatefulDataLoader, 2 workers": partial(torch_of, workload, 2, True),
        "Grain, 2 threads": partial(grain_of, workload),
    }


PROGRAMS: dict[str, dict[str, Program]] = {workload: _programs(workload) for workload in DATASETS}
