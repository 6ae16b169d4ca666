"""`SampledBatches`: the order of a batch sampler, where a position is a whole list of examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, DataError, ExampleError, must
from ladle.feed.host import HostFeed
from ladle.feed.loader_jobs import Key, Ready, items_of, without
from ladle.feed.sampled import Sampled, whole
from ladle.feed.source.places import Places, taken
from ladle.feed.source.request import require_ids

SPAN = 1 << 32
"""Places that each list has for its examples: what one draws does not depend on how long the lists before it are."""


class SampledBatches(Sampled):
    """Lists of examples as a batch sampler has them, anew for each pass; position `p` is list `p`, of any length.

    - `sampler`: an iterable of lists of example numbers, with a length: how many lists a pass has.

    Raises what `Sampled` does, and `DataError` for an empty list.

    >>> order = SampledBatches([[2, 0], [1]], 3)
    >>> [one.tolist() for one in order.lists(1, 2)], order.ids(0, 2).tolist()
    ([[1], [2, 0]], [2, 0, 1])
    """

    name, what = "batch_sampler", "lists of numbers"

    def lists(self, start: int, count: int) -> list[np.ndarray]:
        """`i64[any]` at each of the positions `start .. start + count`."""
        passes = {epoch: self.prepare(epoch) for epoch in {at // self.epoch_size for at in range(start, start + count)}}
        return [passes[at // self.epoch_size][at % self.epoch_size] for at in range(start, start + count)]

    def ids(self, start: int, count: int) -> np.ndarray:
        """The examples of these lists, one after the other."""
        return np.concatenate([np.zeros(0, np.int64), *self.lists(start, count)])

    def _checked(self, found: list[Any]) -> Any:
        lists = []
        for one in found:
            if not hasattr(one, "__iter__") or not (ids := whole(one, self.name)):
                why, remedy = "each is a batch", "lists such as [0, 1]; sampler= for single numbers"
                raise DataError(must(self.name, "yield lists of at least one number", one, why, remedy))
            lists.append(require_ids(ids, self.examples))
        return lists


@dataclass(frozen=True, eq=False)
class TakeList:
    """The examples of one list, as rows of arrays, or as `collate` makes a batch of them."""

    feed: HostFeed
    collate: Callable[[list[Any]], Any] | None
    dataset: Any = None

    def __call__(self, key: Key) -> list[Ready]:
        order: Any = self.feed.order
        (ids,) = order.lists(key.start, 1)
        places = self.feed.places(key.start * SPAN + np.arange(len(ids)))
        places = Places(places.position, places.epoch_size * SPAN, places.seed)
        good: np.ndarray | None = None
        while True:
            kept = slice(None) if good is None else good
            try:
                batch = self._taken(ids[kept], places._replace(position=places.position[kept]))
                break
            except ExampleError as error:
                good = without(ids, good, error, self.feed.bad)
        bad = () if good is None else tuple(ids[~good].tolist())
        return [Ready(key.start, key.spec.size, key.start + 1, batch, bad)]

    def _taken(self, ids: np.ndarray, places: Places) -> Any:
        if self.collate is None:
            return taken(self.feed.source, ids, places)
        return self.collate(items_of(self.feed.source, ids, places))


def require_alone(shard: Shard, **given: Any) -> None:
    """Raises `ArgumentError` for what says beside a batch sampler what a batch is."""
    for name, value in given.items():
        if value:
            why, remedy = "a batch is what batch_sampler says", "collate_fn= for how one is made of its items"
            raise ArgumentError(must(name, "be left out where batch_sampler is given", value, why, remedy))
    if shard.count > 1:
        why, remedy = "lists are not cut", "a batch_sampler that yields the lists of this rank"
        raise ArgumentError(must("shard", "be left out where batch_sampler is given", shard, why, remedy))
