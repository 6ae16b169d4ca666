"""Programs that decode the same images from memory, in batches of 64, in one shuffled order.

Each is made once for a data set, `PROGRAMS[name](encoded(data))`, and then returns a whole pass, batch by batch.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

BATCH = 64
PHOTOS, HEIGHT, WIDTH, SMALL = 500, 240, 320, (60, 80)
DATA = {"32 x 32": 2048, "240 x 320": PHOTOS, "240 x 320 to 60 x 80": PHOTOS}
"""Data sets, and examples in a pass."""


class Encoded(NamedTuple):
    """JPEG files end to end: `data[offsets[i]:offsets[i + 1]]`. `size`: what to resize to, or None."""

    data: np.ndarray
    offsets: np.ndarray
    size: tuple[int, int] | None
    order: np.ndarray


@cache
def encoded(data: str) -> Encoded:
    """CIFAR-10 as JPEG, or photographs that nobody took: a coarse grid of colours, made smooth, and a little noise."""
    count = DATA[data]
    if data == "32 x 32":
        found = np.load(Path(os.environ["LADLE_DATA"]) / "cifar10_jpeg" / "cifar10_jpeg.npz", allow_pickle=False)
        bytes_, offsets = found["train_bytes"], found["train_offsets"]
    else:
        parts = [photo(seed) for seed in range(count)]
        bytes_, offsets = np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])
    order = np.random.default_rng(0).permutation(len(offsets) - 1)[:count]
    return Encoded(bytes_, offsets, SMALL if "to" in data else None, order)


def photo(seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.int16)
    noisy = np.clip(smooth + draw.integers(-3, 4, smooth.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    return file.getvalue()


class Pictures:
    """A map-style dataset as its documentation has it: one image at a time, by Pillow."""

    def __init__(self, of: Encoded) -> None:
        self.of = of

    def __len__(self) -> int:
        return len(self.of.offsets) - 1

    def __getitem__(self, id: int) -> np.ndarray:
        of = self.of
        image = Image.open(io.BytesIO(of.data[of.offsets[id] : of.offsets[id + 1]].tobytes())).convert("RGB")
        if of.size is not None:
            image = image.resize(of.size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image)


Pass = Callable[[], Iterator[Any]]


def ladle(of: Encoded, threads: int) -> Pass:
    from ladle.feed.source.blob import Blob
    from ladle.feed.source.decode import Pixels

    source = Blob(of.data, of.offsets, Pixels("RGB", of.size), threads=threads)
    return lambda: (source.take(of.order[at : at + BATCH])["x"] for at in range(0, len(of.order), BATCH))


def loop(of: Encoded) -> Pass:
    """The loop that everybody writes."""
    pictures = Pictures(of)
    return lambda: (
        np.stack([pictures[id] for id in of.order[at : at + BATCH]]) for at in range(0, len(of.order), BATCH)
    )


def loader(of: Encoded, workers: int) -> Pass:
    """PyTorch's DataLoader; its worker processes live from pass to pass."""
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # Nobody writes to it.
    loaded = torch.utils.data.DataLoader(
        Pictures(of), BATCH, sampler=of.order.tolist(), num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: iter(loaded)


PROGRAMS: dict[str, Callable[[Encoded], Pass]] = {
    "ladle, 1 thread": lambda of: ladle(of, 1),
    "ladle, 2 threads": lambda of: ladle(of, 2),
    "Pillow in a loop": loop,
    "DataLoader, 0 workers": lambda of: loader(of, 0),
    "DataLoader, 2 workers": lambda of: loader(of, 2),
}
