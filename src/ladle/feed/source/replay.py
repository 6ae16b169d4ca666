"""`Replay`: the newest examples of a run's own making, as a source: what an agent has seen, a stream's recent past."""

from __future__ import annotations

from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.spec import require_count
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.source.request import require_ids


class Replay:
    """Keeps the newest `capacity` examples that were added; implements `ladle.core.protocols.Source`.

    - `capacity`: how many are kept; then the oldest goes for each new one.
    - `like`: one example, a tree of arrays: its names, shapes and types.

    It has `capacity` places from the start, so that an order over it stands still while it fills: place `i` holds
    example `i * held // capacity` in the order of the memory, so that each one held is drawn equally often, within one
    in a pass. Once it is full, a permuted order draws each exactly once a pass. What a place holds changes as examples
    are added, so nothing is read ahead (`readers` is 0), and a run that goes on from a checkpoint needs a replay filled
    as it was: `rows()` and `added` are what to keep, `put_back` has each example in the place that it had.

    Raises `DataError` for examples unlike `like`, and when asked for rows before there is one.

    >>> replay = Replay(4, like={"x": np.float32(0)})
    >>> replay.add({"x": [1.0, 2.0]})
    >>> replay.take(np.arange(4))["x"].tolist()
    [1.0, 1.0, 2.0, 2.0]
    >>> replay.add({"x": [3.0, 4.0, 5.0]})
    >>> replay.take(np.arange(4))["x"].tolist(), replay.rows()["x"].tolist(), replay.added
    ([5.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0], 5)
    """

    readers = 0
    """Threads worth reading with: whoever asks reads, so that what was added just now is there."""

    changes = True
    """In another pass a place may hold another example."""

    gathers = True

    def __init__(self, capacity: int, like: Any) -> None:
        self.capacity = require_count("capacity", capacity)
        self.added = 0
        """Examples added so far, those that are gone included."""
        self.like = map_tree(np.asarray, like)
        """One example, as arrays."""
        self._memory = map_tree(lambda leaf: np.zeros((capacity, *leaf.shape), leaf.dtype), self.like)

    def __len__(self) -> int:
        return self.capacity

    @property
    def held(self) -> int:
        """How many examples are in it."""
        return min(self.added, self.capacity)

    @property
    def memory_bytes(self) -> int:
        return sum(leaf.nbytes for _, leaf in leaves(self._memory))

    def add(self, rows: Any) -> None:
        """Put in examples, oldest first: a tree like `like` whose arrays have a leading axis more.

        Raises `DataError` where names, shapes or types differ, or arrays disagree about the number of examples; then
        nothing was put in.
        """
        given, wanted = dict(leaves(rows)), dict(leaves(self.like))
        if given.keys() != wanted.keys():
            why = "all examples of a replay are alike"
            raise DataError(
                must("rows", f"have the arrays {sorted(wanted)}", sorted(given), why, "the names of `like`")
            )
        arrays = {name: _fitting(name, given[name], one) for name, one in wanted.items()}
        counts = {name: len(array) for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            why = "row i of each belongs to example i"
            raise DataError(must("rows", "have equally many rows in every array", counts, why, "arrays of one length"))
        count = next(iter(counts.values()))
        kept = min(count, self.capacity)
        places = np.arange(self.added + count - kept, self.added + count) % self.capacity
        for name, leaf in leaves(self._memory):
            leaf[places] = arrays[name][count - kept :]
        self.added += count

    def put_back(self, rows: Any, added: int) -> None:
        """Hold `rows()` of a replay of this capacity that `added` examples had been added to, each in its place.

        Raises `DataError` as `add` does, and where so many added left another number of rows.
        """
        count, before = _count(rows), self.added
        if count != min(added, self.capacity):
            why, remedy = f"{added} were added to {self.capacity} places", "rows() and added of one moment"
            raise DataError(must("rows", f"be {min(added, self.capacity)} examples", count, why, remedy))
        self.added = added - count
        try:
            self.add(rows)
        except DataError:
            self.added = before
            raise

    def take(self, ids: np.ndarray) -> Any:
        """What the places `ids` (`i64[k]`) hold now, in that order."""
        ids = require_ids(ids, self.capacity)
        if not self.added:
            remedy = "replay.add(rows) before the first update, by random actions if need be"
            raise DataError(must("replay", "hold an example", 0, "there is nothing to learn from", remedy))
        return map_tree(lambda leaf: leaf.take(ids * self.held // self.capacity, axis=0), self._memory)

    def rows(self) -> Any:
        """A copy of every example in it, oldest first."""
        places = np.arange(self.added - self.held, self.added) % self.capacity
        return map_tree(lambda leaf: leaf[places], self._memory)


def _count(rows: Any) -> int:
    return min((len(np.atleast_1d(leaf)) for _, leaf in leaves(rows)), default=0)


def _fitting(name: str, given: Any, one: np.ndarray) -> np.ndarray:
    """`given` as rows of the shape and type of `one`. Raises `DataError` where they are not."""
    rows = np.asarray(given)
    shape = ("rows", *one.shape)
    if rows.ndim != one.ndim + 1 or rows.shape[1:] != one.shape:
        why, remedy = "all examples of a replay are alike", "the shape of `like`, with a leading axis"
        raise DataError(must(f"rows {name!r}", f"have shape {shape}", rows.shape, why, remedy))
    if not np.can_cast(rows.dtype, one.dtype, "same_kind"):
        why, remedy = "converting it would lose what it says", f"astype({str(one.dtype)!r})"
        raise DataError(must(f"rows {name!r}", f"be {one.dtype}", rows.dtype, why, remedy))
    return rows.astype(one.dtype, copy=False)
