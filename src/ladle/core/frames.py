"""Frames and columns of pandas, polars and Arrow as NumPy arrays. The libraries are the user's: none is imported here.

An index says nothing about the values and is left behind. Categories are the values they stand for. A value that is
missing by the library's own mark (`NA`, null, None) is refused with its row; NaN among decimal numbers stays NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must

_FRAMES = frozenset({"DataFrame", "Table", "RecordBatch", "LazyFrame"})
_HOMES = frozenset({"pandas", "polars", "pyarrow", "cudf", "modin"})
_SHOWN = 6
_NO_NUMBERS = ("date", "time", "duration", "struct", "list", "large_list", "array", "fixed_size_list")


def library(value: Any) -> str:
    """The library that a value's type, or one it is derived from, is of: "numpy", "torch", "pandas", ...

    >>> library(np.zeros(1)), library([1])
    ('numpy', 'builtins')
    """
    return _home(type(value))


@cache
def _home(kind: type) -> str:
    names = [base.__module__.partition(".")[0] for base in kind.__mro__]
    return next((name for name in names if name in _HOMES | {"torch", "scipy", "sparse", "cupy"}), names[0])


def is_frame(value: Any) -> bool:
    """Whether `value` is a table of named columns: of pandas, polars, Arrow, or what speaks their protocols."""
    if _is_known_frame(type(value)):
        return True
    asks = ("__dataframe__", "__arrow_c_stream__", "to_pandas")
    return (
        hasattr(value, "columns") and any(hasattr(value, name) for name in asks) and not hasattr(value, "__getitems__")
    )


@cache
def _is_known_frame(kind: type) -> bool:
    return any(base.__name__ in _FRAMES and base.__module__.partition(".")[0] in _HOMES for base in kind.__mro__)


def is_column(value: Any) -> bool:
    """Whether `value` is one column: a series, an index, or an array of pandas, polars or Arrow."""
    return library(value) in _HOMES and not is_frame(value) and hasattr(value, "__len__")


def columns_of(frame: Any, name: str) -> list[tuple[str, np.ndarray]]:
    """The columns of a frame in their order, each `[rows]` or, of lists of one length, `[rows, ...]`.

    Raises `DataError` for a lazy frame, and as `column_array` does.
    """
    require_read(frame, name)
    home, kind = library(frame), type(frame).__name__
    if home == "pandas":
        named = [(label, frame.iloc[:, at]) for at, label in enumerate(frame.columns)]
    elif home == "pyarrow":
        named = [(label, frame.column(at)) for at, label in enumerate(frame.schema.names)]
    elif home == "polars":
        named = [(label, frame.get_column(label)) for label in frame.columns]
    elif hasattr(frame, "to_pandas"):
        return columns_of(frame.to_pandas(), name)
    else:
        why = "this library's frames cannot be asked for their columns here"
        remedy = "it as a pandas frame or an Arrow table"
        raise DataError(must(name, "be a frame of a known library", kind, why, remedy))
    return [(_label(label), column_array(column, f"column {_label(label)!r} of {name}")) for label, column in named]


def require_read(frame: Any, name: str) -> None:
    """Refuse a lazy frame: what it holds is known only when it is asked. Raises `DataError`."""
    if type(frame).__name__ == "LazyFrame":
        why = "it is a question, not yet the answer"
        raise DataError(must(name, "be a frame that was read", "LazyFrame", why, "frame.collect()"))


def require_numbers(frame: Any, name: str) -> None:
    """Refuse times, and cells of several values, in a frame or column: other libraries take them for numbers.

    Raises `DataError` with the column. Words are left alone: no library takes these for numbers.
    """
    if not (is_frame(frame) or is_column(frame)):
        return
    require_read(frame, name)
    for label, kind in _kinds(frame, name):
        if kind.lower().startswith(_NO_NUMBERS):
            why = "times have no unit that is theirs, and cells of several values are several columns"
            remedy = "a number of days since a date, say, or a column for each value"
            raise DataError(must(label, "hold numbers", kind, why, remedy))


def _kinds(frame: Any, name: str) -> list[tuple[str, str]]:
    """What each column is called, and the library's own word for its type."""
    if not is_frame(frame):
        return [(name, str(getattr(frame, "dtype", getattr(frame, "type", ""))))]
    if library(frame) == "pyarrow":
        return [(f"column {field.name!r} of {name}", str(field.type)) for field in frame.schema]
    types = list(getattr(frame, "dtypes", ()))
    return [(f"column {label!r} of {name}", str(kind)) for label, kind in zip(names_of(frame), types, strict=False)]


def names_of(frame: Any) -> tuple[str, ...]:
    """The names of a frame's columns in their order, as text. Raises `DataError` for a lazy frame."""
    require_read(frame, "rows")
    return tuple(_label(label) for label in (frame.schema.names if library(frame) == "pyarrow" else frame.columns))


def require_same_columns(X: Any, other: Any, name: str) -> None:
    """Refuse a frame `other` whose columns are not those of the frame `X` in their order. Raises `DataError`.

    Anything that is no frame is taken by its places.
    """
    if not is_frame(other):
        return
    pairs = zip_longest(names_of(other), names_of(X), fillvalue="none")
    for at, (got, want) in enumerate(pairs):
        if got != want:
            why, remedy = "columns are told apart by their places", "frame[list(X.columns)]"
            raise DataError(must(f"column {at} of {name}", f"be {want!r} as in X", got, why, remedy))


def named_columns(frame: Any, name: str) -> dict[str, np.ndarray]:
    """The columns of a frame by name. Raises `DataError` where two have the same, and as `columns_of` does."""
    columns = columns_of(frame, name)
    labels = [label for label, _ in columns]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        why, remedy = "columns are told apart by their names", "other names, or {'x': frame.to_numpy()}"
        raise DataError(must(f"the columns of {name}", "have names of their own", twice, why, remedy))
    return dict(columns)


def require_same_index(x: Any, y: Any) -> None:
    """Refuse a frame and a series whose indexes hold the same labels in another order: rows belong together by place.

    Indexes of other labels are left alone: a frame that was numbered anew beside a series that was not is in order.
    """
    if library(x) != "pandas" or library(y) != "pandas" or not (hasattr(x, "index") and hasattr(y, "index")):
        return
    one, other = x.index, y.index
    if len(one) != len(other) or one.equals(other) or not (one.is_unique and other.is_unique):
        return
    if not one.isin(other).all():
        return
    row = int(np.argmax(np.asarray(one != other)))
    got = f"{one[row]} and {other[row]} in row {row}"
    why = "rows belong together by place, whatever their index says"
    remedy = "y.loc[X.index], or y.to_numpy() where the order is right"
    raise DataError(must("the indexes of x and what goes with it", "be in one order", got, why, remedy))


def column_array(column: Any, name: str) -> np.ndarray:
    """One column as an array of numbers, booleans, words or times.

    Raises `DataError` for a missing value (with row), lists of unequal length, and objects.
    """
    home = library(column)
    if home == "pandas":
        values = _pandas(column, name)
    elif home == "pyarrow":
        values = _arrow(column, name)
    elif home == "polars":
        values = _polars(column, name)
    elif hasattr(column, "to_pandas"):
        values = _pandas(column.to_pandas(), name)
    else:
        values = np.asarray(column)
    return values if values.dtype != object else _typed(values, name)


def _pandas(column: Any, name: str) -> np.ndarray:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        return np.asarray(column)
    missing, kind = np.asarray(column.isna(), bool), getattr(dtype, "kind", "O")
    if kind == "M":  # With a time zone: the moments they are, told in UTC.
        return column.to_numpy(dtype="datetime64[ns]")
    if missing.any() and not (type(dtype).__name__ == "SparseDtype" and kind == "f"):
        raise _missing(missing, name)
    return np.asarray(column.to_numpy())


def _arrow(column: Any, name: str) -> np.ndarray:
    column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    pieces = getattr(column, "chunks", None)
    if pieces is not None:  # Several arrays, or none: what joining them in one would overflow, or an empty column.
        column = pieces[0] if len(pieces) == 1 else column
    if column.null_count:
        raise _missing(np.asarray(column.is_null().to_numpy(**_copied(column)), bool), name)
    if str(column.type).startswith("dictionary"):
        column = column.cast(column.type.value_type)
    return np.asarray(column.to_numpy(**_copied(column)))


def _copied(column: Any) -> dict[str, bool]:
    return {} if hasattr(column, "chunks") else {"zero_copy_only": False}


def _polars(column: Any, name: str) -> np.ndarray:
    if column.null_count():
        raise _missing(np.asarray(column.is_null().to_numpy(), bool), name)
    kind = str(column.dtype)
    if kind.startswith("Struct"):  # NumPy would take its fields for columns without a name.
        why, remedy = "its cells have fields of their own", "frame.unnest(...)"
        raise DataError(must(name, "hold one value a row", kind, why, remedy))
    try:
        return np.asarray(column.to_numpy())
    except Exception as error:  # Of polars, which is not imported here: whole numbers of 128 bits, say.
        raise not_read(name, kind, error) from None


def not_read(name: str, kind: str, error: Exception) -> DataError:
    """The refusal of a polars column of `kind` that Arrow or NumPy have no type for."""
    why = " ".join(str(error).split()) or type(error).__name__
    return DataError(must(name, "be of a type that is known elsewhere", kind, why, "column.cast(pl.Int64) or another"))


def _typed(values: np.ndarray, name: str) -> np.ndarray:
    """Objects as what they all are: words, decimal numbers, or lists of one length."""
    missing = np.array([_is_missing(value) for value in values], bool)
    if missing.any():
        raise _missing(missing, name)
    kinds = {type(value) for value in values}
    if all(issubclass(kind, str) for kind in kinds):
        return values.astype(str)
    if kinds <= {Decimal, int, float}:
        if Decimal in kinds or float in kinds:
            return values.astype(np.float64)
        whole = np.array(values.tolist())
        return whole if whole.dtype.kind in "iu" else values
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return values.astype(bool)
    if all(issubclass(kind, np.ndarray | list | tuple) for kind in kinds):
        return _rows(values, name)
    got = ", ".join(sorted(kind.__name__ for kind in kinds)[:_SHOWN])
    remedy = "column.astype(float) or column.astype(str)"
    raise DataError(must(name, "hold numbers or words", got, "its cells are objects of Python", remedy))


def _rows(values: Sequence[Any] | np.ndarray, name: str) -> np.ndarray:
    rows = [np.asarray(value) for value in values]
    odd = next((at for at, row in enumerate(rows) if row.shape != rows[0].shape), None)
    if odd is not None:
        got = f"{rows[0].shape} in row 0, {rows[odd].shape} in row {odd}"
        why, remedy = "rows stand in one array", "ladle.feed.Sequences for rows of many lengths"
        raise DataError(must(name, "have lists of one length", got, why, remedy))
    stacked = np.stack(rows)
    return stacked if stacked.dtype != object else np.stack([_typed(row, name) for row in rows])


def _is_missing(value: Any) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _missing(missing: np.ndarray, name: str) -> DataError:
    why = f"row {int(np.argmax(missing))} (counted from 0) is missing, {int(missing.sum()):,} in all"
    remedy = "the rows without it (dropna, drop_nulls), or what it should count as (fillna, fill_null)"
    return DataError(must(name, "have a value in every row", "missing", why, remedy))


def _label(label: Any) -> str:
    """A column's name as text; those of several levels joined by dots."""
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)
