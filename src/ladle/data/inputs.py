"""The inputs and weights of arrays: numbers that float32 holds, one row each, or a refusal that names the place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.foreign import as_array, is_small, require_narrow, side_by_side
from ladle.core.frames import columns_of, is_frame
from ladle.data.target import representable

EXACT = 2**24
"""Whole numbers up to this are all different in float32."""


def inputs(X: Any, name: str, *, tokens: bool = False) -> np.ndarray:
    """`X` as numbers `[rows, ...]` that float32 can hold, or as `i32` where they are `tokens`.

    Raises `DataError` with the place of the first value that is none: not finite, too large, or a whole number that
    float32 cannot tell from another one in its column.
    """
    labels: Sequence[object] | None = None
    if is_frame(X):
        columns = columns_of(X, name)
        x = side_by_side(columns, name, len(X))
        labels = [label for label, values in columns for _ in range(values.shape[-1] if values.ndim == 2 else 1)]
        whole = [(label, values) for label, values in columns if values.ndim == 1]
    else:
        x = as_array(X, name)
        whole = []
    x = x.astype(np.float32) if is_small(x.dtype) else x
    if x.dtype.kind not in "biuf":
        remedy = "X.astype(float), or `ladle.data.load` on the table, which encodes words"
        raise DataError(must(name, "hold numbers", str(x.dtype), f"its dtype is {x.dtype}", remedy))
    if x.ndim == 0 or len(x) == 0:
        raise DataError(must(name, "hold at least one row", x.shape, "it is empty", "data with rows"))
    x = x[:, None] if x.ndim == 1 else x
    if x.size == 0:
        because = "there is nothing to predict from"
        raise DataError(must(name, "hold at least one column", x.shape, because, "more columns"))
    if tokens:
        return as_tokens(x, name)
    for label, values in whole or [(None, x)]:
        _require_distinct(values, name, label)
    _require_finite(x, name, labels)
    return x


def as_tokens(values: np.ndarray, name: str) -> np.ndarray:
    """Whole numbers from 0 as `i32`, which stay what they are. Raises `DataError` for others."""
    if values.dtype.kind not in "iu":
        why, remedy = "tokens are numbers of a vocabulary", f"{name}.astype('int32')"
        raise DataError(must(name, "hold whole numbers", str(values.dtype), why, remedy))
    if values.size and int(values.min()) < 0:
        at = tuple(int(i) for i in np.argwhere(values < 0)[0])
        why = f"row {at[0]}, place {at[1:]} (counted from 0) is no number of a vocabulary"
        raise DataError(must(name, "hold tokens from 0", int(values[at]), why, "a number of its own for padding"))
    require_narrow(values, name, "tokens numbered from 0 without gaps")
    return values.astype(np.int32)


def as_f32(x: np.ndarray, scale: float) -> np.ndarray:
    """`x / scale` in float32; tokens as they are."""
    if x.dtype == np.int32 and scale == 0:
        return x
    result = x.astype(np.float32)
    return result if scale == 1 else np.divide(result, np.float32(scale), out=result)


def weights(weight: Any, rows: int) -> np.ndarray:
    """`f32[rows]`, finite and not negative. Raises `DataError`."""
    given = as_array(weight, "weight")
    given = given.astype(np.float32) if is_small(given.dtype) else given
    if given.dtype.kind not in "biuf":
        why = f"its dtype is {given.dtype}"
        raise DataError(must("weight", "be numbers", type(weight).__name__, why, "a flat array"))
    values = given.astype(np.float64)
    if values.shape == (rows, 1) and is_frame(weight):
        values = values[:, 0]
    if values.shape != (rows,):
        raise DataError(must("weight", f"have shape ({rows},)", values.shape, "each row has one", "one per row"))
    bad = np.flatnonzero(~(representable(values) & (values >= 0)))
    if bad.size:
        got = f"{values[bad[0]]} for row {bad[0]} (counted from 0)"
        raise DataError(must("weight", "be finite and not negative", got, "means divide by its sum", "0 or more"))
    return values.astype(np.float32)


def _require_finite(x: np.ndarray, name: str, labels: Sequence[object] | None) -> None:
    bad = ~representable(x)
    if not bad.any():
        return
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    column: object = first[1] if len(first) == 2 else first[1:]
    if labels is not None:
        column = repr(labels[first[1]])
    where = f"row {first[0]}, column {column} (counted from 0) is not; {int(bad.sum()):,} values in all"
    raise DataError(must(name, "be finite in float32", float(x[first]), where, "filling or removing them first"))


def _require_distinct(values: np.ndarray, name: str, label: object) -> None:
    """Refuse large whole numbers of which two would become one: as identifiers they would say nothing, or lie."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 4 or not values.size:
        return
    if int(values.min()) >= -EXACT and int(values.max()) <= EXACT:
        return
    table = values.reshape(len(values), -1)
    for column in np.flatnonzero((table.max(0) > EXACT) | (table.min(0) < -EXACT)).tolist():
        distinct = np.unique(table[:, column])
        merged = np.flatnonzero(np.diff(distinct.astype(np.float32)) == 0)
        if merged.size:
            one, other = distinct[merged[0] : merged[0] + 2].tolist()
            why = f"float32, the type that is trained in, holds them as one; {merged.size:,} such pairs"
            remedy = "leaving the column out where it identifies rows, tokens=True, or X.astype(float) for amounts"
            where = f"column {column if label is None else repr(label)} of {name}"
            raise DataError(must(where, "stay apart in float32", f"{one} and {other}", why, remedy))
