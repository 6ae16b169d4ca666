"""`find_nonfinite`: where data holds NaN or infinity, named so that a person finds the place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ladle.core.foreign import is_small
from ladle.core.protocols import Source
from ladle.feed.arrays import leaves

CHUNK = 4096
"""Examples read at a time."""


class NonFinite(NamedTuple):
    """A number that is not finite: of which example, in which array, its value, and where it lies in words."""

    id: int
    leaf: str
    value: float
    where: str


def find_nonfinite(source: Source, ids: np.ndarray, most: int = 16) -> list[NonFinite]:
    """The first `most` numbers of examples `ids` that are NaN or infinite, in that order.

    4096 examples are read at a time.

    A source that has `place(id, leaf, index) -> str` says where a number lies ("row 17, column 'b' of part-3.parquet").

    >>> from ladle.feed.arrays import Arrays
    >>> found = find_nonfinite(Arrays({"x": np.array([[0.0, 1.0], [2.0, np.nan]])}), np.arange(2))
    >>> [one.where for one in found]
    ["example 1, element [1] of 'x'"]
    """
    found: list[NonFinite] = []
    for start in range(0, len(ids), CHUNK):
        asked = ids[start : start + CHUNK]
        here = sorted(_in(source.take(asked)), key=lambda one: one[0])
        for row, leaf, index, value in here[: most - len(found)]:
            id = int(asked[row])
            found.append(NonFinite(id, leaf, value, _where(source, id, leaf, index)))
        if len(found) == most:
            break
    return found


def _in(rows: Any) -> Iterator[tuple[int, str, tuple[int, ...], float]]:
    for leaf, values in leaves(rows):
        values = values.astype(np.float32) if is_small(values.dtype) else values
        if values.dtype.kind in "fc" and not (finite := np.isfinite(values)).all():
            for row, *index in np.argwhere(~finite).tolist():
                yield row, leaf, tuple(index), values[(row, *index)].item()


def _where(source: Source, id: int, leaf: str, index: tuple[int, ...]) -> str:
    place = getattr(source, "place", None)
    if place is not None:
        return place(id, leaf, index)
    inside = f"element {list(index)} of " if index else ""
    return f"example {id}, {inside}{leaf!r}"
