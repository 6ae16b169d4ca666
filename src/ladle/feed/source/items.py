"""`Items`: datasets that answer item by item: those of PyTorch, Grain, plain lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, ExampleError, must
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.source.generators import Kept, are_ours, kept, numbers, told
from ladle.feed.source.places import Places
from ladle.feed.source.request import all_bad, require_ids
from ladle.feed.source.stack import stacked
from ladle.feed.source.threads import Threads


@dataclass(frozen=True, eq=False)
class Items:
    """Anything with a length and items by number; implements `ladle.core.protocols.Source`.

    Map-style datasets of PyTorch, `MapDataset` and random-access sources of Grain, Hugging Face datasets, lists.

    **One thread** asks the dataset: whoever asks for the batch. A dataset may keep an open file, a connection or a
    counter, and two threads in it at once can mix up rows without a word. Several are used where that is declared: by
    `threads`, by a dataset's own `thread_safe = True`, or by `workers` of what reads ahead; Grain's datasets are known
    to allow it.

    **Random items** are a function of the seed and of their place in the run: Python's, NumPy's and torch's generators
    are set for each item from the first time on that the dataset is seen to draw from one, and are as they were when
    the batch is there. Generators of the dataset's own are its own.

    - `threads`: that many items are made at a time, 0 for one after the other. Worth it where items are read or
      decoded by code that lets other threads run, and the dataset allows several.
    - `collate`: list of items -> tree of arrays with a leading axis; `ladle.feed.source.stack.stacked` by default.

    One item at a time is many times slower than rows of arrays: `ladle.feed_check(HostFeed(Items(dataset), order))`
    says how much. A dataset with `__getitems__` is asked for all ids in one call. Raises `ArgumentError` for a dataset
    without a length or items, `DataError` where items differ in shape or type, `ExampleError` with the ids of all items
    that the dataset raised an exception for, the message of the first, and its exception as the cause.

    >>> Items([{"x": 1.5, "y": 0}, {"x": 2.5, "y": 1}]).take(np.array([1, 0]))["x"].tolist()
    [2.5, 1.5]
    """

    dataset: Any
    threads: int = 0
    collate: Callable[[list[Any]], Any] | None = None
    _pool: Threads = field(init=False, repr=False)
    draws: set[str] = field(init=False, repr=False, default_factory=set)
    """The shared generators that the dataset was seen to draw from."""

    def __post_init__(self) -> None:
        _require_items(self.dataset)
        object.__setattr__(self, "_pool", Threads(self.threads))

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def readers(self) -> int | None:
        """Threads to read ahead with: none, unless several may ask the dataset at once."""
        return None if self.threads or getattr(self.dataset, "thread_safe", False) or _is_grain(self.dataset) else 0

    changes = True
    """It is the user's object: it may answer otherwise in another pass."""

    def require_threads(self) -> None:
        """Raises `ArgumentError` where threads are to read what was seen to draw from generators that they share."""
        if self.draws:
            why = f"it draws from {told(self.draws)}, which all threads share, so no two runs would be alike"
            remedy = "processes=True, workers=0 (and threads=0), or augment= with a function of (row, key)"
            raise ArgumentError(must("dataset", "draw no random numbers in threads", "threads", why, remedy))

    def take(self, ids: np.ndarray) -> Any:
        """Items `ids` (`i64[k]`), in that order, made into one tree."""
        asked = require_ids(ids, len(self)).tolist()
        if not asked:
            return map_tree(lambda leaf: leaf[:0], self._collated([self.dataset[0]], [0]))
        return self._collated(self._plain(asked, asked), asked)

    def take_at(self, ids: np.ndarray, places: Places) -> Any:
        """As `take`, with the items' random numbers a function of their places."""
        return self._collated(self.items_at(ids, places), ids.tolist()) if len(ids) else self.take(ids)

    def items_at(self, ids: np.ndarray, places: Places) -> list[Any]:
        """The items as the dataset makes them."""
        asked = require_ids(ids, len(self)).tolist()
        # Grain numbers the items of further passes on from the last, and its random maps differ in them.
        index = (ids + places.epoch * len(self)).tolist() if _is_grain(self.dataset) else asked
        if not are_ours():
            return self._plain(index, asked)
        with kept() as states:
            if not self.draws:
                items = self._watched(index, asked, states)
                if items is not None:
                    return items
            if self.threads > 1:
                self.require_threads()
            return self._seeded(index, asked, numbers(places.keys()), states)

    def _seeded(self, index: list[int], names: list[int], keys: list[int], states: Kept) -> list[Any]:
        """Each item finds the generators that the dataset draws from as its own key sets them."""
        while True:
            known, seed = set(self.draws), states.seeding(self.draws)
            items, failed = None, None
            try:
                items = self._one_by_one(index, names, seed, keys)
            except ExampleError as error:
                failed = error
            self.draws.update(states.moved())
            if self.draws == known:  # No other one than those that were set.
                if failed is not None:
                    raise failed
                assert items is not None
                return items

    def _watched(self, index: list[int], names: list[int], states: Kept) -> list[Any] | None:
        """Items as they come, or None where they turn out to be random."""
        items, failed = None, None
        try:
            items = self._plain(index, names)
        except ExampleError as error:
            failed = error
        self.draws.update(states.moved())
        if failed is not None and not self.draws:
            raise failed
        return None if self.draws else items

    def _plain(self, ids: list[int], names: list[int]) -> list[Any]:
        """Items as they come. `names`: what errors call them."""
        many = getattr(self.dataset, "__getitems__", None)
        if many is None:
            return self._one_by_one(ids, names)
        try:
            items = list(many(ids))
        except Exception as error:
            self._one_by_one(ids, names)  # Raises, with the ids of the items that are to blame.
            got = f"{type(error).__name__}: {error}"
            why, remedy = "each of them can be read by itself", "mending the dataset's __getitems__"
            raise DataError(must("dataset", "answer for many items", got, why, remedy)) from error
        if len(items) != len(ids):
            got, why = f"{len(items)} items for {len(ids)}", "each id stands for one item"
            raise DataError(must("dataset.__getitems__", "return every item", got, why, "one item for each id"))
        return items

    def _one_by_one(
        self, ids: list[int], names: list[int], seed: Callable[[int], Any] | None = None, keys: Sequence[int] = ()
    ) -> list[Any]:
        items: list[Any] = [None] * len(ids)
        causes: dict[int, Exception] = {}
        dataset = self.dataset

        def some(start: int, stop: int) -> None:
            for place in range(start, stop):
                try:
                    if seed is not None:
                        seed(keys[place])
                    items[place] = dataset[ids[place]]
                except Exception as error:
                    causes[names[place]] = error

        if seed is None:
            self._pool.spans(some, len(ids))
        else:  # Each item finds the generators as its own key has set them.
            some(0, len(ids))
        if causes:
            errors = [_example_error(id, causes[id]) for id in sorted(causes)]
            raise all_bad(errors) from causes[min(causes)]
        return items

    def _collated(self, items: list[Any], ids: list[int]) -> Any:
        if self.collate is None:
            return stacked(items, ids)
        rows = map_tree(np.asarray, self.collate(items))
        for path, leaf in leaves(rows):
            if leaf.ndim == 0 or len(leaf) != len(ids) or leaf.dtype == object:
                got, why = f"{leaf.dtype} of shape {leaf.shape} at {path!r}", "there is a row for each item"
                raise DataError(must("collate", f"make arrays of {len(ids)} rows", got, why, "np.stack(rows)"))
        return rows


def _example_error(id: int, error: Exception) -> ExampleError:
    said = str(error).strip().splitlines() or [""]
    why, remedy = "the dataset raised it", f'dataset[{id}] to see it, or bad="skip" in the feed'
    return ExampleError(must(f"example {id}", "be readable", f"{type(error).__name__}: {said[0]}", why, remedy), [id])


def no_items(dataset: Any) -> ArgumentError:
    """The error for a stream of examples."""
    why = "examples are asked for by number, so that any batch can be read again"
    remedy = "ladle.feed.stream.iterator, which takes streams"
    return ArgumentError(must("dataset", "have a length and items", type(dataset).__name__, why, remedy))


def _is_grain(dataset: Any) -> bool:
    return any(kind.__name__ == "MapDataset" and kind.__module__.startswith("grain") for kind in type(dataset).__mro__)


def _require_items(dataset: Any) -> None:
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")) or isinstance(dataset, str | bytes):
        if hasattr(dataset, "__iter__"):
            raise no_items(dataset)
        why, remedy = "examples are asked for by number", "arrays, a path, or a dataset with __len__ and __getitem__"
        raise ArgumentError(must("dataset", "have a length and items", type(dataset).__name__, why, remedy))
    try:
        count = len(dataset)
    except TypeError as error:
        why, remedy = str(error).splitlines()[0], "ladle.feed.stream.iterator for a stream of examples"
        raise ArgumentError(must("dataset", "have a length", type(dataset).__name__, why, remedy)) from None
    if count == 0:
        raise DataError(must("dataset", "hold at least one example", 0, "there is nothing to learn from", "more data"))
