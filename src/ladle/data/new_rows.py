"""`new_rows`: rows as the user has them, for a model that was trained on a table. Columns are found by name.

a path             .csv .tsv .jsonl (also packed) .parquet
frames             pandas, polars, Arrow; an index is left behind
mappings           {"area": [50, 70], "town": ["x", None]}, a list of such rows, or one row

Columns that the model does not read are left alone, wherever they stand. A cell that cannot be read is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ladle.core.errors import DataError, must, nearest
from ladle.core.foreign import as_array
from ladle.core.frames import is_frame, library, not_read, require_read
from ladle.core.npy import damaged, one_line, require_file
from ladle.data.kept import Kept
from ladle.data.kinds import Kind
from ladle.data.loader import TABLES
from ladle.data.reader import open_table, typed_column
from ladle.data.refuse import place
from ladle.data.table import Column, Numbers, Texts
from ladle.data.tables import floats, seconds, texts
from ladle.data.target import representable

_C: Any = pc
_NOT_READ = (pa.ArrowException, ValueError, TypeError, OverflowError, DataError)
PLAIN = (str, bytes, int, float, bool, np.generic, type(None))
"""What is one cell, where a column was looked for."""


def new_rows(rows: Any, kept: Kept, name: str = "rows") -> tuple[dict[str, Column], int]:
    """The columns that `kept` reads, typed, and how many rows there are.

    Raises `DataError` for a column that is not there (the nearest is offered), columns of unequal length, no rows, and
    a cell that is no number, date or word where the training rows have such (with row and column).
    """
    given = _given(rows, kept, name)
    counts = {len(column) for column in given.values()}
    if len(counts) > 1:
        got = ", ".join(f"{label} {len(column):,}" for label, column in list(given.items())[:6])
        why = "row i of each is of one row"
        raise DataError(must(f"the columns of {name}", "have as many rows", got, why, "columns of equal length"))
    found = {label: _found(label, given, name) for label in kept.columns}
    count = next(iter(counts), 0)
    if not count:
        raise DataError(must(name, "hold at least one row", 0, "there is nothing to predict", "rows"))
    columns: dict[str, Column] = {}
    words = {one.name for one in kept.encoding.words}
    dates = {one.name for one in kept.encoding.numbers if one.date}
    texts = {one.name for one in kept.encoding.texts}
    for label, array in found.items():
        if label in words or label in texts:
            read = _words(label, array, kept)
            columns[label] = kept.codes(label, read) if label in words else read
        else:
            columns[label] = Numbers(_numbers(label, array, kept, label in dates), "date" if label in dates else "real")
    return columns, count


def _given(rows: Any, kept: Kept, name: str) -> dict[str, Any]:
    if isinstance(rows, str | Path):
        return _of_file(Path(rows), kept)
    if is_frame(rows):
        return _of_frame(rows, name)
    if isinstance(rows, Mapping):
        if rows and all(isinstance(value, PLAIN) for value in rows.values()):
            rows = {label: [value] for label, value in rows.items()}
        return {str(label): _arrow(value, f"column {label!r} of {name}") for label, value in rows.items()}
    if isinstance(rows, Sequence) and rows and all(isinstance(row, Mapping) for row in rows):
        labels = dict.fromkeys(label for row in rows for label in row)
        return {str(label): _arrow([row.get(label) for row in rows], f"column {label!r}") for label in labels}
    got = f"{type(rows).__name__} without names of columns"
    why = f"the model reads columns by name ({kept.describe()})"
    remedy = "a frame, a mapping of columns or a path; outputs(x) for rows that are encoded already"
    raise DataError(must(name, "name their columns", got, why, remedy))


def _of_file(path: Path, kept: Kept) -> dict[str, Any]:
    require_file(path)
    if not path.name.lower().endswith(TABLES):
        why = "the model reads columns by name"
        raise DataError(must("rows", "be a table", path.name, why, "a .csv, .tsv, .jsonl or .parquet file"))
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pq.ParquetFile(path).read()
            table.validate(full=True)
        else:
            text = open_table(path, kept.said)
            blocks = list(text.blocks())
            table = (
                pa.concat_tables(blocks) if blocks else pa.table({one: pa.array([], pa.string()) for one in text.names})
            )
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise damaged(path, one_line(error), remedy="a file that another program opens as a table") from None
    return {label: table.column(label).combine_chunks() for label in table.column_names}


def _of_frame(frame: Any, name: str) -> dict[str, Any]:
    require_read(frame, name)
    home = library(frame)
    if home == "pyarrow":
        return {label: _whole(frame.column(at)) for at, label in enumerate(frame.schema.names)}
    if home == "polars":
        return {label: _of_polars(frame.get_column(label), f"column {label!r}") for label in frame.columns}
    frame = frame if home == "pandas" else frame.to_pandas()
    return {str(label): _arrow(frame.iloc[:, at], f"column {label!r}") for at, label in enumerate(frame.columns)}


def _of_polars(column: Any, name: str) -> Any:
    try:
        return _whole(column.to_arrow())
    except pa.ArrowException as error:  # A type that Arrow lacks, such as whole numbers of 128 bits.
        raise not_read(name, str(column.dtype), error) from None


def _whole(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _arrow(values: Any, name: str) -> Any:
    """One column as Arrow. Cells of several types become text, which is read as that of a file is."""
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(np.asarray(values.data), mask=np.ma.getmaskarray(values))
    if library(values) not in ("pandas", "polars", "pyarrow", "builtins"):
        values = as_array(values, name)
        values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if isinstance(values, PLAIN) or not hasattr(values, "__len__"):
        why = "a column has a cell for each row"
        raise DataError(must(name, "be a column", type(values).__name__, why, "a list of its cells"))
    if library(values) == "polars":
        return _of_polars(values, name)
    try:
        return _whole(pa.array(values, from_pandas=True))
    except (pa.ArrowException, TypeError, ValueError):
        return pa.array([None if _is_missing(cell) else str(cell) for cell in values], pa.string())


def _is_missing(cell: Any) -> bool:
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and cell != cell)


def _found(label: str, given: Mapping[str, Any], name: str) -> Any:
    """The column of that name, or one place of a column of lists: `v[3]`."""
    if label in given:
        return given[label]
    base, _, at = label.removesuffix("]").rpartition("[")
    if base in given and at.isdigit() and pa.types.is_nested(given[base].type):
        return _C.list_element(given[base], int(at))
    why = "the model was trained on it"
    raise DataError(must(name, f"have the column {label}", "no such column", why, nearest(label, given)))


def _words(label: str, array: Any, kept: Kept) -> Texts:
    array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    if pa.types.is_nested(array.type) or pa.types.is_binary(array.type):
        why = "the training rows have words there"
        raise DataError(must(f"column {label}", "hold words", str(array.type), why, "text"))
    if pa.types.is_floating(array.type):  # pandas makes whole numbers fractions where some are missing.
        values = array.drop_null().to_numpy(zero_copy_only=False)
        array = array.cast(pa.int64()) if values.size and (values % 1 == 0).all() else array
    kind = kept.kinds.get(label, Kind("words"))
    kind = Kind("words", usual=kind.usual)
    text = typed_column(array.cast(pa.string()), label, kind, kept.said)
    return texts(text.cast(pa.large_string()), missing=())


def _numbers(label: str, array: Any, kept: Kept, date: bool) -> np.ndarray:
    """`f64[rows]`, NaN where missing; moments as seconds."""
    array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    what = "dates" if date else "numbers"
    kind = kept.kinds.get(label)
    if _is_text(array):
        array = _read(label, array, kind, date, kept)
    if pa.types.is_temporal(array.type) != date and not pa.types.is_null(array.type):
        why = f"the training rows have {what} there"
        raise DataError(must(f"column {label}", f"hold {what}", str(array.type), why, "the same unit as then"))
    if pa.types.is_null(array.type):
        return np.full(len(array), np.nan)
    try:
        values = seconds(array) if date else floats(array.cast(pa.int8()) if pa.types.is_boolean(array.type) else array)
    except _NOT_READ as error:
        raise DataError(must(f"column {label}", f"hold {what}", str(array.type), one_line(error), what)) from None
    bad = ~np.isnan(values) & ~representable(values)
    if bad.any():
        row = int(np.argmax(bad))
        where = f"{place(row, counted_from=1)} is not finite in float32, {int(bad.sum()):,} in all"
        raise DataError(must(f"column {label}", "be finite", float(values[row]), where, "a number, or an empty cell"))
    return values


def _is_text(array: Any) -> bool:
    return pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type)


def _read(label: str, array: Any, kind: Kind | None, date: bool, kept: Kept) -> Any:
    """Cells of text as numbers or moments, written as those of the training rows were."""
    ways = [kind] if kind is not None and kind.type != "words" else []
    usual = [Kind("date", "iso"), Kind("time", "iso")] if date else [Kind("real"), Kind("boolean")]
    if kind is not None and kind.type == "boolean":
        usual = [Kind("real")]  # 0 and 1 mean the same there.
    ways += usual if not ways or (kind is not None and kind.type == "boolean") else []
    array = array.cast(pa.string())
    for way in ways:
        try:
            return typed_column(array, label, way, kept.said)
        except _NOT_READ:
            continue
    for row in range(len(array)):
        cell = array.slice(row, 1)
        if not any(_reads(cell, label, way, kept) for way in ways):
            what = "a date" if date else "a number"
            where = f"{place(row, counted_from=1)} is none, as the training rows have there"
            remedy = f"{what}, or an empty cell where it is missing"
            raise DataError(must(f"column {label}", f"hold {what} in every row", cell[0].as_py()[:60], where, remedy))
    why = "its cells are written in several ways"
    raise DataError(must(f"column {label}", "be written in one way", array[0].as_py()[:60], why, "one way for all"))


def _reads(cell: Any, label: str, way: Kind, kept: Kept) -> bool:
    try:
        typed_column(cell, label, way, kept.said)
    except _NOT_READ:
        return False
    return True
