"""Reading ahead for a training loop: the next micro-batches are read and decoded while this one is used.

What comes next is a function of the cursor, so it can be read before anyone asks. It is a speculation, never a state:
where something else is asked for (the batch size changed, a run went back to a checkpoint), what was read ahead is
thrown away and reading starts from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import BatchSpec
from ladle.feed.host import HostDraw, HostFeed
from ladle.feed.lookahead import Ahead

Piece = tuple[int, int, int]
"""`(start, count, rows)` of a micro-batch."""


@dataclass(frozen=True)
class _Key:
    """One micro-batch to come: which draw, and which of its pieces."""

    start: int
    spec: BatchSpec
    shard: Shard
    number: int
    piece: Piece


@dataclass(frozen=True, eq=False)
class _Read:
    """The job: one micro-batch of a feed. It is all that a reading process is given."""

    feed: HostFeed

    def __call__(self, key: _Key) -> Batch:
        return self.feed.draw(Cursor(key.start), key.spec, key.shard)[0].micro_batch(key.piece)


class PrefetchedFeed:
    """A host feed whose micro-batches are read ahead; implements `ladle.core.protocols.Feed`, with the same batches.

    - `feed`: the feed to read from. `workers`: how many read at once; two threads by default, or what the source
      says of itself (a dataset asked item by item is read by the caller); 0 reads nothing ahead.
    - `processes`: read in processes instead of threads. The feed travels there once, so it must be picklable.
    - `depth`: micro-batches read and not yet used, at most; `2 * workers` by default. Memory is bounded by
      `depth + 1` micro-batches and what the source itself keeps.

    Raises `ArgumentError` for a stream, or numbers that cannot be; `RunError` where a reading process died, with the
    examples it was reading.

    >>> from ladle.feed.arrays import Arrays
    >>> from ladle.feed.order import Permuted
    >>> feed = PrefetchedFeed(HostFeed(Arrays({"x": np.arange(10.0)}), Permuted(10)))
    >>> draw, _ = feed.draw(feed.start(), BatchSpec(size=4, micro_size=4))
    >>> [batch.data["x"].tolist() for batch in draw.micro_batches(0, 4)]
    [[1.0, 7.0, 4.0, 5.0]]
    >>> feed.close()
    """

    def __init__(
        self, feed: HostFeed, *, workers: int | None = None, processes: bool = False, depth: int | None = None
    ) -> None:
        if not isinstance(feed, HostFeed):
            why = "only of examples by number is it known what comes next"
            raise ArgumentError(must("feed", "be a HostFeed", type(feed).__name__, why, "the feed as it is"))
        self.feed = feed
        self._planned: tuple[HostDraw, list[Piece]] | None = None
        if workers is None and not processes:
            workers = getattr(feed.source, "readers", None)
        check = getattr(feed.source, "require_threads", None)
        how: dict[str, Any] = {"workers": workers, "processes": processes, "depth": depth, "check": check}
        self.ahead = Ahead(_Read(feed), self._after, name=self._name, **how)

    @property
    def source(self) -> Any:
        return self.feed.source

    @property
    def order(self) -> Any:
        return self.feed.order

    @property
    def epoch_size(self) -> int:
        return self.feed.epoch_size

    @property
    def resident(self) -> bool:
        return False

    def start(self) -> Cursor:
        return self.feed.start()

    def draw(self, cursor: Cursor, spec: BatchSpec, shard: Shard = Shard()) -> tuple[PrefetchedDraw, Cursor]:
        """The draw of the feed itself, whose micro-batches may have been read already."""
        draw, after = self.feed.draw(cursor, spec, shard)
        return PrefetchedDraw(self.ahead, draw), after

    def close(self) -> None:
        """End the readers. Nothing is lost: the cursor is the state."""
        self.ahead.close()

    def _after(self, key: _Key) -> _Key:
        draw, pieces = self._plan(key)
        if key.number + 1 < len(pieces):
            return replace(key, number=key.number + 1, piece=pieces[key.number + 1])
        following = replace(key, start=draw.stop, number=0)
        return replace(following, piece=self._plan(following)[1][0])

    def _plan(self, key: _Key) -> tuple[HostDraw, list[Piece]]:
        """The draw that a piece belongs to, with all its pieces."""
        draw = self._planned[0] if self._planned else None
        if draw is None or (draw.start, draw.spec, draw.shard) != (key.start, key.spec, key.shard):
            draw = self.feed.draw(Cursor(key.start), key.spec, key.shard)[0]
            self._planned = draw, draw.pieces(0, key.spec.micro_size)
        assert self._planned is not None
        return self._planned

    def _name(self, key: _Key) -> str:
        ids = self.feed.order.ids(*key.piece[:2])
        return "examples " + ", ".join(str(id) for id in ids[:8].tolist()) + (", ..." if len(ids) > 8 else "")


@dataclass(frozen=True, eq=False)
class PrefetchedDraw:
    """A draw read through its feed's readers; implements `ladle.core.batch.Draw`."""

    ahead: Ahead
    draw: HostDraw

    @property
    def start(self) -> int:
        return self.draw.start

    @property
    def epoch_size(self) -> int:
        return self.draw.epoch_size

    @property
    def counts(self) -> tuple[int, ...]:
        return self.draw.counts

    def ids(self) -> list[np.ndarray]:
        return self.draw.ids()

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        """See `HostDraw.micro_batches`. A draw of several updates is read when asked: loops draw one at a time."""
        draw = self.draw
        if micro_size != draw.spec.micro_size:
            draw = replace(draw, spec=replace(draw.spec, micro_size=micro_size))
        for number, piece in enumerate(draw.pieces(update, micro_size)):
            if draw.spec.updates > 1:
                yield draw.micro_batch(piece)
            else:
                yield self.ahead.get(_Key(draw.start, draw.spec, draw.shard, number, piece))
