"""`Items`: datasets that answer item by item: those of PyTorch, Grain, plain lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, ExampleError, must
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.source.request import all_bad, require_ids
from ladle.feed.source.stack import stacked
from ladle.feed.source.threads import Threads


@dataclass(frozen=True, eq=False)
class Items:
    """Anything with a length and items by number; implements `ladle.core.protocols.Source`.

    Map-style datasets of PyTorch, `MapDataset` and random-access sources of Grain, Hugging Face datasets, lists.

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

    def __post_init__(self) -> None:
        _require_items(self.dataset)
        object.__setattr__(self, "_pool", Threads(self.threads))

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, ids: np.ndarray) -> Any:
        """Items `ids` (`i64[k]`), in that order, made into one tree."""
        asked = require_ids(ids, len(self)).tolist()
        if not asked:
            return map_tree(lambda leaf: leaf[:0], self._collated([self.dataset[0]], [0]))
        return self._collated(self._items(asked), asked)

    def _items(self, ids: list[int]) -> list[Any]:
        many = getattr(self.dataset, "__getitems__", None)
        if many is not None:
            try:
                items = list(many(ids))
            except Exception as error:
                self._one_by_one(ids)  # Raises, with the ids of the items that are to blame.
                got = f"{type(error).__name__}: {error}"
                why, remedy = "each of them can be read by itself", "mending the dataset's __getitems__"
                raise DataError(must("dataset", "answer for many items", got, why, remedy)) from error
            if len(items) != len(ids):
                got, why = f"{len(items)} items for {len(ids)}", "each id stands for one item"
                raise DataError(must("dataset.__getitems__", "return every item", got, why, "one item for each id"))
            return items
        return self._one_by_one(ids)

    def _one_by_one(self, ids: list[int]) -> list[Any]:
        items: list[Any] = [None] * len(ids)
        causes: dict[int, Exception] = {}

        def some(start: int, stop: int) -> None:
            for place in range(start, stop):
                try:
                    items[place] = self.dataset[ids[place]]
                except Exception as error:
                    causes[ids[place]] = error

        self._pool.spans(some, len(ids))
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
