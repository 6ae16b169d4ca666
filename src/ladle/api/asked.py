"""Rows that a model of arrays is asked about: a file, a frame whose columns stand elsewhere, numbers that are none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must, nearest
from ladle.core.frames import is_frame, library, names_of
from ladle.core.npy import require_file
from ladle.data import npy
from ladle.data.loader import TABLES
from ladle.data.refuse import place


def file_rows(path: Path, form: Any) -> Any:
    """The rows in a file: `.npy`, `.npz` (under x), or a table of numbers, one column for each input.

    Raises `DataError` for another number of columns, and for words among them.
    """
    lower = path.name.lower()
    if lower.endswith(".npy"):
        return npy.read_npy(require_file(path))
    if lower.endswith(".npz"):
        held = npy.read_npz(require_file(path))
        key = next((key for key in ("x", "X", *(held if len(held) == 1 else ())) if key in held), None)
        if key is None:
            why = "the inputs are found by key"
            raise DataError(must("rows", "be under the key x", ", ".join(sorted(held)), why, "saving them as x"))
        return held[key]
    if not lower.endswith(TABLES):
        require_file(path)
        why = "the reader is chosen by the ending"
        raise DataError(must("rows", "end in .npy, .npz, .csv or .parquet", path.name, why, "one of these"))
    return _table(path, form)


def _table(path: Path, form: Any) -> np.ndarray:
    from ladle.data import tables  # Needs pyarrow.
    from ladle.data.table import Numbers

    columns = tables.read(path).columns
    if form.columns:
        columns = {name: _named(name, columns) for name in form.columns}
    shape = tuple((form.inputs or {}).get("shape", ()))
    width = math.prod(shape)
    if len(columns) != width:
        got, why = f"{len(columns)} columns in {path.name}", f"a row of the model has shape {shape}"
        raise DataError(must("rows", f"have {width} columns", got, why, "the inputs alone, in their order"))
    words = next((name for name, column in columns.items() if not isinstance(column, Numbers)), None)
    if words is not None:
        why = "the model was trained on numbers"
        raise DataError(must(f"column {words}", "hold numbers", "words", why, "numbers"))
    values = np.stack([column.values for column in columns.values()], axis=1)  # type: ignore[union-attr]
    for at, name in enumerate(columns):
        gone = np.isnan(values[:, at])
        if gone.any():
            where = f"{place(int(np.argmax(gone)), counted_from=1)} is missing, {int(gone.sum()):,} in all"
            why = f"{where}, and the training rows have none missing"
            raise DataError(
                must(f"column {name}", "have a value in every row", "missing", why, "the rows that have one")
            )
    rows = values.reshape(-1, *shape)
    # A table does not say that its numbers are bytes of pixels; the model does.
    return rows.astype(np.uint8) if form.pixels and _are_bytes(values) else rows


def _are_bytes(values: np.ndarray) -> bool:
    return bool((values % 1 == 0).all() and (values >= 0).all() and (values <= 255).all())


def with_columns(rows: Any, columns: tuple[str, ...]) -> Any:
    """A frame's columns by name, in the order that the model was trained with; anything else as it is."""
    if not is_frame(rows):
        return rows
    names = names_of(rows)
    places = [_named(name, {label: at for at, label in enumerate(names)}) for name in columns]
    if library(rows) == "pandas":
        return rows.iloc[:, places]
    return rows.select([names[at] for at in places]) if hasattr(rows, "select") else rows[[names[at] for at in places]]


def _named(name: str, held: Mapping[str, Any]) -> Any:
    if name not in held:
        why = "the model was trained on it"
        raise DataError(must("rows", f"have the column {name}", "no such column", why, nearest(name, held)))
    return held[name]


def require_finite(tree: Any, name: str = "x") -> None:
    """Refuse numbers that are not finite, with row and column: what comes of them is no prediction."""
    if isinstance(tree, Mapping | tuple):
        for key, leaf in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            require_finite(leaf, f"{name} {key!r}")
        return
    if tree.dtype.kind != "f" or np.isfinite(tree).all():
        return
    at: Any = tuple(int(i) for i in np.argwhere(~np.isfinite(tree))[0])
    column = f", column {at[1] if len(at) == 2 else at[1:]}" if len(at) > 1 else ""
    bad = int((~np.isfinite(tree)).sum())
    where = f"row {at[0]}{column} (counted from 0) is not; {bad:,} in all"
    raise DataError(must(name, "be finite", float(tree[at]), where, "the rows that are"))
