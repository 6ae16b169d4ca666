"""`Walk`: the batches of one pass of a `Loader`, read ahead in chunks, in their turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ladle.core.batch import window_end
from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.spec import BatchSpec
from ladle.feed.host import ByCount, HostFeed
from ladle.feed.loader_jobs import Job, Key, Ready, TakeRows, row_bytes
from ladle.feed.lookahead import Ahead
from ladle.feed.readers import Readers

CHUNK_BYTES = 4_000_000
"""Batches of plain rows are gathered several at a time, up to about so many bytes: a small batch then costs a slice."""

CHUNK_BATCHES = 128
"""And at most so many: slices cost time as well. Sources that are not said to gather (`gathers`) are asked for one."""


class Walk:
    """The batches from some position on, to the end of its pass.

    - `feed`, `job`, `readers`: what is read, how, by whom. `drop_last`: a smaller last batch is not read.
    - `chunks`: batch size -> batches per chunk, as far as it is known: kept from pass to pass.
    """

    def __init__(
        self, feed: HostFeed, job: Job, readers: Readers, chunks: dict[int, int], *, drop_last: bool, **how: Any
    ) -> None:
        self.feed, self.drop_last, self._ready = feed, drop_last, deque[Ready]()
        self._following: Key | None = None
        self._gathers = _rows(job) and bool(getattr(feed.source, "gathers", False))
        self._chunks, self._most = chunks, 1
        self._ahead = Ahead(job, self._after, name=self._name, readers=readers, **how)

    def next(self, start: int, spec: BatchSpec) -> Ready:
        """The batch from position `start` on. Raises what came of reading it."""
        if not self._ready or self._ready[0].start != start or self._ready[0].size != spec.size:
            key = self._following
            if key is None or (key.start, key.spec) != (start, spec):
                # The very first batch waits for nothing but itself.
                key = Key(start, spec, self._chunks.get(spec.size, 1))
            self._most = self._batches_at_once(start, spec)
            self._following = self._after(key)
            self._ready = deque(self._ahead.get(key))
        ready = self._ready.popleft()
        if ready.error is not None:
            raise ready.error
        return ready

    def close(self) -> None:
        """Begin nothing more, and keep nothing."""
        self._ready.clear()
        self._ahead.forget()

    def _batches_at_once(self, start: int, spec: BatchSpec) -> int:
        """Batches per chunk: found from the size of one row, once for each batch size."""
        if spec.size not in self._chunks:
            most = 1
            if self._gathers:
                try:
                    one = row_bytes(self.feed.source.take(self.feed.order.ids(start, 1)))
                    most = min(max(1, CHUNK_BYTES // max(one * spec.size, 1)), CHUNK_BATCHES)
                    batches = -(-self.feed.epoch_size // spec.size)
                    most = -(-batches // -(-batches // most))  # A pass in chunks of one size.
                except DataError:  # The batch that it is in will say so, or leave it out.
                    pass
            self._chunks[spec.size] = most
        return self._chunks[spec.size]

    def _after(self, key: Key) -> Key | None:
        """The chunk after `key`; None where the pass ends."""
        n, by_count = self.feed.epoch_size, isinstance(self.feed.cut, ByCount)
        if by_count:
            stop = window_end(key.start, key.spec.size, key.batches, n)
        else:
            stop = self.feed.cut.stop(self.feed.order, key.start, replace(key.spec, updates=key.batches))
        left = (key.start // n + 1) * n - stop
        if left <= 0 or (self.drop_last and by_count and left < key.spec.size):
            return None
        return key._replace(start=stop, batches=min(2 * key.batches, self._most))

    def _name(self, key: Key) -> str:
        ids = self.feed.order.ids(key.start, min(key.spec.size, 8))[:8]
        return f"examples {', '.join(str(id) for id in ids.tolist())}, ..."


def require_shares(count: int, examples: int, size: int, drop_last: bool) -> None:
    """Raises `ArgumentError` where a batch of a pass over `examples` has no equal share for each of `count` ranks."""
    tail = 0 if drop_last else examples % size
    for what, found in (("batch", size), ("last batch", tail)):
        if found <= examples and found % count:
            got = f"a {what} of {found} examples"
            why = (
                "a mean over ranks would weigh examples unequally, and a rank with none would leave the others waiting"
            )
            remedy = (
                f"batch_size={max(1, size // count) * count} (it counts all ranks together)"
                if what == "batch"
                else "drop_last=True, batches=True (equal, with weights), or uneven=True to take them as they are"
            )
            raise ArgumentError(must("every batch", f"be shared evenly by {count} ranks", got, why, remedy))


def _rows(job: Callable[..., Any]) -> bool:
    while not isinstance(job, TakeRows) and hasattr(job, "job"):
        job = job.job  # type: ignore[attr-defined]
    return isinstance(job, TakeRows)
