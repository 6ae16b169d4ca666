"""Text tables and Parquet files to typed columns. `reader.py` reads the text; `columns.py` does the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ladle.core.dialect import Spelling, require_distinct
from ladle.core.errors import DataError, must, nearest
from ladle.core.missing import MISSING
from ladle.core.npy import damaged, one_line, require_file
from ladle.data.kinds import asked_kinds
from ladle.data.reader import TextTable, open_table, read_all
from ladle.data.table import Column, Numbers, Table, Texts

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_INDEX_NAMES = ("", "id", "index", "unnamed: 0", "__index_level_0__")
MOST_LISTED = 4096
"""Numbers of a list of one length that become columns of their own."""


def read(
    path: Path,
    *,
    drop: Sequence[str] = (),
    said: Spelling = Spelling(),
    as_: Iterable[str] | Mapping[str, str] = (),
    categories: Iterable[str] = (),
) -> Table:
    """The columns of a table file, but for those in `drop`.

    A first row of numbers is taken as data, and the columns are then called c0, c1, ...; a column called id or index
    (or not at all) that only counts the rows is left out. Both are said in the notes. How the table is written,
    and what its columns are, shows in its cells (`ladle.core.dialect`, `ladle.data.kinds`) unless it is said here.

    - `said`: how a text table is written. `as_`: what columns are, `["zip=category"]`; `categories`: those that are.

    Raises `DataError` for a file that is no such table, is cut off or empty, repeats a column name, or holds a column
    of a type that is no number, truth value, word or date.
    """
    require_file(path)
    try:
        table, notes, asked, kinds = (
            (*_parquet(path, drop, as_, categories), {})
            if _is_parquet(path)
            else _text(path, drop, said, as_, categories)
        )
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise damaged(path, one_line(error), remedy="a file that another program opens as a table") from None
    if table.num_rows == 0:
        raise DataError(
            must("data", "hold at least one row", str(path), "the table has a header only", "a table with rows")
        )
    columns = typed_columns(table, asked)
    unnamed = [name for name, column in columns.items() if name == "" and _is_empty(column)]
    counters = [name for name, column in columns.items() if name.lower() in _INDEX_NAMES and _counts_rows(column)]
    notes = (
        *notes,
        *("Left out: the column without a name, which is empty." for _ in unnamed),
        *(f"Left out: {name or 'the column without a name'}, which only counts the rows." for name in counters),
    )
    columns = {name: column for name, column in columns.items() if name not in (*unnamed, *counters)}
    kept = table.drop_columns([*unnamed, *counters])
    return Table(path.name, columns, table.num_rows, (*notes, *_repeats(kept)), asked, kinds, said)


def typed_columns(table: Any, asked: Mapping[str, str]) -> dict[str, Column]:
    """The columns of an Arrow table as NumPy; a list of one length as a column for each of its places."""
    columns: dict[str, Column] = {}
    for name in table.column_names:
        array = table.column(name).combine_chunks()
        if pa.types.is_fixed_size_list(array.type) and array.type.list_size <= MOST_LISTED:
            places = (_column(name, pc.list_element(array, at)) for at in range(array.type.list_size))  # type: ignore[attr-defined]
            columns.update({f"{name}[{at}]": one for at, one in enumerate(places)})
        elif asked.get(name) in ("category", "text"):
            columns[name] = _words(name, array)
        else:
            columns[name] = _column(name, array)
    return columns


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _parquet(path: Path, drop: Sequence[str], as_: Any, categories: Any) -> tuple[pa.Table, tuple[str, ...], Any]:
    table = pq.ParquetFile(path).read()
    table.validate(full=True)  # Without it, damaged pages show only where they are used.
    _require_names(path, table)
    note = f"Read {table.num_rows:,} rows and {table.num_columns} columns from {path.name}."
    asked = asked_kinds(as_, categories, table.column_names)
    return table.drop_columns(dropped(path, table.column_names, drop)), (note,), asked


def _text(path: Path, drop: Sequence[str], said: Spelling, as_: Any, categories: Any) -> tuple[Any, Any, Any, Any]:
    text = open_table(path, said)
    asked = asked_kinds(as_, categories, text.names)
    left_out = set(dropped(path, text.names, drop))
    kept = [name for name in text.names if name not in left_out]
    blocks = [block.select(kept) for block in text.blocks()]
    table, kinds = read_all(text, blocks, asked)
    return (
        table,
        (*text_notes(text, table.num_rows), *(kind.note for kind in kinds.values() if kind.note)),
        asked,
        kinds,
    )


def text_notes(text: TextTable, rows: int) -> tuple[str, ...]:
    """What is to be said of a text table as a whole."""
    size = f"Read {rows:,} rows and {len(text.names)} columns from {text.path.name}"
    if text.lines:
        return (f"{size}; each line is an object of JSON.",)
    if text.names[:1] == ("c0",) and not text.dialect.header:
        named = f"the first line is data, so the columns are called {text.names[0]} to {text.names[-1]}"
        return (f"{size}; {named}.", *text.dialect.notes)
    return (f"{size}; the first line names the columns.", *text.dialect.notes)


def dropped(path: Path, names: Sequence[str], drop: Sequence[str]) -> list[str]:
    """The columns to leave out. Raises `DataError` for one that is not there."""
    unknown = next((name for name in drop if name not in names), None)
    if unknown is not None:
        because = f"{path.name} has no such column"
        raise DataError(must("drop", "name columns of the table", unknown, because, nearest(unknown, names)))
    return list(drop)


def _require_names(path: Path, table: Any) -> None:
    require_distinct(table.column_names, path.name)


def _column(name: str, array: Any) -> Column:
    """One Arrow column as plain NumPy."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _column(name, array.dictionary_decode())
    if pa.types.is_null(kind):
        return Numbers(np.full(len(array), np.nan), "real")
    if pa.types.is_boolean(kind):
        return Numbers(floats(array.cast(pa.int8())), "boolean")
    if pa.types.is_integer(kind):
        return Numbers(floats(array), "whole")
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Numbers(floats(array.cast(pa.float64())), "real")
    if pa.types.is_temporal(kind):
        return Numbers(seconds(array), "date")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return texts(array.cast(pa.large_string()))
    because = "text that is not UTF-8 has no letters" if pa.types.is_binary(kind) else "it is no number, word or date"
    remedy = f"saving the file as UTF-8, or drop=[{name!r}]" if pa.types.is_binary(kind) else f"drop=[{name!r}]"
    raise DataError(must(f"column {name}", "be of a usable type", str(kind), because, remedy))


def floats(array: Any) -> np.ndarray:
    """`f64[rows]`, NaN where missing."""
    return array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


def seconds(array: Any) -> np.ndarray:
    """Seconds since 1970 (dates), since midnight (times) or in all (durations)."""
    kind = array.type
    if pa.types.is_date32(kind):
        return floats(array.cast(pa.int32())) * 86_400
    unit = "ms" if pa.types.is_date64(kind) else kind.unit
    return floats(array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())) / _PER_SECOND[unit]


def texts(array: Any, missing: Sequence[str] = MISSING) -> Texts:
    """Words as numbers of sorted levels, spaces at both ends removed."""
    encoded = pc.dictionary_encode(array)  # type: ignore[attr-defined]
    raw = [text.strip() for text in encoded.dictionary.to_pylist()]
    levels = sorted(set(raw) - set(missing))
    number = {level: index for index, level in enumerate(levels)}
    renumbered = np.array([number.get(text, -1) for text in raw] + [-1], np.int64)
    return Texts(renumbered[encoded.indices.fill_null(len(raw)).to_numpy(zero_copy_only=False)], tuple(levels))


def _words(name: str, array: Any) -> Texts:
    """What the user calls words, of any type: only an empty cell is missing."""
    column = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    return texts(column.cast(pa.large_string()), missing=("",))


def _is_empty(column: Column) -> bool:
    return bool(np.isnan(column.values).all() if isinstance(column, Numbers) else (column.codes < 0).all())


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
