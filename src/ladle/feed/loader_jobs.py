"""What a `Loader`'s readers do: chunks of plain rows, collated batches, or lists of items for a `collate_fn`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ladle.core.batch import Batch
from ladle.core.cursor import Cursor, Shard
from ladle.core.errors import DataError, ExampleError
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.host import HostFeed
from ladle.feed.source.places import taken


class Key(NamedTuple):
    """A chunk: `batches` of them from position `start` on, or as many as are left of its pass."""

    start: int
    spec: BatchSpec
    batches: int


class Ready(NamedTuple):
    """A batch that was read: from `start` to `stop`, asked for with `size`; `bad` ids were left out of it.

    `error`: instead of the batch, what came of reading it; raised when its turn has come.
    """

    start: int
    size: int
    stop: int
    batch: Any
    bad: tuple[int, ...] = ()
    error: Exception | None = None


Job = Callable[[Key], list[Ready]]


@dataclass(frozen=True, eq=False)
class TakeRows:
    """Plain rows: the rows of several batches are taken at once, and each batch is a view of them."""

    feed: HostFeed
    shard: Shard
    dataset: Any = None

    def __call__(self, key: Key) -> list[Ready]:
        size, (index, count) = key.spec.size, (self.shard.index, self.shard.count)
        end = (key.start // self.feed.epoch_size + 1) * self.feed.epoch_size
        left = range(key.start, end, size)  # Where the batches of this pass begin that were not read yet.
        spans = list(pairwise([*left[: key.batches + 1], end]))[: key.batches]
        # Memory of one size is used again as it is; of another, the system would clear new pages for every pass.
        rows = key.batches * size if key.batches > len(left) and getattr(self.feed.source, "in_memory", False) else 0
        try:
            return self._taken(spans, size, index, count, rows // count)
        except DataError:
            if len(spans) == 1:
                raise
        ready: list[Ready] = []
        for span in spans:  # The error belongs to the batch that holds the example.
            try:
                ready += self._taken([span], size, index, count)
            except DataError as error:
                ready.append(Ready(span[0], size, span[1], None, error=error))
        return ready

    def _taken(self, spans: list[tuple[int, int]], size: int, index: int, count: int, least: int = 0) -> list[Ready]:
        """Batches at `spans`, out of one `take` of at least so many rows."""
        start, stop = spans[0][0], spans[-1][1]
        ids, position = self.feed.order.ids(start, stop - start), np.arange(start, stop)
        if count > 1:
            own = np.concatenate([np.arange(a - start + index, b - start, count) for a, b in spans])
            ids, position = ids[own], position[own]
        if len(ids) < least:
            rows, good = self.feed.source.take(np.resize(ids, least)), None
        else:
            rows, good = self._readable(ids, position)
        first, ready = 0, []
        for a, b in spans:
            last = first + len(range(a + index, b, count))
            bad = () if good is None else tuple(ids[first:last][~good[first:last]].tolist())
            own = slice(first, last) if good is None else slice(int(good[:first].sum()), int(good[:last].sum()))
            ready.append(Ready(a, size, b, _sliced(rows, own), bad))
            first = last
        return ready

    def _readable(self, ids: np.ndarray, position: np.ndarray) -> tuple[Any, np.ndarray | None]:
        """The rows that can be read, and which these are; None for all of them."""
        good: np.ndarray | None = None
        while True:
            asked, at = (ids, position) if good is None else (ids[good], position[good])
            try:
                return taken(self.feed.source, asked, self.feed.places(at)), good
            except ExampleError as error:
                good = without(ids, good, error, self.feed.bad)


@dataclass(frozen=True, eq=False)
class TakeBatch:
    """A collated batch: this host's part of it in one piece; padded to one number of rows on all hosts if `whole`."""

    feed: HostFeed
    shard: Shard
    whole: bool
    dataset: Any = None

    def __call__(self, key: Key) -> list[Ready]:
        draw, _ = self.feed.draw(Cursor(key.start), key.spec, self.shard)
        count = draw.counts[0]
        own = -(-count // self.shard.count) if self.whole else max(len(draw.ids()[0]), 1)
        batch: Any = draw.micro_batch((key.start, count, own))
        bad = batch.bad
        if not self.whole:
            left_out = np.isin(batch.ids[: batch.real], bad)
            kept = np.flatnonzero(~left_out) if bad else slice(0, batch.real)
            batch = map_tree(lambda leaf: leaf[kept], batch.data)
        return [Ready(key.start, key.spec.size, draw.stop, batch, bad)]


@dataclass(frozen=True, eq=False)
class TakeItems:
    """The items of one batch in a list, and what a `collate_fn` makes of them: anything."""

    feed: HostFeed
    shard: Shard
    collate: Callable[[list[Any]], Any]
    dataset: Any = None

    def __call__(self, key: Key) -> list[Ready]:
        feed = self.feed
        stop = feed.cut.stop(feed.order, key.start, key.spec)
        position = np.arange(key.start + self.shard.index, stop, self.shard.count)
        ids = feed.order.ids(key.start, stop - key.start)[self.shard.index :: self.shard.count]
        good: np.ndarray | None = None
        while True:
            asked, at = (ids, position) if good is None else (ids[good], position[good])
            try:
                items = items_of(feed.source, asked, feed.places(at))
                break
            except ExampleError as error:
                good = without(ids, good, error, feed.bad)
        bad = () if good is None else tuple(ids[~good].tolist())
        return [Ready(key.start, key.spec.size, stop, self.collate(items), bad)]


@dataclass(frozen=True, eq=False)
class Converted:
    """A job whose batches are converted by the thread that read them."""

    job: Job
    convert: Callable[[Any], Any]

    def __call__(self, key: Key) -> list[Ready]:
        return [
            ready if ready.error else ready._replace(batch=converted(ready.batch, self.convert))
            for ready in self.job(key)
        ]


def converted(batch: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(batch, Batch):
        return replace(batch, data=convert(batch.data))
    return convert(batch)


def items_of(source: Any, ids: np.ndarray, places: Any) -> list[Any]:
    """Examples one by one: the items of a dataset, or the rows of arrays."""
    if hasattr(source, "items_at"):
        return source.items_at(ids, places)
    rows = taken(source, ids, places)
    return [map_tree(lambda leaf: leaf[at], rows) for at in range(len(ids))]  # noqa: B023 - used at once


def row_bytes(rows: Any) -> int:
    return sum(leaf.nbytes for _, leaf in leaves(rows))


def without(ids: np.ndarray, good: np.ndarray | None, error: ExampleError, bad: str) -> np.ndarray:
    """Which of `ids` are left once those of an error are left out. Raises it where that helps nothing."""
    before = np.ones(len(ids), bool) if good is None else good
    left = before & ~np.isin(ids, error.ids)
    if bad == "raise" or not left.any() or left.sum() == before.sum():
        raise error
    return left


def _sliced(tree: Any, rows: slice) -> Any:
    if type(tree) is dict and not any(isinstance(leaf, dict | tuple) for leaf in tree.values()):
        return {name: leaf[rows] for name, leaf in tree.items()}  # What most data is, in half of the time.
    return map_tree(lambda leaf: leaf[rows], tree)
