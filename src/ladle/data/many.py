"""Targets of several values a row: amounts of several outputs, a token or a class for each place of a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.data.inputs import as_tokens
from ladle.data.target import AS_AMOUNTS, TargetColumn, representable


def is_many(values: np.ndarray) -> bool:
    """Whether rows have several values each: `[rows, 1]` counts as one."""
    return values.ndim > 2 or (values.ndim == 2 and values.shape[1] > 1)


def are_tokens(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether every place of whole numbers `x` has a whole number `y` to predict, as in models of sequences."""
    return x.dtype.kind in "iu" and y.dtype.kind in "iu" and x.shape == y.shape and is_many(y)


def infer_many(values: np.ndarray, *, kind: str | None, tokens: bool) -> TargetColumn | None:
    """The target of `[rows, T]` values, or None where they can be neither: a one-hot table, whole numbers unasked.

    - `values` of `tokens`: class numbers, `i32[rows, T]`; whole numbers with kind "classification" too, such as the
      classes of an image's pixels, `i32[rows, height, width]`; else decimal numbers, or any with kind "regression":
      amounts, `f64[rows, T]`.

    Raises `DataError` for values that are not finite, with row and column.

    >>> target = infer_many(np.array([[0.5, 1.5], [2.5, 3.5]]), kind=None, tokens=False)
    >>> target.kind, target.note
    ('regression', 'Task: regression of y, 2 amounts a row, because it holds decimal numbers.')
    """
    each = "x".join(str(size) for size in values.shape[1:])
    if not values.size:
        raise DataError(must("y", "hold at least one row", values.shape, "it is empty", "data with rows"))
    if tokens:
        if kind == "regression":
            why = "a place of a sequence has one of many words"
            raise DataError(must("kind", "be 'classification' for tokens", kind, why, "kind=None"))
        y = as_tokens(values, "y")
        classes = tuple(str(token) for token in range(int(y.max()) + 1))
        note = f"Task: classification of y, {each} tokens a row, into {len(classes)} classes, because x holds tokens."
        return TargetColumn("classification", y, classes, note)
    if kind == "classification" and values.dtype.kind in "iu" and not _one_hot(values):
        return _classes_of_places(values, each)
    if values.dtype.kind not in "biuf" or (kind != "regression" and (kind or values.dtype.kind != "f")):
        return None
    if kind != "regression" and _one_hot(values):
        return None
    bad = ~representable(values)
    if bad.any():
        at: Any = tuple(int(i) for i in np.argwhere(bad)[0])
        column = at[1] if len(at) == 2 else at[1:]
        where = f"row {at[0]}, column {column} (counted from 0) is not, {int(bad.sum()):,} in all"
        raise DataError(must("target y", "be known and finite in every row", float(values[at]), where, "other rows"))
    amounts = values.astype(np.float64)
    if (amounts == amounts.reshape(-1)[0]).all():
        why = "all amounts are the same, so there is nothing to learn"
        raise DataError(must("target y", "have at least two values", float(amounts.flat[0]), why, "another target"))
    reason = "that was asked for" if kind else "it holds decimal numbers"
    return TargetColumn("regression", amounts, (), f"Task: regression of y, {each} amounts a row, because {reason}.")


def _classes_of_places(values: np.ndarray, each: str) -> TargetColumn:
    """A class for each place of a row. Raises `DataError` for numbers below 0, and where there is one class alone."""
    y = as_tokens(values, "y")
    if (y == y.reshape(-1)[0]).all():
        why = "all places have the same class, so there is nothing to learn"
        raise DataError(must("target y", "have at least two classes", int(y.flat[0]), why, "another target"))
    classes = tuple(str(number) for number in range(int(y.max()) + 1))
    note = f"Task: classification of y, {each} places a row, into {len(classes)} classes, because that was asked for."
    return TargetColumn("classification", y, classes, note)


def refused_many(values: np.ndarray) -> DataError:
    """The refusal of `[rows, T]` values that `infer_many` does not take."""
    why = "each row has one class or one amount"
    remedy = f"y.argmax(axis=1) where classes are one-hot, {AS_AMOUNTS} for amounts, or tokens=True"
    if values.dtype.kind in "iu" and not _one_hot(values):
        remedy += ", or kind='classification' where each place has a class"
    return DataError(must("y", "have shape [rows]", values.shape, why, remedy))


def _one_hot(values: np.ndarray) -> bool:
    flat = values.reshape(len(values), -1)
    return bool((((flat == 0) | (flat == 1)).all(1) & (flat.sum(1) == 1)).all())
