"""`RandomImages`: crop, flip and jitter, for batches of images. An example of a keyed stage, and a useful one.

One formula for arrays of NumPy and of JAX, but for what moves pixels: on the host slices, than which nothing is faster
there, on the device places that are looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.augment import below, draws


@dataclass(frozen=True)
class RandomImages:
    """Images moved, mirrored and made lighter or darker at random; other entries stay as they are.

    A function `(rows, keys) -> rows` for `Augment(..., whole=True)`, or `(row, key) -> row` for one image.

        x <- x[dy - pad : dy - pad + height, dx - pad : dx - pad + width]    dy, dx from 0 to 2 pad; zeros outside
        x <- x[:, ::-1]                                                     with chance 1/2, where `flip`
        x <- contrast (x - mean(x)) + mean(x) + 255 light      contrast within 1 -+ jitter, light within -+ jitter / 2

    - `pad`: pixels. `jitter`: 0 leaves the values alone. `name`: the entry that holds the images,
      `u8[k, height, width, channels]`, or floats from 0 to 1, whose 255 is 1.

    On the host and in a compiled update (`Task(augment=)`) pixels that are moved and mirrored are the same to the bit;
    jittered ones are to rounding: bytes may differ by one where a value lies between two.

    Raises `ArgumentError` for numbers that cannot be, `DataError` for rows without such images.

    >>> from ladle.feed import Augment, Loader
    >>> images = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), dtype=np.uint8)
    >>> next(iter(Loader({"x": images}, 4, augment=Augment(RandomImages(pad=2, jitter=0.2), whole=True))))["x"].shape
    (4, 6, 6, 3)
    """

    pad: int = 4
    flip: bool = True
    jitter: float = 0.0
    name: str = "x"

    whole: ClassVar[bool] = True
    """It takes all rows at once, see `ladle.feed.augment.staged`."""

    def __post_init__(self) -> None:
        if isinstance(self.pad, bool) or not isinstance(self.pad, int) or not 0 <= self.pad < 2**15:
            be, why = "be a whole number from 0 to 32767", "it counts pixels"
            raise ArgumentError(must("pad", be, self.pad, why, "pad=4"))
        if not 0 <= self.jitter <= 1:
            raise ArgumentError(
                must("jitter", "be from 0 to 1", self.jitter, "it is a share of the range", "jitter=0.2")
            )

    def __call__(self, rows: Any, keys: Any) -> Any:
        images: Any = rows.get(self.name) if isinstance(rows, Mapping) else rows
        single = keys.ndim == 1
        if getattr(images, "ndim", 0) != 4 - single or np.dtype(images.dtype).kind not in "uf":
            got = f"entries {', '.join(map(str, rows))}" if isinstance(rows, Mapping) else type(rows).__name__
            why, remedy = "height, width and channels are its axes", f"RandomImages(name=...), not {self.name!r}"
            raise DataError(must(f"row {self.name!r}", "be an image", got, why, remedy))
        images, keys = (images[None], keys[None]) if single else (images, keys)
        moved, u = below(keys, 2, 2 * self.pad + 1), draws(keys, 5)
        move = _sliced if isinstance(images, np.ndarray) else _looked_up
        changed = move(images, moved[:, 0] - self.pad, moved[:, 1] - self.pad, (u[:, 2] < 0.5) & self.flip, self.pad)
        changed = self._jittered(changed, u) if self.jitter else changed
        changed = changed[0] if single else changed
        return {**rows, self.name: changed} if isinstance(rows, Mapping) else changed

    def _jittered(self, images: Any, u: Any) -> Any:
        xp = images.__array_namespace__()
        most = 255 if np.dtype(images.dtype).kind == "u" else 1
        contrast, light = ((2 * u[:, at, None, None, None] - 1) * self.jitter for at in (3, 4))
        mean = _means(images)[:, None, None, None]
        slope, shift = (1 + contrast).astype(np.float32), (most * light / 2 - contrast * mean).astype(np.float32)
        pixels = images.astype(np.float32) if most == 255 else images
        values = xp.clip(pixels * slope + shift, 0, most)
        return xp.rint(values).astype(images.dtype) if most == 255 else values.astype(images.dtype)


def _sliced(images: np.ndarray, dy: np.ndarray, dx: np.ndarray, mirrored: np.ndarray, pad: int) -> np.ndarray:
    """Images moved by `dy`, `dx` (`i32[k]`, at most `pad`) and then mirrored where that is said."""
    height, width = images.shape[1:3]
    wide = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out = np.empty_like(images)
    for i, (y, x, mirror) in enumerate(zip((dy + pad).tolist(), (dx + pad).tolist(), mirrored.tolist(), strict=True)):
        moved = wide[i, y : y + height, x : x + width]
        out[i] = moved[:, ::-1] if mirror else moved
    return out


def _looked_up(images: Any, dy: Any, dx: Any, mirrored: Any, pad: int) -> Any:
    """The same, by the place that each row comes from, and then each column.

    Not both at once: XLA on CPU looked up pixel by pixel, again for each value around it that a convolution reads, and
    an update of a small convnet took four times as long.
    """
    xp, (count, height, width) = images.__array_namespace__(), images.shape[:3]
    down, across = min(pad, height), min(pad, width)  # Whatever moves further leaves nothing.
    wide, each = xp.pad(images, ((0, 0), (down, down), (across, across), (0, 0))), np.arange(count)[:, None]
    y, x = (xp.clip(by, -most, most) + most for by, most in ((dy, down), (dx, across)))
    at = np.arange(width)[None]
    at = x[:, None] + xp.where(mirrored[:, None], at[:, ::-1], at)
    moved = wide[each, y[:, None] + np.arange(height)[None]]
    return moved.swapaxes(1, 2)[each, at].swapaxes(1, 2)


def _means(images: Any) -> Any:
    """Of each image. One at a time by NumPy, whose sums of a batch may be rounded by how many images there are."""
    if isinstance(images, np.ndarray):
        return np.array([image.mean(dtype=np.float64) for image in images])
    return images.astype(np.float32).mean(axis=(1, 2, 3))
