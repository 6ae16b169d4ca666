"""`Augment`: a function of rows and keys between a source and its batches. `draws`: random numbers of keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.batch import Rows
from ladle.core.errors import DataError, must
from ladle.core.hashing import finalise
from ladle.core.protocols import Collate
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.host import Stack
from ladle.feed.keys import AUGMENTED
from ladle.feed.source.places import Places
from ladle.feed.source.stack import stacked

_STACK = Stack()


@dataclass(frozen=True)
class Augment:
    """Changes rows at random, by keys that depend on the run's seed and an example's place in it and on nothing else.

    Implements `ladle.core.protocols.Collate`, so it stands in a `Loader`, a `HostFeed`, a `Task`. Whatever the batch
    size, the readers (threads too) and wherever a run was resumed: the same place has the same row.

    - `function`: `(row, key) -> row`. A row is one example of what the source has, `key` is `u32[2]`; random numbers
      come from `draws(key, count)` or `generator(key)`. Rows that it returns must be of one structure and shape.
    - `whole`: the function takes all rows at once, `(rows, keys) -> rows` with `keys`: `u32[k, 2]`; it must treat
      each row by itself. Many times faster for what NumPy does to many rows.
    - `collate`: what makes rows of the source first (`Stack()`; `Pad()` where `whole`).
    - `seed`, `epoch_size`: set by the loader or feed that it is given to.

    Raises `DataError` where the function returns another number of rows, and what the function raises.

    >>> from ladle.feed.loader import Loader
    >>> noisy = lambda row, key: {"x": row["x"] + 0.1 * draws(key, 1)[0]}
    >>> first, again = (Loader({"x": np.zeros(9)}, size, augment=noisy) for size in (2, 9))
    >>> np.allclose(np.concatenate([batch["x"] for batch in first]), next(iter(again))["x"])
    True
    """

    function: Callable[[Any, np.ndarray], Any]
    whole: bool = False
    collate: Collate = _STACK
    seed: int = 0
    epoch_size: int | None = None

    purpose = AUGMENTED
    """What its keys are hashed with."""

    def extent(self, source: Any, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        return self.collate.extent(source, ids, position)

    def __call__(self, source: Any, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Rows:
        rows = self.collate(source, ids, position, extent, real)
        keys = Places(position, self.epoch_size or len(source), self.seed).keys(self.purpose)
        return rows._replace(data=self.applied(rows.data, keys, ids))

    def applied(self, data: Any, keys: np.ndarray, ids: np.ndarray) -> Any:
        """`data` (leading axis `k`) changed by `keys` (`u32[k, 2]`)."""
        if not self.whole:
            rows = [map_tree(lambda leaf: leaf[i], data) for i in range(len(keys))]  # noqa: B023 - used at once
            return stacked([self.function(row, key) for row, key in zip(rows, keys, strict=True)], ids.tolist())
        made = self.function(data, keys)
        for path, leaf in leaves(made):
            if np.ndim(leaf) == 0 or len(leaf) != len(keys):
                got, why = f"shape {np.shape(leaf)} at {path!r}", "there is a row for each key"
                raise DataError(must("augment", f"return {len(keys)} rows", got, why, "Augment(function) row by row"))
        return made


def draws(keys: np.ndarray, count: int) -> np.ndarray:
    """`f64[..., count]` uniform numbers in [0, 1), a function of `keys` (`u32[..., 2]`) alone.

        u_j = (hash(key, 2 j) * 2**21 + hash(key, 2 j + 1) / 2**11) / 2**53

    >>> key = np.array([1, 2], np.uint32)
    >>> draws(key, 3).shape, bool((draws(key, 3)[:2] == draws(key, 2)).all()), draws(np.stack([key, key]), 2).shape
    ((3,), True, (2, 2))
    """
    keys = np.asarray(keys, np.uint32)[..., None, :]
    words = finalise(finalise(np.arange(1, 2 * count + 1, dtype=np.uint32)) ^ keys[..., 0])
    words = finalise(words ^ keys[..., 1])
    words = words.reshape(*words.shape[:-1], count, 2).astype(np.uint64)
    return (words[..., 0] << np.uint64(21) | words[..., 1] >> np.uint64(11)) * 2.0**-53


def generator(key: np.ndarray) -> np.random.Generator:
    """A NumPy generator for one key (`u32[2]`): any distribution, some 10 us to make.

    >>> bool(generator(np.array([1, 2])).normal() == generator(np.array([1, 2])).normal())
    True
    """
    return np.random.Generator(np.random.Philox(key=int(key[0]) | int(key[1]) << 32))
