"""`Intake`: what was seen of the rows on their way from the host into the step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ladle.core.batch import Batch, Draw
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import RunError
from ladle.core.protocols import Feed
from ladle.core.seen import PROVABLE, Seen
from ladle.core.spec import BatchSpec
from ladle.core.world import ALONE, World

NAMED = 10
"""Ids of examples that were left out, in a record line, at most."""


@dataclass
class Intake:
    """Adds up, over a window: seconds of waiting, what batches counted, ids left out, and the digest of the pass.

    Rows that live on the device do not pass here: there is nothing to wait for, and their ids are the program's own.
    """

    feed: Feed
    seen: Seen
    seconds: float = 0.0
    sums: Counter[str] = field(default_factory=Counter)
    bad: list[int] = field(default_factory=list)
    world: World = ALONE

    @classmethod
    def of_cursor(cls, feed: Feed, cursor: Cursor, world: World = ALONE) -> Intake:
        """That of a window which begins at `cursor`. What was seen before is rank 0's to tell."""
        seen = Seen.from_json(cursor.carry["seen"]) if "seen" in cursor.carry else Seen()
        return cls(feed, seen if world.rank == 0 else Seen(seen.epoch), world=world)

    def drawn(self, cursor: Cursor, spec: BatchSpec, shard: Shard) -> tuple[Draw, Cursor]:
        """The feed's next draw; a stream waits for its events here."""
        started = time.perf_counter()
        try:
            return self.feed.draw(cursor, spec, shard)
        finally:
            if not self.feed.resident:
                self.seconds += time.perf_counter() - started

    def of(self, draw: Draw) -> Draw:
        """The same draw, watched."""
        return draw if self.feed.resident else _WatchedDraw(draw, self)  # type: ignore[return-value]

    def note(self, batch: Batch) -> None:
        self.sums.update(batch.sums)
        self.bad += [id for id in batch.bad if id not in self.bad]
        if batch.real:
            epoch = int(batch.position[0]) // self.feed.epoch_size
            self.seen = self.seen.add(batch.ids[: batch.real], epoch)

    def join(self, seconds: float, busy: float) -> tuple[float, float]:
        """Make it that of all ranks together. Seconds that a window took are those of the slowest, busy ones add up."""
        if self.world.size == 1:
            return seconds, busy
        told = self.world.gathered((seconds, busy, self.seconds, self.sums, self.bad, self.seen))
        seen: list[Seen] = [one[5] for one in told]
        self.seconds, self.seen = max(one[2] for one in told), seen[0].joined(seen[1:])
        self.sums = sum((one[3] for one in told), Counter[str]())
        self.bad = list(dict.fromkeys(id for one in told for id in one[4]))
        return max(one[0] for one in told), sum(one[1] for one in told)

    def proved(self, cursor: Cursor, shard: Shard) -> Cursor:
        """`cursor` with the digest. Raises `RunError` where a whole pass was not each example exactly once.

        Asked only of orders that promise it (`once`), where all of each batch is seen: by one host, or by all joined.
        """
        if self.feed.resident:
            return cursor
        order, n = getattr(self.feed, "order", None), self.feed.epoch_size
        promised = getattr(order, "once", False) and shard.count == self.world.size and n <= PROVABLE
        if promised and self.seen.proves(n) is False:
            raise RunError(
                f"pass {self.seen.epoch} of the data was not each of {n} examples exactly once; "
                "the order or the source of the feed is not what it was at its start"
            )
        return replace(cursor, carry={**cursor.carry, "seen": self.seen.to_json()})

    def line(self, seconds: float) -> dict[str, Any]:
        """What a record line says of it."""
        line: dict[str, Any] = {"data_wait_fraction": min(self.seconds / max(seconds, 1e-9), 1.0)}
        sums = dict(self.sums)
        if slots := sums.pop("token_slots", 0.0):
            line["padding_fraction"] = 1 - sums["tokens"] / slots
        if self.bad:
            line["bad_ids"] = self.bad[:NAMED]
        return {**line, **sums}


@dataclass(frozen=True)
class _WatchedDraw:
    """A draw whose reading is timed and counted; everything else is the draw's own."""

    draw: Draw
    intake: Intake = field(compare=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.draw, name)

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        batches = iter(self.draw.micro_batches(update, micro_size))
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.intake.seconds += time.perf_counter() - started
            if batch is None:
                return
            self.intake.note(batch)
            yield batch
