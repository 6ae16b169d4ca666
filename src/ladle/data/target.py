"""What is to be predicted: classes or amounts. Inferred by one rule, stated in one sentence, `kind` overrules it.

words, true/false                                 classification
whole numbers with at most 20 distinct values     classification
every other number                                regression
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.core.npy import one_line
from ladle.data.refuse import place

Kind = Literal["classification", "regression"]

MOST_CLASSES = 20
"""Whole numbers with more distinct values than this count as amounts."""

AS_CLASSES = "kind='classification'"
AS_AMOUNTS = "kind='regression'"


@dataclass(frozen=True)
class TargetColumn:
    """The target of every row.

    - `values`: `i32[rows]` class numbers, or `f64[rows]` amounts in their own unit.
    - `classes`: names of the classes, sorted; `()` for regression.
    - `note`: the sentence that says what was inferred and why.
    """

    kind: Kind
    values: np.ndarray
    classes: tuple[str, ...]
    note: str


def infer(
    y: Any, *, kind: str | None = None, name: str = "y", counted_from: int = 0, why: str | None = None
) -> TargetColumn:
    """Read one target value per row, and decide between classification and regression.

    **Arguments**

    - `y`: `[rows]` or `[rows, 1]`: numbers, booleans or strings.
    - `kind`: "classification" or "regression" to overrule the rule at the top of this file.
    - `name`, `counted_from`: how error messages call the target, and its first row.
    - `why`: what the note gives as the reason; by default the line of the rule that applied.

    Raises `DataError` for no rows, a missing or infinite value (row and count), one class only, nearly as many
    classes as rows, amounts that are all equal, and types that are neither; `ArgumentError` for an unknown `kind`.

    >>> infer(["cat", "dog", "cat"]).values.tolist(), infer(["cat", "dog", "cat"]).classes
    ([0, 1, 0], ('cat', 'dog'))
    >>> infer([0.5, 1.5, 2.0]).kind
    'regression'
    """
    if kind is not None and kind not in get_args(Kind):
        remedy = nearest(str(kind), get_args(Kind))
        raise ArgumentError(must("kind", "be one of the two tasks", kind, "the loss depends on it", remedy))
    values = _one_per_row(y, name)
    _refuse_missing(values, name, counted_from)
    chosen, reason = (kind, "that was asked for") if kind else _rule(values)
    make = _classes if chosen == "classification" else _amounts
    return make(values, name, reason if kind else why or reason)


def _one_per_row(y: Any, name: str) -> np.ndarray:
    try:
        values = np.asarray(y)
    except ValueError as error:
        raise DataError(must(name, "be one value per row", type(y).__name__, one_line(error), "a flat array")) from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        because = "each row has one class or one amount"
        raise DataError(
            must(name, "have shape [rows]", values.shape, because, "y.argmax(axis=1) where classes are one-hot")
        )
    if values.size == 0:
        raise DataError(must(name, "hold at least one row", 0, "it is empty", "data with rows"))
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind in "UT":
        values = values.astype(object)
    if values.dtype.kind not in "biufO":
        because = "it can be neither a class nor an amount"
        raise DataError(must(name, "hold numbers, booleans or words", str(values.dtype), because, "another target"))
    return values


def _refuse_missing(values: np.ndarray, name: str, counted_from: int) -> None:
    if values.dtype == object:
        bad = np.array([value is None or (isinstance(value, float) and value != value) for value in values])
        strange = next((value for value in values[~bad] if not isinstance(value, str)), None)
        if strange is not None:
            remedy = "y.astype(int), y.astype(float) or y.astype(str)"
            raise DataError(must(name, "hold one type", type(strange).__name__, "its dtype is object", remedy))
    else:
        bad = ~representable(values)
    if bad.any():
        row = int(np.argmax(bad))
        got = values[row] if values.dtype == object else float(values[row])
        count = f"{int(bad.sum()):,} of {len(bad):,} rows in all"
        where = f"{place(row, counted_from=counted_from)} has no usable value, {count}"
        remedy = "the data without those rows"
        if values.dtype == object and counted_from:  # A table's, where the word for a class may be taken for missing.
            remedy = f"{remedy}, or categories=[{name!r}] where 'none' is a class"
        raise DataError(must(f"target {name}", "be known and finite in every row", got, where, remedy))


def representable(values: np.ndarray) -> np.ndarray:
    """`bool[...]`: which numbers are finite in float32, the type that is trained in."""
    if values.dtype.kind not in "f":
        return np.ones(values.shape, bool)
    return np.abs(values) <= np.finfo(np.float32).max  # False for NaN too


def whole(values: np.ndarray) -> np.ndarray:
    """`bool[...]`: which floats are whole numbers, and small enough for that to mean something."""
    return (values % 1 == 0) & (np.abs(values) <= 2**53)


def _rule(values: np.ndarray) -> tuple[Kind, str]:
    if values.dtype == object:
        return "classification", "it holds words"
    if values.dtype.kind == "b":
        return "classification", "it is true or false"
    if values.dtype.kind == "f":
        return "regression", f"it holds decimal numbers; {AS_CLASSES} if they are classes"
    distinct = len(np.unique(values))
    if distinct <= MOST_CLASSES:
        return "classification", f"it holds only {distinct} distinct whole numbers; {AS_AMOUNTS} if they are amounts"
    return "regression", f"it holds {distinct:,} distinct whole numbers; {AS_CLASSES} if they are classes"


def _classes(values: np.ndarray, name: str, why: str) -> TargetColumn:
    if values.dtype.kind == "f":
        fraction = ~whole(values)
        if fraction.any():
            got = float(values[np.argmax(fraction)])
            raise DataError(
                must(f"target {name}", "hold whole numbers or words", got, "classes have no fractions", AS_AMOUNTS)
            )
        values = values.astype(np.int64)
    levels, codes = np.unique(values, return_inverse=True)
    if len(levels) == 1:
        because = "all rows have the same class, so there is nothing to learn"
        raise DataError(must(f"target {name}", "have at least two classes", str(levels[0]), because, "another target"))
    if len(levels) > MOST_CLASSES and 2 * len(levels) > len(values):
        got = f"{len(levels):,} distinct values in {len(values):,} rows"
        remedy = "another target" if values.dtype == object else AS_AMOUNTS
        raise DataError(
            must(f"target {name}", "repeat its classes", got, "nearly every row is a class of its own", remedy)
        )
    note = f"Task: classification of {name} into {len(levels)} classes, because {why}."
    return TargetColumn("classification", codes.astype(np.int32), tuple(str(level) for level in levels), note)


def _amounts(values: np.ndarray, name: str, why: str) -> TargetColumn:
    if values.dtype == object:
        raise DataError(must(f"target {name}", "hold numbers for regression", values[0], "it holds words", AS_CLASSES))
    amounts = values.astype(np.float64)
    if (amounts == amounts[0]).all():
        because = "all rows have the same amount, so there is nothing to learn"
        raise DataError(
            must(f"target {name}", "have at least two values", float(amounts[0]), because, "another target")
        )
    return TargetColumn("regression", amounts, (), f"Task: regression of {name}, because {why}.")
