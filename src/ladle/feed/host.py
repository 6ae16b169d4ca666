"""`HostFeed`: batches cut on the host from any source, one micro-batch in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ladle.core.batch import Batch, Rows, batch_ends, window_end
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, ExampleError, must
from ladle.core.foreign import as_array, is_array
from ladle.core.frames import is_frame
from ladle.core.protocols import Collate, Cut, Order, Source
from ladle.core.spec import BatchSpec
from ladle.feed.source.anything import as_source
from ladle.feed.source.places import Places, placed


@dataclass(frozen=True)
class Stack:
    """Rows as the source has them; implements `ladle.core.protocols.Collate`."""

    def extent(self, source: Any, ids: np.ndarray, position: np.ndarray) -> tuple[int, ...]:
        return ()

    def __call__(self, source: Any, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Rows:
        return Rows(source.take(ids))


@dataclass(frozen=True)
class ByCount:
    """Batches of `spec.size` examples, the last one of a pass shorter; implements `ladle.core.protocols.Cut`."""

    def stop(self, order: Order, start: int, spec: BatchSpec) -> int:
        return window_end(start, spec.size, spec.updates, order.epoch_size)

    def ends(self, order: Order, start: int, spec: BatchSpec) -> np.ndarray:
        return batch_ends(start, spec.size, spec.updates, order.epoch_size)

    def pieces(self, order: Order, start: int, count: int, spec: BatchSpec, shards: int) -> list[tuple[int, int, int]]:
        stride = spec.micro_size * shards
        return [(start + at, min(stride, count - at), spec.micro_size) for at in range(0, count, stride)]


@dataclass(frozen=True, eq=False)
class HostFeed:
    """Batches cut on the host, one micro-batch in memory at a time; implements `ladle.core.protocols.Feed`.

    - `source`, `order`: the examples, and which of them stands where. `weight`: `f32[n]`, how much each example counts
      in losses and means; all one by default.
    - `collate`: makes arrays of one shape of rows that differ (`Pad`, `Neighbours`, ...). `cut`: where batches end, by
      number of examples (`ByCount`) or of tokens (`ByTokens`).
    - `seed`: of what datasets draw while they are read; the order's own by default.
    - `bad`: what becomes of examples that cannot be read: "raise", or "skip": their rows get weight 0 and the batch
      names them. The positions stay, so hosts stay in step without a word between them.

    Raises `ArgumentError` where the order is of other data, or for weights that are not one finite, non-negative
    number per example, or all zero.

    >>> from ladle.feed.arrays import Arrays
    >>> from ladle.feed.order import Sequential
    >>> feed = HostFeed(Arrays({"x": np.arange(5.0)}), Sequential(5))
    >>> draw, cursor = feed.draw(Cursor(drawn=4), BatchSpec(size=3, micro_size=2, updates=2))
    >>> draw.counts, cursor.drawn
    ((1, 3), 8)
    >>> [(batch.data["x"].tolist(), batch.weight.tolist()) for batch in draw.micro_batches(1, 2)]
    [([0.0, 1.0], [1.0, 1.0]), ([2.0, 2.0], [1.0, 0.0])]
    """

    source: Source
    order: Order
    weight: Any = None
    collate: Collate = Stack()
    cut: Cut = ByCount()
    bad: Literal["raise", "skip"] = "raise"
    seed: int | None = None

    def __post_init__(self) -> None:
        if type(self.source) in (dict, tuple) or is_array(self.source) or is_frame(self.source):
            object.__setattr__(self, "source", as_source(self.source))  # An array's own `take` would flatten it.
        _check_order(self.order, len(self.source))
        if self.bad not in ("raise", "skip"):
            why = "a batch either fails or goes on without them"
            raise ArgumentError(must("bad", "be 'raise' or 'skip'", self.bad, why, "bad='skip'"))
        if self.weight is not None:
            object.__setattr__(self, "weight", _checked_weight(self.weight, len(self.source)))

    @property
    def epoch_size(self) -> int:
        return self.order.epoch_size

    @property
    def resident(self) -> bool:
        return False

    def start(self) -> Cursor:
        return Cursor()

    def places(self, position: np.ndarray) -> Places:
        """What random numbers of the examples at these positions (`i64[k]`) are a function of."""
        seed = getattr(self.order, "seed", 0) if self.seed is None else self.seed
        return Places(position, self.epoch_size, seed)

    def draw(self, cursor: Cursor, spec: BatchSpec, shard: Shard = Shard()) -> tuple[HostDraw, Cursor]:
        """The next `spec.updates` batches and the cursor after them. Pure; reads nothing yet."""
        if not 0 <= shard.index < shard.count:
            why, remedy = "hosts are numbered from 0", "Shard(index=jax.process_index(), count=jax.process_count())"
            raise ArgumentError(must("shard", "have an index below its count", shard, why, remedy))
        draw = HostDraw(self, cursor.drawn, spec, shard)
        return draw, Cursor(drawn=draw.stop, carry=cursor.carry)


@dataclass(frozen=True, eq=False)
class HostDraw:
    """A plan of positions, read when asked; implements `ladle.core.batch.Draw`."""

    feed: HostFeed
    start: int
    spec: BatchSpec
    shard: Shard

    @property
    def epoch_size(self) -> int:
        return self.feed.epoch_size

    @cached_property
    def stop(self) -> int:
        """Position after the last example."""
        return self.feed.cut.stop(self.feed.order, self.start, self.spec)

    @cached_property
    def _ends(self) -> list[int]:
        return self.feed.cut.ends(self.feed.order, self.start, self.spec).tolist()

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Examples in each update, all shards together."""
        return tuple(end - begin for begin, end in pairwise([self.start, *self._ends]))

    def ids(self) -> list[np.ndarray]:
        """`i64[...]` example ids of each update that belong to this shard."""
        own = slice(self.shard.index, None, self.shard.count)
        return [self.feed.order.ids(*self._span(update))[own] for update in range(len(self.counts))]

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        """The rows of one update that belong to this shard, in micro-batches of one number of rows.

        Every shard yields equally many, so that hosts stay in step. Where rows are lacking, the micro-batch repeats
        its own with weight 0, so that batch statistics see no made-up examples; one that has none of its own repeats
        the first row of the micro-batch.
        """
        for piece in self.pieces(update, micro_size):
            yield self.micro_batch(piece)

    def pieces(self, update: int, micro_size: int) -> list[tuple[int, int, int]]:
        """`(start, count, rows)` of every micro-batch of an update: what `micro_batch` reads, in any order."""
        spec = self.spec if micro_size == self.spec.micro_size else replace(self.spec, micro_size=micro_size)
        return self.feed.cut.pieces(self.feed.order, *self._span(update), spec, self.shard.count)

    def micro_batch(self, piece: tuple[int, int, int]) -> Batch:
        """This shard's part of the `count` examples from position `start` on, in `rows` rows. Pure."""
        feed, (start, count, rows) = self.feed, piece
        every = feed.order.ids(start, count)
        shares = [self._share(every, start, index) for index in range(self.shard.count)]
        ids, position = shares[self.shard.index]
        real = len(ids)
        if real == 0:
            ids, position = every[:1], np.array([start])  # The first shard's, so that it fits the extent.
        extents = [feed.collate.extent(feed.source, *share) for share in shares if len(share[0])]
        if real < rows:
            again = np.arange(rows) % len(ids)
            ids, position = ids[again], position[again]
        return self._read(ids, position, tuple(np.max(extents, axis=0).tolist()), real)

    def _share(self, ids: np.ndarray, start: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        own = slice(index, None, self.shard.count)
        return ids[own], np.arange(start, start + len(ids))[own]

    def _span(self, update: int) -> tuple[int, int]:
        """First position and number of positions of an update, all shards together."""
        count = self.counts[update]
        return self._ends[update] - count, count

    def _read(self, ids: np.ndarray, position: np.ndarray, extent: tuple[int, ...], real: int) -> Batch:
        feed = self.feed
        source = placed(feed.source, ids, feed.places(position))
        weight = (np.arange(len(ids)) < real).astype(np.float32)
        if feed.weight is not None:
            weight *= feed.weight[ids]
        bad: tuple[int, ...] = ()
        readable = ids
        while True:
            try:
                rows = feed.collate(source, readable, position, extent, real)
                break
            except ExampleError as error:
                new = tuple(id for id in error.ids if id not in bad)
                if feed.bad == "raise" or not np.isin(new, readable).any():  # Or nothing that was asked for is named.
                    raise
                bad = (*bad, *new)
                readable = self._without(ids, bad)
        sums = dict(rows.sums)
        if bad:
            left_out = np.isin(ids, bad)
            weight[left_out] = 0
            sums["bad"] = sums.get("bad", 0.0) + float(left_out[:real].sum())
        if rows.weight is not None:
            weight *= rows.weight
        return Batch(rows.data, weight, position, ids, real, sums, bad)

    def _without(self, ids: np.ndarray, bad: tuple[int, ...]) -> np.ndarray:
        """`ids` with the bad ones replaced by a good one: of the batch, else the next in order of number."""
        left_out = np.isin(ids, bad)
        good = ids[~left_out]
        if len(good):
            stand_in = good[0]
        else:
            left = np.setdiff1d(np.arange(int(ids[0]) + 1, int(ids[0]) + 2 + len(bad)) % len(self.feed.source), bad)
            if not len(left):
                why, remedy = "a batch of nothing has no shape", "mending the data"
                raise ExampleError(must("data", "have a readable example", f"{len(bad)} bad ones", why, remedy), bad)
            stand_in = left[0]
        return np.where(left_out, stand_in, ids)


def _check_order(order: Order, examples: int) -> None:
    covered = getattr(order, "examples", order.epoch_size)
    if covered != examples:
        got = f"an order over {covered}"
        remedy = f"{type(order).__name__} made for these {examples} examples"
        raise ArgumentError(must("order", f"be over {examples} examples", got, "that many are in the source", remedy))


def _checked_weight(weight: Any, examples: int) -> np.ndarray:
    with np.errstate(over="ignore"):  # What does not fit becomes infinite, and is refused as such.
        values = as_array(weight, "weight").astype(np.float32)
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
