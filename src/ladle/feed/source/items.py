"""`Items`: datasets that answer item by item, those of PyTorch, Grain, plain lists. `measured`: what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.errors import ArgumentError, DataError, ExampleError, must
from ladle.feed.arrays import Arrays, leaves, map_tree
from ladle.feed.source.request import all_bad, require_ids
from ladle.feed.source.stacking import stacked
from ladle.feed.source.threads import Threads


@dataclass(frozen=True, eq=False)
class Items:
    """Anything with a length and items by number; implements `ladle.protocols.Source`.

    Map-style datasets of PyTorch, `MapDataset` and random-access sources of Grain, Hugging Face datasets, lists.

    - `threads`: that many items are made at a time, 0 for one after the other. Worth it where items are read or
      decoded by code that lets other threads run, and the dataset allows several.
    - `collate`: list of items -> tree of arrays with a leading axis; `ladle.feed.source.stacking.stacked` by default.

    A dataset with `__getitems__` is asked for all ids in one call. Raises `ArgumentError` for a dataset without a
    length or items, `DataError` where items differ in shape or type, `ExampleError` with the ids of all items that
    the dataset raised an exception for, the message of the first, and its exception as the cause.

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


@dataclass(frozen=True)
class Cost:
    """What `measured` found, in seconds an example: of the source, and of the same rows lying in arrays.

    >>> print(Cost(15.2e-6, 2e-7, 256))
    15.2 us an example; the same rows in arrays take 0.2 (256 examples read)
    """

    source_seconds: float
    array_seconds: float
    examples: int

    def __str__(self) -> str:
        source, arrays = self.source_seconds * 1e6, self.array_seconds * 1e6
        return f"{source:.3g} us an example; the same rows in arrays take {arrays:.2g} ({self.examples} examples read)"


def measured(source: Any, examples: int = 256, seed: int = 0) -> Cost:
    """What a source costs, next to `Arrays` of the same rows: random ids, once to warm up, then the best of three.

    Reads `examples` examples four times. The figure is of this machine, now, with its caches warm.
    """
    ids = np.random.default_rng(seed).integers(0, len(source), max(1, examples))
    rows = Arrays(source.take(ids))
    order = np.random.default_rng(seed).permutation(len(ids))
    seconds = [_best_seconds(lambda: source.take(ids)), _best_seconds(lambda: rows.take(order))]
    return Cost(seconds[0] / len(ids), seconds[1] / len(ids), len(ids))


def _best_seconds(work: Callable[[], Any]) -> float:
    found = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


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
