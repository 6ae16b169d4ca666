"""CSV, TSV and Parquet files to typed columns. The only file that imports pyarrow; `columns.py` does the rest."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ladle.core.errors import DataError, must, nearest
from ladle.core.npy import damaged, one_line, require_file
from ladle.data.columns import Column, Numbers, Table, Texts

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "Null", "null", "None", "none")
"""Cells of a text table that count as missing."""

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_INDEX_NAMES = ("", "id", "index", "unnamed: 0", "__index_level_0__")
_LARGEST_BLOCK_BYTES = (1 << 31) - 1


def read(path: Path, *, drop: Sequence[str] = ()) -> Table:
    """The columns of a table file, but for those in `drop`.

    A first row of numbers is taken as data, and the columns are then called c0, c1, ...; a column called id or index
    (or not at all) that only counts the rows is left out. Both are said in the notes.

    Raises `DataError` for a file that is no such table, is cut off or empty, repeats a column name, or holds a column
    of a type that is no number, truth value, word or date.
    """
    require_file(path)
    try:
        table, notes = _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    except (pa.ArrowException, OSError, UnicodeError, csv.Error) as error:
        raise damaged(path, _reason(error), remedy="a file that another program opens as a table") from None
    _require_names(path, table)
    if table.num_rows == 0:
        raise DataError(
            must("data", "hold at least one row", str(path), "the table has a header only", "a table with rows")
        )
    unknown = next((name for name in drop if name not in table.column_names), None)
    if unknown is not None:
        because = f"{path.name} has no such column"
        raise DataError(
            must("drop", "name columns of the table", unknown, because, nearest(unknown, table.column_names))
        )
    kept = table.drop_columns(list(drop)) if drop else table
    columns = {name: _column(name, kept.column(name).combine_chunks()) for name in kept.column_names}
    counters = [name for name, column in columns.items() if name.lower() in _INDEX_NAMES and _counts_rows(column)]
    notes = (
        *notes,
        *(f"Left out: {name or 'the column without a name'}, which only counts the rows." for name in counters),
    )
    columns = {name: column for name, column in columns.items() if name not in counters}
    return Table(path.name, columns, table.num_rows, (*notes, *_repeats(kept.drop_columns(counters))))


def _parquet(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    table = pq.ParquetFile(path).read()
    table.validate(full=True)  # Without it, damaged pages show only where they are used.
    return table, (f"Read {table.num_rows:,} rows and {table.num_columns} columns from {path.name}.",)


def _text(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """A CSV or TSV file as one block: types are inferred from all rows, not from the first megabyte."""
    delimiter, first_rows = _head(path)
    header = _has_header(first_rows)
    names = None if header else [f"c{index}" for index in range(len(first_rows[0]))]
    block_bytes = min(path.stat().st_size + 1024, _LARGEST_BLOCK_BYTES)
    table = pa_csv.read_csv(
        path,
        # One thread, so that an error names its row.
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=block_bytes, column_names=names),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(null_values=list(MISSING), strings_can_be_null=True),
    )
    table = table.rename_columns([name.strip() for name in table.column_names])
    size = f"Read {table.num_rows:,} rows and {table.num_columns} columns from {path.name}"
    if header:
        return table, (f"{size}; the first line names the columns.",)
    return table, (f"{size}; the first line is data, so the columns are called {names[0]} to {names[-1]}.",)  # type: ignore[index]


def _head(path: Path) -> tuple[str, list[list[str]]]:
    """The delimiter, and the cells of the first two rows that are not blank."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        line = file.readline()
        delimiter = "\t" if path.suffix.lower() == ".tsv" else next((mark for mark in ",;\t|" if mark in line), ",")
        file.seek(0)
        rows = list(islice((row for row in csv.reader(file, delimiter=delimiter) if row), 2))
    if not rows:
        raise csv.Error("it holds blank lines only")
    return delimiter, rows


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: none of its cells is a number, or some word stands above a number.

    >>> _has_header([["age", "name"], ["3", "x"]]), _has_header([["5.1", "setosa"], ["4.9", "setosa"]])
    (True, False)
    """
    first = [_is_number(cell) for cell in rows[0] if cell.strip()]
    if not any(first):
        return True
    pairs = zip(rows[0], rows[1] if len(rows) > 1 else [], strict=False)
    return any(above.strip() and not _is_number(above) and _is_number(below) for above, below in pairs)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip() not in MISSING


def _reason(error: Exception) -> str:
    text = one_line(error)
    return f"{text} (save it as UTF-8)" if "utf" in text.lower() else text


def _require_names(path: Path, table: pa.Table) -> None:
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            must("data", "name each column once", twice, f"{path.name} has it twice", "renaming one of them")
        )


def _column(name: str, array: Any) -> Column:
    """One Arrow column as plain NumPy."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _column(name, array.dictionary_decode())
    if pa.types.is_null(kind):
        return Numbers(np.full(len(array), np.nan), "real")
    if pa.types.is_boolean(kind):
        return Numbers(_floats(array.cast(pa.int8())), "boolean")
    if pa.types.is_integer(kind):
        return Numbers(_floats(array), "whole")
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Numbers(_floats(array.cast(pa.float64())), "real")
    if pa.types.is_temporal(kind):
        return Numbers(_seconds(array), "date")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts(array.cast(pa.large_string()))
    because = "text that is not UTF-8 has no letters" if pa.types.is_binary(kind) else "it is no number, word or date"
    remedy = f"saving the file as UTF-8, or drop=[{name!r}]" if pa.types.is_binary(kind) else f"drop=[{name!r}]"
    raise DataError(must(f"column {name}", "be of a usable type", str(kind), because, remedy))


def _floats(array: Any) -> np.ndarray:
    """`f64[rows]`, NaN where missing."""
    return array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


def _seconds(array: Any) -> np.ndarray:
    """Seconds since 1970 (dates), since midnight (times) or in all (durations)."""
    kind = array.type
    if pa.types.is_date32(kind):
        return _floats(array.cast(pa.int32())) * 86_400
    unit = "ms" if pa.types.is_date64(kind) else kind.unit
    return _floats(array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())) / _PER_SECOND[unit]


def _texts(array: Any) -> Texts:
    """Words as numbers of sorted levels, spaces at both ends removed."""
    encoded = pc.dictionary_encode(array)  # type: ignore[attr-defined]
    raw = [text.strip() for text in encoded.dictionary.to_pylist()]
    levels = sorted(set(raw) - set(MISSING))
    number = {level: index for index, level in enumerate(levels)}
    renumbered = np.array([number.get(text, -1) for text in raw] + [-1], np.int64)
    return Texts(renumbered[encoded.indices.fill_null(len(raw)).to_numpy(zero_copy_only=False)], tuple(levels))


def _counts_rows(column: Column) -> bool:
    if isinstance(column, Texts) or column.type != "whole":
        return False
    return bool((np.diff(column.values) == 1).all() and column.values[0] in (0, 1))


def _repeats(table: pa.Table) -> tuple[str, ...]:
    """How many rows are copies of an earlier one: copies in both parts flatter the validation."""
    try:
        copies = table.num_rows - table.group_by(table.column_names, use_threads=False).aggregate([]).num_rows
    except (pa.ArrowException, ValueError, TypeError):  # A type that cannot be grouped by: then nothing is claimed.
        return ()
    return (
        (f"{copies:,} rows repeat an earlier row in every column; copies may fall into both parts.",) if copies else ()
    )
