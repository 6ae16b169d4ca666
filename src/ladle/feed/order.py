"""Orders: which example stands at which position. Position is a number, order is a function of it.

    Sequential(n)               0, 1, 2, ...                                                            each pass alike
    Permuted(n, seed)           a new shuffle each pass, computed, never stored                         exactly once
    Weighted(weights, seed)     independent draws, example i with chance weights[i] / sum(weights)      with repeats
    Stratified(labels, seed)    a new shuffle each pass in which every stretch holds the classes in proportion

Positions count examples from the start of the run; position `p` is place `p % epoch_size` of pass `p // epoch_size`.
Nothing is remembered between calls: the state of an order is `(seed, position)`. The same `program` runs in NumPy and
inside a compiled step and gives the same ids bit for bit. Passes are told apart by 32 bits: pass 2**32 repeats pass 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import DeviceOrder
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import NARROW, ROUNDS, WIDE, host_while, permute, round_keys, sides
from ladle.feed.keys import PERMUTED

BLOCK = 16_384
"""Places evaluated at once on the host: enough to make the cost per call vanish, few enough to stay in cache."""


@dataclass(frozen=True)
class Sequential:
    """Examples as they are stored, over and over.

    >>> Sequential(3).ids(2, 4).tolist()
    [2, 0, 1, 2]
    """

    n: int

    once: ClassVar[bool] = True
    """Every pass holds every example exactly once."""

    def __post_init__(self) -> None:
        require_size("n", self.n, WIDE)

    @property
    def epoch_size(self) -> int:
        return self.n

    @property
    def program(self) -> SequentialProgram:
        return SequentialProgram(self.n)

    def tables(self) -> Mapping[str, np.ndarray]:
        return {}

    def ids(self, start: int, count: int) -> np.ndarray:
        return order_ids(self, start, count)


@dataclass(frozen=True)
class SequentialProgram:
    """`Sequential` as a function; see `ladle.core.protocols.OrderProgram`."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        return offset


@dataclass(frozen=True)
class Permuted:
    """Every example exactly once per pass, in a fresh order each pass; see `ladle.feed.bijection`.

    Time and memory do not depend on `n`, which may be anything up to 2**62 (2**31 where a device computes it).
    Raises `ArgumentError` for `n` outside of that, or a seed outside `0 .. 2**64 - 1`.

    >>> order = Permuted(5, seed=0)
    >>> order.ids(0, 10).tolist()
    [3, 0, 2, 4, 1, 2, 0, 3, 4, 1]
    >>> Permuted(10**12, seed=0).ids(123_456_789_012, 2).tolist()
    [393997246163, 16841533155]
    """

    n: int
    seed: int = 0

    once: ClassVar[bool] = True
    """Every pass holds every example exactly once."""

    def __post_init__(self) -> None:
        require_size("n", self.n, WIDE)
        seed_words(self.seed)

    @property
    def epoch_size(self) -> int:
        return self.n

    @property
    def program(self) -> PermutedProgram:
        return PermutedProgram(self.n)

    def tables(self) -> Mapping[str, np.ndarray]:
        return {"seed": seed_words(self.seed)}

    def ids(self, start: int, count: int) -> np.ndarray:
        return order_ids(self, start, count)


@dataclass(frozen=True)
class PermutedProgram:
    """`Permuted` as a function. Reads `seed` (`u32[2]`)."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        n, a, b = (offset.dtype.type(number) for number in (self.epoch_size, *sides(self.epoch_size)))
        keys = round_keys(tables["seed"], epoch, PERMUTED, ROUNDS * offset.dtype.itemsize // 4)
        return permute(offset, n, a, b, keys=keys, xp=xp, while_loop=while_loop)


def order_ids(order: DeviceOrder, start: int, count: int) -> np.ndarray:
    """`i64[count]` ids at positions `start .. start + count`, from whole blocks: neighbouring calls share them."""
    parts, stop = [np.empty(0, np.int64)], start + count
    while start < stop:
        epoch, place = divmod(start, order.epoch_size)
        block, inside = divmod(place, BLOCK)
        part = _block(order, epoch % 2**32, block)[inside : inside + stop - start]
        parts.append(part)
        start += len(part)
    return np.concatenate(parts)


@lru_cache(maxsize=16)
def _block(order: DeviceOrder, epoch: int, block: int) -> np.ndarray:
    """`i64[<= BLOCK]` ids of one block of places. A pure function of its arguments: remembering it changes nothing."""
    first = block * BLOCK
    word = np.uint32 if order.epoch_size <= NARROW else np.uint64
    places = np.arange(first, min(first + BLOCK, order.epoch_size), dtype=word)
    ids = order.program(order.tables(), np.uint32(epoch), places, np, host_while)
    return ids.astype(np.int64)


def read_only(tables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`tables`, which nobody can write to: they are shared."""
    for table in tables.values():
        table.setflags(write=False)
    return tables


def require_size(name: str, value: Any, largest: int) -> None:
    """Refuse a number of places that machine words cannot count."""
    if require_count(name, value) > largest:
        why = "places are computed in machine words"
        raise ArgumentError(must(name, f"be at most {largest}", value, why, "several sources, one for each part"))
