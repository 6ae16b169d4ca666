"""Data in memory: `Arrays` answers with rows by number, `ArrayFeed` cuts them into batches on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ladle.batch import Batch, batch_ends, window_end
from ladle.cursor import Cursor, Shard
from ladle.errors import ArgumentError, DataError, must
from ladle.protocols import Order, Source
from ladle.spec import BatchSpec


@dataclass(frozen=True, eq=False)
class Arrays:
    """Examples in arrays; implements `ladle.protocols.Source`.

    - `tree`: nested dicts and tuples of arrays (or what `numpy.asarray` makes one of), whose leading axis counts
      examples. Nothing is copied; memory-mapped arrays stay on disk until their rows are taken.

    Raises `DataError` where there is no array, no example, an array without a leading axis or of Python objects, or
    where the arrays disagree about the number of examples.

    >>> source = Arrays({"x": np.arange(6).reshape(3, 2), "y": np.array([0, 1, 0])})
    >>> len(source), source.take(np.array([2, 0]))["x"].tolist()
    (3, [[4, 5], [0, 1]])
    """

    tree: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", map_tree(_as_array, self.tree))
        _check_arrays(dict(leaves(self.tree)))

    def __len__(self) -> int:
        return len(next(leaf for _, leaf in leaves(self.tree)))

    def take(self, ids: np.ndarray) -> Any:
        """Rows `ids` (`i64[k]`) of every array, in that order."""
        return map_tree(lambda leaf: leaf.take(ids, axis=0), self.tree)


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """`function` of every leaf of nested mappings and tuples, in the same nesting.

    >>> map_tree(abs, {"a": (-1, -2)})
    {'a': (1, 2)}
    """
    if isinstance(tree, Mapping):
        return {name: map_tree(function, branch) for name, branch in tree.items()}
    if isinstance(tree, tuple):
        branches = [map_tree(function, branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)
    return function(tree)


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with where it is.

    >>> list(leaves({"x": (1, 2), "y": 3}))
    [('x.0', 1), ('x.1', 2), ('y', 3)]
    """
    if isinstance(tree, Mapping | tuple):
        named = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        for name, branch in named:
            yield from leaves(branch, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree


def _as_array(leaf: Any) -> np.ndarray:
    try:
        return np.asarray(leaf)
    except ValueError:  # Lists of unequal length: refused below, by name.
        return np.array(None)


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    if not arrays:
        raise DataError(must("data", "hold an array", "none", "examples are its rows", '{"x": x, "y": y}'))
    for name, array in arrays.items():
        argument = f"data {name!r}" if name else "data"
        if array.dtype == object:
            got, remedy = "Python objects (rows of unequal length, or None)", "numbers of one type, rows of one length"
            raise DataError(must(argument, "be an array of numbers", got, "objects do not fit on a device", remedy))
        if array.ndim == 0:
            raise DataError(
                must(argument, "count examples along its first axis", array, "it has no axis", "[value] * n")
            )
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        why, remedy = "row i of each belongs to example i", "arrays of one length"
        raise DataError(must("data", "have equally many rows in every array", counts, why, remedy))
    if not all(counts.values()):
        raise DataError(must("data", "hold at least one example", 0, "there is nothing to learn from", "more data"))


@dataclass(frozen=True, eq=False)
class ArrayFeed:
    """Batches cut on the host, one micro-batch in memory at a time; implements `ladle.protocols.Feed`.

    - `source`, `order`: the examples, and which of them stands where. `weight`: `f32[n]`, how much each example counts
      in losses and means; all one by default.

    Raises `ArgumentError` where the order is of other data, or for weights that are not one finite, non-negative
    number per example, or all zero.

    >>> from ladle.feed.order import Sequential
    >>> feed = ArrayFeed(Arrays({"x": np.arange(5.0)}), Sequential(5))
    >>> draw, cursor = feed.draw(Cursor(drawn=4), BatchSpec(size=3, micro_size=2, updates=2))
    >>> draw.counts, cursor.drawn
    ((1, 3), 8)
    >>> [(batch.data["x"].tolist(), batch.weight.tolist()) for batch in draw.micro_batches(1, 2)]
    [([0.0, 1.0], [1.0, 1.0]), ([2.0, 2.0], [1.0, 0.0])]
    """

    source: Source
    order: Order
    weight: Any = None

    def __post_init__(self) -> None:
        _check_order(self.order, len(self.source))
        if self.weight is not None:
            object.__setattr__(self, "weight", _checked_weight(self.weight, len(self.source)))

    @property
    def epoch_size(self) -> int:
        return self.order.epoch_size

    @property
    def updates_per_draw(self) -> int:
        return 1

    def start(self) -> Cursor:
        return Cursor()

    def draw(self, cursor: Cursor, spec: BatchSpec, shard: Shard = Shard()) -> tuple[ArrayDraw, Cursor]:
        """The next `spec.updates` batches and the cursor after them. Pure; reads nothing yet."""
        if not 0 <= shard.index < shard.count:
            why, remedy = "hosts are numbered from 0", "Shard(index=jax.process_index(), count=jax.process_count())"
            raise ArgumentError(must("shard", "have an index below its count", shard, why, remedy))
        end = window_end(cursor.drawn, spec.size, spec.updates, self.epoch_size)
        draw = ArrayDraw(self, cursor.drawn, size=spec.size, updates=spec.updates, shard=shard)
        return draw, Cursor(drawn=end, carry=cursor.carry)


@dataclass(frozen=True, eq=False)
class ArrayDraw:
    """A plan of positions, read when asked; implements `ladle.batch.Draw`."""

    feed: ArrayFeed
    start: int
    size: int
    updates: int
    shard: Shard

    @property
    def epoch_size(self) -> int:
        return self.feed.epoch_size

    @cached_property
    def _ends(self) -> list[int]:
        return batch_ends(self.start, self.size, self.updates, self.epoch_size).tolist()

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Examples in each update, all shards together."""
        return tuple(end - begin for begin, end in pairwise([self.start, *self._ends]))

    def ids(self) -> list[np.ndarray]:
        """`i64[...]` example ids of each update that belong to this shard."""
        return [self.feed.order.ids(*self._span(u))[self.shard.index :: self.shard.count] for u in range(self.updates)]

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        """The rows of one update that belong to this shard, in micro-batches of exactly `micro_size` rows.

        Every shard yields equally many, so that hosts stay in step. Where rows are lacking, the micro-batch repeats
        its own with weight 0, so that batch statistics see no made-up examples; one that has none of its own repeats
        the first row of the update.
        """
        first, count = self._span(update)
        stride = micro_size * self.shard.count
        for begin in range(0, count, stride):
            yield self._read(first, first + begin, min(stride, count - begin), micro_size)

    def _span(self, update: int) -> tuple[int, int]:
        """First position and number of positions of an update, all shards together."""
        count = self.counts[update]
        return self._ends[update] - count, count

    def _read(self, first: int, begin: int, count: int, micro_size: int) -> Batch:
        """This shard's part of positions `begin .. begin + count`; `first` is where the update begins."""
        feed, shard, lane = self.feed, self.shard, np.arange(micro_size)
        own = slice(shard.index, None, shard.count)
        ids, position = feed.order.ids(begin, count)[own], np.arange(begin, begin + count)[own]
        real = len(ids)
        if real == 0:
            ids, position = feed.order.ids(first, 1), np.array([first])
        if real < micro_size:
            ids, position = (values[lane % len(values)] for values in (ids, position))
        weight = (lane < real).astype(np.float32)
        if feed.weight is not None:
            weight *= feed.weight[ids]
        return Batch(feed.source.take(ids), weight, position)


def _check_order(order: Order, examples: int) -> None:
    covered = getattr(order, "examples", order.epoch_size)
    if covered != examples:
        got = f"an order over {covered}"
        remedy = f"{type(order).__name__} made for these {examples} examples"
        raise ArgumentError(must("order", f"be over {examples} examples", got, "that many are in the source", remedy))


def _checked_weight(weight: Any, examples: int) -> np.ndarray:
    with np.errstate(over="ignore"):  # What does not fit becomes infinite, and is refused as such.
        values = np.asarray(weight, np.float32)
    if values.shape != (examples,):
        got, why = f"an array of shape {values.shape}", "each example has one"
        raise ArgumentError(must("weight", f"have shape ({examples},)", got, why, f"np.ones({examples})"))
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        got = f"{values[bad[0]]} for example {bad[0]} ({bad.size} such)"
        raise ArgumentError(
            must("weight", "be finite and not negative", got, "means divide by its sum", "np.maximum(weight, 0)")
        )
    if not values.any():
        raise ArgumentError(must("weight", "not all be zero", 0.0, "means divide by its sum", f"np.ones({examples})"))
    return values
