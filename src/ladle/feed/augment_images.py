"""`RandomImages`: crop, flip and jitter, for batches of images. An example of a keyed stage, and a useful one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.augment import draws


@dataclass(frozen=True)
class RandomImages:
    """Images moved, mirrored and made lighter or darker at random; other entries stay as they are.

    A function `(rows, keys) -> rows` for `Augment(..., whole=True)`, or `(row, key) -> row` for one image.

        x <- x[dy - pad : dy - pad + height, dx - pad : dx - pad + width]    dy, dx from 0 to 2 pad; zeros outside
        x <- x[:, ::-1]                                                     with chance 1/2, where `flip`
        x <- contrast (x - mean(x)) + mean(x) + 255 light      contrast within 1 -+ jitter, light within -+ jitter / 2

    - `pad`: pixels. `jitter`: 0 leaves the values alone. `name`: the entry that holds the images,
      `u8[k, height, width, channels]`, or floats from 0 to 1, whose 255 is 1.

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

    def __post_init__(self) -> None:
        if isinstance(self.pad, bool) or not isinstance(self.pad, int) or self.pad < 0:
            raise ArgumentError(must("pad", "be a whole number from 0 on", self.pad, "it counts pixels", "pad=4"))
        if not 0 <= self.jitter <= 1:
            raise ArgumentError(
                must("jitter", "be from 0 to 1", self.jitter, "it is a share of the range", "jitter=0.2")
            )

    def __call__(self, rows: Any, keys: np.ndarray) -> Any:
        images = rows.get(self.name) if isinstance(rows, Mapping) else rows
        single = keys.ndim == 1
        if images is None or np.ndim(images) != 4 - single or np.asarray(images).dtype.kind not in "uf":
            got = f"entries {', '.join(map(str, rows))}" if isinstance(rows, Mapping) else type(rows).__name__
            why, remedy = "height, width and channels are its axes", f"RandomImages(name=...), not {self.name!r}"
            raise DataError(must(f"row {self.name!r}", "be an image", got, why, remedy))
        images, keys = (images[None], keys[None]) if single else (images, keys)
        changed = self._changed(np.asarray(images), draws(keys, 5))
        changed = changed[0] if single else changed
        return {**rows, self.name: changed} if isinstance(rows, Mapping) else changed

    def _changed(self, images: np.ndarray, u: np.ndarray) -> np.ndarray:
        count, height, width = images.shape[:3]
        dy, dx = (np.floor(u[:, at] * (2 * self.pad + 1)).astype(int) for at in (0, 1))
        mirrored = (u[:, 2] < 0.5) & self.flip
        wide = np.pad(images, ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        out = np.empty_like(images)
        for i in range(count):
            moved = wide[i, dy[i] : dy[i] + height, dx[i] : dx[i] + width]
            out[i] = moved[:, ::-1] if mirrored[i] else moved
        return self._jittered(out, u) if self.jitter else out

    def _jittered(self, images: np.ndarray, u: np.ndarray) -> np.ndarray:
        most = 255 if images.dtype.kind == "u" else 1
        contrast, light = ((2 * u[:, at, None, None, None] - 1) * self.jitter for at in (3, 4))
        # A mean over one image at a time: NumPy's sums of a batch may be rounded by how many images there are.
        mean = np.array([image.mean(dtype=np.float64) for image in images])[:, None, None, None]
        slope, shift = (1 + contrast).astype(np.float32), (most * light / 2 - contrast * mean).astype(np.float32)
        values = np.clip(images * slope + shift, 0, most)
        return np.rint(values).astype(images.dtype) if most == 255 else values.astype(images.dtype)
