"""`Augment`: a function of rows and keys between a source and its batches. `draws`: random numbers of keys.

On the host rows are NumPy arrays. Where data live on the device the same function is traced into the compiled update,
and has arrays of JAX: its keys, and so its random numbers, are the same there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ladle.core.batch import Rows
from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.hashing import finalise
from ladle.core.protocols import Collate, DeviceOrder, OrderProgram
from ladle.core.seed import seed_words
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.bijection import round_keys
from ladle.feed.host import Stack
from ladle.feed.keys import AUGMENTED, for_words, stream
from ladle.feed.source.places import Places
from ladle.feed.source.stack import stacked

_STACK = Stack()


@dataclass(frozen=True)
class Augment:
    """Changes rows at random, by keys that depend on the run's seed and an example's place in it and on nothing else.

    Implements `ladle.core.protocols.Collate`, so it stands in a `Loader`, a `HostFeed`, a `Task`. Whatever the batch
    size, the readers (threads too) and wherever a run was resumed: the same place has the same row. Also
    `ladle.core.stage.DeviceStage`: `Task(augment=)` with data on the device changes its rows there, where the
    function can be traced, which one can be that does with arrays of JAX what it does with those of NumPy.

    - `function`: `(row, key) -> row`. A row is one example of what the source has, `key` is `u32[2]`; random numbers
      come from `draws(key, count)`, `below(key, count, limit)`, or on the host `generator(key)`. Rows that it returns
      must be of one structure and shape.
    - `whole`: the function takes all rows at once, `(rows, keys) -> rows` with `keys`: `u32[k, 2]`; it must treat
      each row by itself. Many times faster for what NumPy does to many rows. `staged` asks the function's own `whole`.
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

    purpose: ClassVar[int] = AUGMENTED
    """What its keys are hashed with."""
    table: ClassVar[str] = "augment"
    """Under which name the words of the seed come with an order's tables."""

    def __post_init__(self) -> None:
        if not callable(self.function):
            why, remedy = (
                "it changes rows by keys",
                "augment=ladle.feed.RandomImages(), or a function (row, key) -> row",
            )
            raise ArgumentError(must("augment", "be a function", type(self.function).__name__, why, remedy))

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

    def traced(self, rows: Any, seed: Any, epoch: Any, places: Any, vmap: Callable[..., Any]) -> Any:
        """`rows` changed as at `places` (`u32[k]`) of pass `epoch` (`u32[]`), inside a compiled program.

        - `seed`: its words, `u32[2]`, of `table`. `vmap`: JAX's.
        """
        first, none = round_keys(seed, np.uint32(0), stream(self.purpose), count=2), np.zeros(1, np.uint32)
        keys = for_words(first, epoch.reshape(1), none, places, none).T
        return self.function(rows, keys) if self.whole else vmap(self.function)(rows, keys)


@dataclass(frozen=True)
class Keyed:
    """An order that also tells a compiled program the seed of what changes its rows; a `DeviceOrder`."""

    order: DeviceOrder
    seed: int

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "order"), name)

    @property
    def epoch_size(self) -> int:
        return self.order.epoch_size

    @property
    def program(self) -> OrderProgram:
        return self.order.program

    def tables(self) -> Mapping[str, np.ndarray]:
        return {**self.order.tables(), Augment.table: seed_words(self.seed)}

    def ids(self, start: int, count: int) -> np.ndarray:
        return self.order.ids(start, count)


def staged(augment: Any) -> Augment:
    """An `Augment` as it is, or a function made one: of whole batches where it says so by `whole = True`."""
    return augment if isinstance(augment, Augment) else Augment(augment, getattr(augment, "whole", False) is True)


def draws(keys: Any, count: int) -> Any:
    """`f64[..., count]` uniform numbers in [0, 1), a function of `keys` (`u32[..., 2]`) alone.

        u_j = (hash(key, 2 j) * 2**21 + hash(key, 2 j + 1) / 2**11) / 2**53

    In a compiled program `f32`, the first 24 bits of the same numbers.

    >>> key = np.array([1, 2], np.uint32)
    >>> draws(key, 3).shape, bool((draws(key, 3)[:2] == draws(key, 2)).all()), draws(np.stack([key, key]), 2).shape
    ((3,), True, (2, 2))
    """
    high, low = _words(keys, count)
    if not isinstance(high, np.ndarray):
        return (high >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
    return (high.astype(np.uint64) << np.uint64(21) | low >> np.uint32(11)) * 2.0**-53


def below(keys: Any, count: int, limit: int) -> Any:
    """`i32[..., count]` whole numbers from 0 to `limit - 1`, the same on the host and in a compiled program.

        floor(limit u_j)      u_j as in `draws`, of which the first 48 bits count

    Raises `ArgumentError` unless `limit` is from 1 to 65536.

    >>> below(np.array([1, 2], np.uint32), 6, 9).tolist()
    [8, 1, 8, 7, 4, 7]
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 2**16:
        why, remedy = "two words of 32 bits are multiplied by it", "limit=9"
        raise ArgumentError(must("limit", "be a whole number from 1 to 65536", limit, why, remedy))
    times, half = np.uint32(limit), np.uint32(16)
    high, low = _words(keys, count)
    # (high * 2**16 + low / 2**16) * limit / 2**48, in words that never run over.
    rest = (high & np.uint32(0xFFFF)) * times + ((low >> half) * times >> half)
    return ((high >> half) * times + (rest >> half) >> half).astype(np.int32)


def _words(keys: Any, count: int) -> tuple[Any, Any]:
    """The two words, `u32[..., count]` each, that the numbers of `keys` are made of; arrays of NumPy or JAX."""
    keys = keys if hasattr(keys, "__array_namespace__") else np.asarray(keys, np.uint32)
    keys = keys.astype(np.uint32)[..., None, :]
    number = np.arange(1, 2 * count + 1, dtype=np.uint32).reshape(*(1,) * (keys.ndim - 2), -1)  # Ranks are told apart.
    words = finalise(finalise(number) ^ keys[..., 0])
    words = finalise(words ^ keys[..., 1])
    return words[..., ::2], words[..., 1::2]


def generator(key: np.ndarray) -> np.random.Generator:
    """A NumPy generator for one key (`u32[2]`): any distribution, some 10 us to make.

    >>> bool(generator(np.array([1, 2])).normal() == generator(np.array([1, 2])).normal())
    True
    """
    return np.random.Generator(np.random.Philox(key=int(key[0]) | int(key[1]) << 32))
