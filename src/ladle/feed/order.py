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
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from ladle.core.errors import ArgumentError, must, nearest
from ladle.core.protocols import DeviceOrder, Order
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import NARROW, ROUNDS, WIDE, host_while, keyed, permute, round_keys, sides
from ladle.feed.layout import interleave

BLOCK = 16_384
"""Places evaluated at once on the host: enough to make the cost per call vanish, few enough to stay in cache."""

# What keys are for, so that no two uses share one. Classes of a stratified order are numbered on from the last.
_PERMUTED, _WEIGHTED, _STRATIFIED = (np.array([stream], np.uint32) for stream in range(3))


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
        _require_size("n", self.n, WIDE)

    @property
    def epoch_size(self) -> int:
        return self.n

    @property
    def program(self) -> SequentialProgram:
        return SequentialProgram(self.n)

    def tables(self) -> Mapping[str, np.ndarray]:
        return {}

    def ids(self, start: int, count: int) -> np.ndarray:
        return _ids(self, start, count)


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
        _require_size("n", self.n, WIDE)
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
        return _ids(self, start, count)


@dataclass(frozen=True)
class PermutedProgram:
    """`Permuted` as a function. Reads `seed` (`u32[2]`)."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        n, a, b = (offset.dtype.type(number) for number in (self.epoch_size, *sides(self.epoch_size)))
        keys = round_keys(tables["seed"], epoch, _PERMUTED, ROUNDS * offset.dtype.itemsize // 4)
        return permute(offset, n, a, b, keys=keys, xp=xp, while_loop=while_loop)


@dataclass(frozen=True, eq=False)
class Weighted:
    """Independent draws with repeats: example `i` stands at any position with chance `weights[i] / sum(weights)`.

    Chances are kept as whole multiples of 2**-31, so that host and device agree on every bit: each is within 2**-31 of
    what was asked for, and an example whose share is far below that may never be drawn. An example of weight zero
    never is.

    - `weights`: `f64[n]`, finite, non-negative, not all zero.
    - `draws`: positions in one pass; `n` by default.

    Raises `ArgumentError` for weights or a seed that break these rules.

    >>> Weighted([1.0, 0.0, 3.0], seed=0).ids(0, 8).tolist()
    [2, 2, 0, 2, 2, 2, 2, 2]
    """

    weights: Any = field(repr=False)
    seed: int = 0
    draws: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _checked_weights(self.weights))
        object.__setattr__(self, "draws", len(self.weights) if self.draws is None else self.draws)
        _require_size("draws", self.draws, NARROW)
        seed_words(self.seed)

    @property
    def examples(self) -> int:
        """Ids are below this."""
        return len(self.weights)

    @property
    def epoch_size(self) -> int:
        assert self.draws is not None
        return self.draws

    @property
    def program(self) -> WeightedProgram:
        return WeightedProgram(self.epoch_size)

    def tables(self) -> Mapping[str, np.ndarray]:
        return self._tables

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        shares = np.cumsum(self.weights / self.weights.max())
        ends = np.rint(shares / shares[-1] * 2.0**31).astype(np.uint32)
        return _frozen({"seed": seed_words(self.seed), "ends": ends})

    def ids(self, start: int, count: int) -> np.ndarray:
        return _ids(self, start, count)


@dataclass(frozen=True)
class WeightedProgram:
    """`Weighted` as a function. Reads `seed` (`u32[2]`) and `ends` (`u32[n]`, cumulative chances times 2**31)."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        keys = round_keys(tables["seed"], epoch, _WEIGHTED, 2)
        # Each hash alone is a bijection and would never repeat a number within a pass; their sum may.
        uniform = (keyed(offset, keys[0]) + keyed(offset, keys[1])) >> np.uint32(1)
        return xp.searchsorted(tables["ends"], uniform, side="right").astype(np.uint32)


@dataclass(frozen=True, eq=False)
class Stratified:
    """Every example exactly once per pass, the classes in proportion in every stretch.

    With `k` classes, of which class `c` has `n_c` of the `n` examples, the first `p` positions of a pass hold
    `p * n_c / n` of class `c`, give or take `1 - 1 / (2k - 2)`; hence any stretch of `p` positions within a pass,
    such as a batch, give or take twice that (see `ladle.feed.layout.interleave`). Which class stands where is the same
    in each pass; which of its examples is shuffled anew, by a keyed bijection of each class.

    - `labels`: `[n]` whole numbers, booleans or strings, one class each.

    Raises `ArgumentError` for labels that are not a class each, or a bad seed.

    >>> Stratified([0, 0, 0, 0, 1, 1], seed=0).ids(0, 6).tolist()
    [3, 4, 2, 0, 5, 1]
    """

    labels: Any = field(repr=False)
    seed: int = 0

    once: ClassVar[bool] = True
    """Every pass holds every example exactly once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checked_labels(self.labels))
        seed_words(self.seed)

    @property
    def epoch_size(self) -> int:
        return len(self.labels)

    @property
    def program(self) -> StratifiedProgram:
        return StratifiedProgram(self.epoch_size)

    def tables(self) -> Mapping[str, np.ndarray]:
        return self._tables

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        _, class_of, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        first = np.cumsum(counts) - counts
        place = interleave(counts)
        class_at = np.repeat(np.arange(len(counts)), counts)[place]
        rows, columns = zip(*(sides(int(count)) for count in counts), strict=True)
        tables = {
            "class": class_at,
            "rank": place - first[class_at],
            "member": np.argsort(class_of, kind="stable"),
            "first": first,
            "count": counts,
            "rows": np.array(rows),
            "columns": np.array(columns),
        }
        words = {name: value.astype(np.uint32) for name, value in tables.items()}
        return _frozen({"seed": seed_words(self.seed), **words})

    def ids(self, start: int, count: int) -> np.ndarray:
        return _ids(self, start, count)


@dataclass(frozen=True)
class StratifiedProgram:
    """`Stratified` as a function.

    Reads `seed` (`u32[2]`); per place `class` and `rank` within it; `member`, the ids class by class; and per class
    `first` (where its members begin), `count`, and the `rows` and `columns` of its bijection; all `u32`.
    """

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        table = {name: xp.asarray(value) for name, value in tables.items()}
        own = table["class"][offset]
        n, a, b = (table[name][own] for name in ("count", "rows", "columns"))
        keys = round_keys(table["seed"], epoch, own + _STRATIFIED)
        rank = permute(table["rank"][offset], n, a, b, keys=keys, xp=xp, while_loop=while_loop)
        return table["member"][table["first"][own] + rank]


ORDERS = ("permuted", "sequential", "stratified")
"""Orders that need no more than the data. `Weighted` also needs weights, so it has no name."""


def order_named(name: str, labels: np.ndarray, seed: int) -> Order:
    """The order of that name over as many examples as there are `labels`. Raises `ArgumentError`.

    >>> order_named("sequential", np.zeros(4), seed=0).ids(3, 3).tolist()
    [3, 0, 1]
    """
    if name not in ORDERS:
        why = "ladle knows these (a function `seed -> order` may be any other)"
        raise ArgumentError(must("order", "be a known name", name, why, nearest(str(name), ORDERS)))
    if name == "stratified":
        if labels.dtype.kind == "f":
            why = "amounts have no classes to keep in proportion"
            raise ArgumentError(must("order", "be of classes", name, why, "'permuted'"))
        return Stratified(labels, seed)
    return Sequential(len(labels)) if name == "sequential" else Permuted(len(labels), seed)


def _ids(order: DeviceOrder, start: int, count: int) -> np.ndarray:
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


def _frozen(tables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for table in tables.values():
        table.setflags(write=False)
    return tables


def _require_size(name: str, value: Any, largest: int) -> None:
    if require_count(name, value) > largest:
        why = "places are computed in machine words"
        raise ArgumentError(must(name, f"be at most {largest}", value, why, "several sources, one for each part"))


def _checked_weights(weights: Any) -> np.ndarray:
    values = np.array(weights, np.float64)
    if values.ndim != 1 or not 1 <= len(values) <= NARROW:
        shape = f"an array of shape {values.shape}"
        raise ArgumentError(
            must("weights", "be one number per example", shape, "each is one example's share", "f64[n]")
        )
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        got = f"{values[bad[0]]} for example {bad[0]} ({bad.size} such)"
        raise ArgumentError(must("weights", "be finite and not negative", got, "a chance is", "np.maximum(weights, 0)"))
    if not values.any():
        raise ArgumentError(must("weights", "not all be zero", 0.0, "some example has to be drawn", "np.ones(n)"))
    return values


def checked_labels(labels: Any) -> np.ndarray:
    """One class for each example, or an `ArgumentError`."""
    values = np.array(labels)
    if values.ndim != 1 or not 1 <= len(values) <= NARROW or values.dtype.kind not in "biuSU":
        got = f"an array of shape {values.shape} and type {values.dtype}"
        be = "be one whole number, boolean or string per example"
        raise ArgumentError(must("labels", be, got, "each names one example's class", "labels.astype(int)"))
    return values
