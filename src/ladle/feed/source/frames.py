"""Frames of pandas and polars and tables of Arrow, as columns of numbers. No library is imported for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ladle.core.errors import DataError, must

_LIBRARIES = ("pandas", "polars", "pyarrow")
_KINDS = ("DataFrame", "Table", "RecordBatch")


def is_frame(data: Any) -> bool:
    """Whether it is a table of named columns of one of these libraries."""
    return any(kind.__module__.split(".")[0] in _LIBRARIES and kind.__name__ in _KINDS for kind in type(data).__mro__)


def frame_columns(data: Any) -> dict[str, np.ndarray]:
    """Every column of a frame as an array, `[rows]`, in its order.

    Raises `DataError` for a column of anything but numbers without gaps, by name, and for two columns of one name.
    """
    names = list(getattr(data, "column_names", None) or data.columns)
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DataError(must("data", "have columns of different names", double, "rows are told by them", "other names"))
    return {str(name): _column(data[name], name) for name in names}


def _column(column: Any, name: Any) -> np.ndarray:
    what, missing = f"column {str(name)!r}", int(column.isna().sum() if hasattr(column, "isna") else column.null_count)
    if missing:
        got, why = f"{missing} missing cells", "a missing number cannot be learned from"
        raise DataError(must(what, "hold a number in every row", got, why, "the rows without them, or a value instead"))
    values = np.asarray(column.to_numpy())
    if values.dtype.kind not in "biuf":
        kind = column.dtype if hasattr(column, "dtype") else column.type
        why, remedy = "rows are arrays of numbers", f"the frame without {str(name)!r}, or numbers for it"
        raise DataError(must(what, "hold numbers", str(kind), why, remedy))
    return values
