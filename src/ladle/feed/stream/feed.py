"""`StreamFeed`: batches of a stream. The position in the stream is in the cursor, and so in every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, DataError, EndOfStream, ExampleError, must
from ladle.core.protocols import Stream
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays, map_tree
from ladle.feed.stream.decode import NUMBERS

EPOCH = 2**31
"""A stream has no passes. This many events stand for one, which is more than most runs see."""

BAD_BATCHES = 16
"""After so many batches without a single readable event the stream is not of such events."""


@dataclass(frozen=True, eq=False)
class StreamFeed:
    """Batches of the next `spec.size` events of a stream; implements `ladle.core.protocols.Feed`.

    - `stream`: where events come from (`RedisStream`, `KafkaTopic`, `PostgresTable`, `DirectoryStream`,
      `IteratorStream`, or what implements `ladle.core.protocols.Stream`).
    - `decode`: makes a tree of arrays of a list of events, row i of event i; raises `ExampleError` with the places of
      events it cannot read. By default `Numbers()`: JSON objects of numbers.
    - `wait_seconds`: how long a batch may take to fill; what has come by then is the batch. `inf` waits for full ones.
    - `idle_seconds`: how long to wait for the first event of a batch before `EndOfStream`; `wait_seconds` by default.
    - `bad`: what becomes of events that cannot be read: "raise", or "skip": their rows get weight 0 and the batch names
      them. A batch of bad events only is passed over.

    Exactly once: the cursor counts events drawn and carries the position after them, and is saved together with what
    was learned from them. Whoever goes on from a checkpoint reads on from its position, so that no event counts twice
    or not at all. Nothing is acknowledged to the server. The events must still be there: a log keeps them longer than
    a restart takes.

    A stream that leaves events out on its way says so with `sums(before, after)`: numbers by name of the way from a
    position to another, which the record adds up.

    One batch is in memory at a time, and drawing reads it: a slow trainer leaves the events on the log. Every host
    reads all events of the batch and uses rows `index, index + count, ...` of it. Two hosts may not wait differently
    long, so with more than one `wait_seconds` must be `inf`. A pass has 2**31 events (`epoch_size`): streams have none.

    Raises `ArgumentError` for such waiting, `DataError` for a cursor of another feed, `ExampleError` with the numbers
    of events that cannot be read, `EndOfStream`, and what the stream raises.

    >>> from ladle.feed.stream.iterator import IteratorStream
    >>> feed = StreamFeed(IteratorStream(lambda: ({"x": i} for i in range(5))), wait_seconds=0)
    >>> draw, cursor = feed.draw(feed.start(), BatchSpec(size=3, micro_size=2))
    >>> [(batch.data["x"].tolist(), batch.weight.tolist()) for batch in draw.micro_batches(0, 2)]
    [([0.0, 1.0], [1.0, 1.0]), ([2.0, 2.0], [1.0, 0.0])]
    >>> cursor.to_json()
    {'drawn': 3, 'carry': {'position': {'taken': 3}}}
    """

    stream: Stream
    decode: Callable[[list[Any]], Any] = NUMBERS
    wait_seconds: float = 1.0
    idle_seconds: float | None = None
    bad: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        if self.bad not in ("raise", "skip"):
            why = "a batch either fails or goes on without them"
            raise ArgumentError(must("bad", "be 'raise' or 'skip'", self.bad, why, "bad='skip'"))
        for name in ("wait_seconds", "idle_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds >= 0:
                raise ArgumentError(must(name, "be at least 0", seconds, "it is a time", f"{name}=1.0"))

    @property
    def epoch_size(self) -> int:
        return EPOCH

    @property
    def resident(self) -> bool:
        return False

    def start(self) -> Cursor:
        return Cursor(0, {"position": self.stream.start()})

    def draw(self, cursor: Cursor, spec: BatchSpec, shard: Shard = Shard()) -> tuple[StreamDraw, Cursor]:
        """The next `spec.updates` batches, or as many as there are, and the cursor after them. Reads them.

        Drawing again from the same cursor gives the same events from the first on. It may give more of them, where
        more have come to fill a batch: go on from the cursor of the draw whose batches were used.
        """
        self._check_shard(shard)
        if "position" not in cursor.carry:
            why, remedy = "it says where reading goes on", "feed.start()"
            raise DataError(must("cursor", "carry the position in the stream", cursor.to_json(), why, remedy))
        batches: list[_Events] = []
        at, position = cursor.drawn, cursor.carry["position"]
        for _ in range(spec.updates):
            try:
                batch, position = self._next(at, position, spec.size)
            except EndOfStream:
                if not batches:
                    raise
                break
            batches.append(batch)
            at = batch.start + batch.count
        draw = StreamDraw(tuple(batches), spec, shard)
        return draw, Cursor(at, {**cursor.carry, "position": position})

    def _check_shard(self, shard: Shard) -> None:
        if not 0 <= shard.index < shard.count:
            why, remedy = "hosts are numbered from 0", "Shard(index=jax.process_index(), count=jax.process_count())"
            raise ArgumentError(must("shard", "have an index below its count", shard, why, remedy))
        if shard.count > 1 and math.isfinite(self.wait_seconds):
            be, why = "be inf with several hosts", "hosts that give up at other moments would cut other batches"
            raise ArgumentError(must("wait_seconds", be, self.wait_seconds, why, "wait_seconds=float('inf')"))

    def _next(self, at: int, position: Any, size: int) -> tuple[_Events, Any]:
        """The next batch with an event that can be read, and the position after it."""
        passed: tuple[int, ...] = ()
        begun, sums = position, getattr(self.stream, "sums", None)
        for _ in range(BAD_BATCHES):
            events, after = self._read(position, min(size, EPOCH - at % EPOCH))
            batch = self._decoded(events, at, position, passed)
            if batch is not None:
                return (replace(batch, sums=sums(begun, after)) if sums else batch), after
            passed += tuple(range(at, at + len(events)))
            at, position = at + len(events), after
        got, why = f"{len(passed)} bad ones in a row, up to position {position}", "there is nothing to learn from"
        raise ExampleError(must("stream", "have readable events", got, why, "decode=function"), passed)

    def _read(self, position: Any, count: int) -> tuple[list[Any], Any]:
        idle_seconds = self.wait_seconds if self.idle_seconds is None else self.idle_seconds
        events, after = self.stream.read(position, count, self.wait_seconds)
        more = idle_seconds - self.wait_seconds
        # The first event ends the waiting for one; then the batch has its own time to fill.
        if not events and more > 0 and self.stream.read(position, 1, more)[0]:
            events, after = self.stream.read(position, count, self.wait_seconds)
        if not events:
            raise EndOfStream(f"no event after position {position} within {idle_seconds:g} s")
        return events, after

    def _decoded(self, events: list[Any], at: int, position: Any, passed: tuple[int, ...]) -> _Events | None:
        good = np.arange(len(events))
        while good.size:
            try:
                tree = self.decode([events[place] for place in good.tolist()])
                return _Events.of(tree, good, at, len(events), passed)
            except ExampleError as error:
                wrong = good[_places(error, good.size)]
                if self.bad == "raise":
                    ids = (at + wrong).tolist()
                    raise ExampleError(f"event {ids[0]} (number {wrong[0]} after {position}): {error}", ids) from None
                good = np.setdiff1d(good, wrong)
        return None


@dataclass(frozen=True, eq=False)
class _Events:
    """The events of one update: numbers `start .. start + count`; `row[i]` of `tree` stands for number `start + i`."""

    start: int
    count: int
    tree: Any
    row: np.ndarray
    bad: tuple[int, ...]
    passed: tuple[int, ...]
    """Bad events before `start`, whole batches of them."""
    sums: Mapping[str, float] = field(default_factory=dict)
    """What the stream has to say of the way to these events."""

    @classmethod
    def of(cls, tree: Any, good: np.ndarray, start: int, count: int, passed: tuple[int, ...]) -> _Events:
        """Events that cannot be read are stood in for by the first that can."""
        rows = Arrays(tree)
        if len(rows) != len(good):
            got, why = f"{len(rows)} rows of {len(good)} events", "row i is event i"
            raise DataError(must("decode", "give a row for each event", got, why, "np.stack"))
        row = np.zeros(count, np.int64)
        row[good] = np.arange(len(good))
        bad = np.setdiff1d(np.arange(count), good) + start
        return cls(start, count, rows.tree, row, tuple(bad.tolist()), passed)


@dataclass(frozen=True, eq=False)
class StreamDraw:
    """Batches that were read; implements `ladle.core.batch.Draw`."""

    batches: tuple[_Events, ...]
    spec: BatchSpec
    shard: Shard

    @property
    def start(self) -> int:
        return self.batches[0].start

    @property
    def epoch_size(self) -> int:
        return EPOCH

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Events in each update, all shards together."""
        return tuple(batch.count for batch in self.batches)

    def ids(self) -> list[np.ndarray]:
        """`i64[...]` event numbers of each update that belong to this shard."""
        own = slice(self.shard.index, None, self.shard.count)
        return [np.arange(batch.start, batch.start + batch.count)[own] for batch in self.batches]

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        """The rows of one update that belong to this shard, in micro-batches of exactly `micro_size` rows.

        Every shard yields equally many. Where rows are lacking, the micro-batch repeats its own with weight 0; one that
        has none of its own repeats the first row of the update.
        """
        for piece in self.pieces(update, micro_size):
            yield self.micro_batch(update, piece)

    def pieces(self, update: int, micro_size: int) -> list[tuple[int, int, int]]:
        """`(start, count, rows)` of every micro-batch of an update."""
        start, count, stride = self.batches[update].start, self.counts[update], micro_size * self.shard.count
        return [(start + at, min(stride, count - at), micro_size) for at in range(0, count, stride)]

    def micro_batch(self, update: int, piece: tuple[int, int, int]) -> Batch:
        """This shard's part of the `count` events from number `start` on, in `rows` rows."""
        batch, (start, count, rows) = self.batches[update], piece
        own = np.arange(start, start + count)[self.shard.index :: self.shard.count]
        real = len(own)
        position = np.resize(own if real else np.array([batch.start]), rows)
        row = batch.row[position - batch.start]
        left_out = np.isin(position, batch.bad)
        bad, sums = tuple(position[:real][left_out[:real]].tolist()), {}
        if start == batch.start and self.shard.index == 0:
            bad, sums = (*batch.passed, *bad), dict(batch.sums)
        if bad:
            sums["bad"] = float(len(bad))
        weight = ((np.arange(rows) < real) & ~left_out).astype(np.float32)
        data = map_tree(lambda leaf: leaf.take(row, axis=0), batch.tree)
        return Batch(data, weight, position, position.copy(), real, sums, bad)


def _places(error: ExampleError, count: int) -> np.ndarray:
    """Which of the events that were decoded the error is about. An error about none of them would never end."""
    places = np.unique(np.array(error.ids, np.int64))
    if not places.size or places[0] < 0 or places[-1] >= count:
        got, why = error.ids, f"{count} events were decoded"
        raise DataError(must("decode", "raise ExampleError with places of its events", got, why, "ids=[0]")) from error
    return places
