"""`Sequences`: examples of different length in one flat array. `Ragged`: some of them, on their way to a collate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.foreign import as_array
from ladle.feed.arrays import Arrays

MADE_LATER = ("mask", "segment", "position")
"""Names that collates add, and so no array may have."""

_BLOCK = 8192
"""Elements gathered at once: their indices then stay in memory that the process has. A fresh page costs far more."""
_LONG = 128
"""Mean length of a run from which a copy of each is cheaper than the index of every element."""


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different length, one behind the other: row `i` is `values[offsets[i] : offsets[i + 1]]`.

    - `values`: `[total, ...]`. `offsets`: `i64[rows + 1]`, from 0.

    >>> ragged = Ragged(np.array([1, 2, 3]), np.array([0, 2, 3]))
    >>> ragged.padded(3).tolist()
    [[1, 2, 0], [3, 0, 0]]
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """`i64[rows]`."""
        return np.diff(self.offsets)

    def cut(self, longest: int) -> Ragged:
        """The same rows, each without what it has beyond `longest`."""
        if not len(self) or self.lengths.max() <= longest:
            return self
        sizes = np.minimum(self.lengths, longest)
        return Ragged(gather(self.values, self.offsets[:-1], sizes), ends(sizes))

    def padded(self, length: int, value: Any = 0) -> np.ndarray:
        """`[rows, length, ...]`: each row from the left, then `value`; what is longer loses its end."""
        own = self.cut(length)
        return padded(own.values, own.lengths, length, value)


@dataclass(frozen=True, eq=False, init=False)
class Sequences:
    """Documents (sentences, series) of different length in one flat array; implements `ladle.core.protocols.Source`.

    - `values`: `[total, ...]`, tokens or vectors, in memory or memory-mapped; or `{name: [total, ...]}` where a token
      has several (its word and its tag). An array alone is called "tokens". Kept in the type it has: `u16` tokens
      stay half as large as `i32` on their way.
    - `offsets`: `i64[n + 1]`; document `i` is `values[offsets[i] : offsets[i + 1]]`. It may be empty: then it is a row
      of nothing but padding, or in no row at all when packed.
    - `fields`: `[n, ...]`, what a document has one of: a label, a number.

    `take` gives a `Ragged` for each name of `values`, and rows of the fields.

    Raises `DataError` where offsets fall, or lie outside of the values; where arrays disagree about their length; or
    for a name that is taken.

    >>> source = Sequences(np.arange(6), [0, 1, 4, 6], y=np.array([7, 8, 9]))
    >>> rows = source.take(np.array([2, 0]))
    >>> rows["tokens"].padded(2).tolist(), rows["y"].tolist(), source.lengths.tolist()
    ([[4, 5], [0, 0]], [9, 7], [1, 3, 2])
    """

    values: dict[str, np.ndarray]
    offsets: np.ndarray
    fields: Arrays | None

    def __init__(self, values: Any, offsets: Any, **fields: Any) -> None:
        named = dict(values) if isinstance(values, Mapping) else {"tokens": values}
        _check_names([*named, *fields], MADE_LATER)
        arrays = Arrays(named)
        object.__setattr__(self, "values", arrays.tree)
        object.__setattr__(self, "offsets", checked_offsets("offsets", offsets, len(arrays)))
        object.__setattr__(self, "fields", checked_fields(fields, len(self)))

    @classmethod
    def of(cls, documents: Sequence[Any], **fields: Any) -> Sequences:
        """From one array for each document. Raises `DataError` where there is none, or their rows differ in shape.

        >>> Sequences.of([[1, 2], [3]]).lengths.tolist()
        [2, 1]
        """
        return cls(*joined(documents), **fields)

    gathers = True
    """Many rows cost little more than one: those of several batches may be taken at once."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """`i64[n]`, tokens in each document."""
        return np.diff(self.offsets)

    def take(self, ids: np.ndarray) -> dict[str, Any]:
        """Documents `ids` (`i64[k]`): a `Ragged` of each of the values, rows of each field."""
        sizes = self.lengths[ids]
        offsets = ends(sizes)
        rows: dict[str, Any] = {
            name: Ragged(gather(of, self.offsets[ids], sizes), offsets) for name, of in self.values.items()
        }
        return rows if self.fields is None else {**rows, **self.fields.take(ids)}


def gather(values: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`[sum(sizes), ...]`: the runs `values[start : start + size]`, one behind the other.

    Long runs are copied one by one, short ones through an index of every element: no cost for each run. Places beyond
    the end read the last value, so that what is overwritten later need not exist.

    >>> gather(np.arange(10), np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    stops = np.cumsum(sizes)
    total = int(stops[-1]) if len(stops) else 0
    if total > _LONG * len(sizes) and (starts + sizes).max() <= len(values):
        return np.concatenate([values[a:b] for a, b in zip(starts.tolist(), (starts + sizes).tolist(), strict=True)])
    out = np.empty((total, *values.shape[1:]), values.dtype)
    cuts = np.unique(np.searchsorted(stops, np.arange(_BLOCK, total, _BLOCK), side="right"))
    for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(stops)], strict=True):
        index = spans(starts[first:last], sizes[first:last])
        begin = int(stops[first - 1]) if first else 0
        # Clipping never clips here; without it NumPy would gather into a copy first.
        values.take(index, axis=0, out=out[begin : begin + len(index)], mode="clip")
    return out


def spans(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`i64[sum(sizes)]`: the numbers `start .. start + size` of each run.

    >>> spans(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    stops = np.cumsum(sizes)
    index = np.repeat(starts - (stops - sizes), sizes)
    index += np.arange(len(index))
    return index


def ends(sizes: np.ndarray) -> np.ndarray:
    """`i64[n + 1]` offsets of runs of these sizes."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def padded(values: np.ndarray, lengths: np.ndarray, length: int, value: Any = 0) -> np.ndarray:
    """`[*lengths.shape, length, ...]`: runs (none longer than `length`) from the left, then `value`.

    Lengths may have any rank; the runs lie behind each other in C order.

    >>> padded(np.array([5, 6, 7]), np.array([[1, 2], [0, 0]]), 2).tolist()
    [[[5, 0], [6, 7]], [[0, 0], [0, 0]]]
    """
    out = np.full((*lengths.shape, length, *values.shape[1:]), value, values.dtype)
    out[within(lengths, length)] = values
    return out


def within(lengths: np.ndarray, length: int) -> np.ndarray:
    """`bool[*lengths.shape, length]`: where rows padded to `length` have something."""
    return np.arange(length) < lengths[..., None]


def checked_offsets(name: str, offsets: Any, total: int) -> np.ndarray:
    """`i64[n + 1]` that never fall and stay within `0 .. total`."""
    try:
        array = np.asarray(offsets)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 1 or len(array) < 2 or array.dtype.kind not in "iu":
        got = f"an array of shape {array.shape} and type {array.dtype}"
        why, remedy = "example i lies between offset i and the next", "np.concatenate([[0], np.cumsum(lengths)])"
        raise DataError(must(name, "be at least two whole numbers in a row", got, why, remedy))
    array = array.astype(np.int64, copy=False)
    falls = np.flatnonzero(np.diff(array) < 0)
    if falls.size:
        at = falls[0]
        got, why = f"{array[at]} and then {array[at + 1]} at example {at}", "no example has less than nothing"
        raise DataError(must(name, "never fall", got, why, "np.cumsum of the lengths, which must not be negative"))
    if array[0] < 0 or array[-1] > total:
        got, why = f"{array[0]} to {array[-1]}", "that many values there are"
        raise DataError(must(name, f"stay within 0 to {total}", got, why, "the offsets that belong to these values"))
    return array


def checked_fields(fields: Mapping[str, Any], examples: int) -> Arrays | None:
    """Fields as a source of as many rows as there are examples; None where there is no field."""
    if not fields:
        return None
    arrays = Arrays(dict(fields))
    if len(arrays) != examples:
        why, remedy = "row i of each belongs to example i", "one entry for each example"
        raise DataError(must("fields", f"have {examples} rows", len(arrays), why, remedy))
    return arrays


def _check_names(names: Sequence[str], taken: Sequence[str]) -> None:
    for at, name in enumerate(names):
        if name in taken or name in names[:at]:
            why = "every array needs a name of its own, also beside those that a collate adds"
            raise DataError(must("fields", f"not be called {name!r}", name, why, f"{name}_given=..."))


def joined(parts: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays one behind the other, and their offsets."""
    try:
        arrays = [as_array(part, f"document {at}") for at, part in enumerate(parts)]
        filled = [array for array in arrays if len(array)]
        values = np.concatenate(filled)
    except DataError:
        raise
    except (TypeError, ValueError) as error:
        why, remedy = f"they are laid one behind the other ({error})", "[np.array([1, 2]), np.array([3])]"
        got = f"{len(parts)} documents"
        raise DataError(must("documents", "be arrays whose rows are alike", got, why, remedy)) from error
    return values, ends(np.array([len(array) for array in arrays]))
