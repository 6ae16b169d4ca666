"""Text tables of any size, written once as Parquet with the kinds that all rows have; and what Parquet files hold.

The first pass over the text decides (`reader.py`, `kinds.py`, as for a table that is loaded), the second one writes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ladle.core.dialect import Spelling, require_distinct
from ladle.core.errors import DataError, must, nearest
from ladle.core.npy import damaged, one_line
from ladle.data.kinds import Facts, Kind, asked_kinds, decide
from ladle.data.reader import TextTable, add_facts, open_table, typed
from ladle.data.table import Column
from ladle.data.tables import dropped, text_notes, typed_columns

ROWS = 65_536
"""Rows of a row group."""
_VERSION = 1
_TYPES = {"whole": pa.int64(), "real": pa.float64(), "boolean": pa.bool_(), "words": pa.string(), "none": pa.float64()}
_MOMENTS = {"date": pa.timestamp("us"), "time": pa.time32("s")}


class Stored(NamedTuple):
    """Parquet files that hold one table. `asked`: what the user said of columns, as `{"zip": "category"}`."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]
    asked: dict[str, str]


def stored(
    paths: Sequence[Path],
    folder: Path,
    *,
    said: Spelling = Spelling(),
    as_: Iterable[str] | Mapping[str, str] = (),
    categories: Iterable[str] = (),
    drop: Sequence[str] = (),
) -> Stored:
    """Text tables of one kind as Parquet files in `folder`, one each; found again while they stay the same.

    Raises `DataError` for tables of other columns than the first, and as `ladle.data.tables.read` does.
    """
    tables = [open_table(path, said) for path in paths]
    for table in tables[1:]:
        _require_alike(tables[0], table)
    asked = asked_kinds(as_, categories, tables[0].names)
    left_out = set(dropped(paths[0], tables[0].names, drop))
    kept = [name for name in tables[0].names if name not in left_out]
    facts = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = json.dumps([_VERSION, facts, astuple(said), sorted(asked.items()), kept])
    stem = f"{paths[0].stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    files = tuple(folder / f"{stem}-{number}.parquet" for number in range(len(paths)))
    ready = folder / f"{stem}.json"
    if not ready.exists() or not all(file.exists() for file in files):
        folder.mkdir(parents=True, exist_ok=True)
        notes = _write_all(tables, files, said, asked, kept)
        partial = ready.with_name(f"{ready.name}.{os.getpid()}.part")
        partial.write_text(json.dumps(notes), encoding="utf-8")
        os.replace(partial, ready)
    return Stored(files, tuple(json.loads(ready.read_text(encoding="utf-8"))), asked)


def _write_all(
    tables: Sequence[TextTable], files: Sequence[Path], said: Spelling, asked: dict[str, str], kept: list[str]
) -> list[str]:
    rows, found = 0, dict[str, Facts]()
    for table in tables:
        rows, found = add_facts(found, rows, table, (block.select(kept) for block in table.blocks()))
    if not rows:
        remedy = "a table with rows"
        raise DataError(
            must("data", "hold at least one row", str(tables[0].path), "the table has a header only", remedy)
        )
    kinds = decide(found, said, asked, tables[0].dialect.delimiter)
    for table, file in zip(tables, files, strict=True):
        partial = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            _write(table, partial, kinds, said)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    notes = list(text_notes(tables[0], rows))
    if len(tables) > 1:
        notes[0] += f" and {len(tables) - 1:,} files beside it."
    return [*notes, *(kind.note for kind in kinds.values() if kind.note)]


def _write(table: TextTable, file: Path, kinds: Mapping[str, Kind], said: Spelling) -> None:
    schema = pa.schema([(name, {**_TYPES, **_MOMENTS}[kind.type]) for name, kind in kinds.items()])
    waiting, rows = [], 0
    with pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
        for block in table.blocks():
            waiting.append(_cast(typed(block, kinds, said), schema))
            rows += len(block)
            if rows >= ROWS:
                whole = pa.concat_tables(waiting)
                cut = rows - rows % ROWS
                writer.write_table(whole.slice(0, cut), row_group_size=ROWS)
                waiting, rows = [whole.slice(cut)], rows - cut
        if rows:
            writer.write_table(pa.concat_tables(waiting), row_group_size=ROWS)


def _cast(block: Any, schema: Any) -> Any:
    columns = []
    for name, type in zip(schema.names, schema.types, strict=True):
        column = block.column(name)
        if pa.types.is_timestamp(column.type) and column.type.tz is not None:
            column = column.cast(pa.timestamp(column.type.unit))
        columns.append(column.cast(type, safe=not pa.types.is_timestamp(type)))
    return pa.table(columns, schema=schema)


def _require_alike(first: TextTable, other: TextTable) -> None:
    if first.names != other.names:
        odd = next(
            (name for name in (*other.names, *first.names) if (name in first.names) != (name in other.names)), ""
        )
        got = f"{odd} in one of {first.path.name} and {other.path.name}" if odd else "another order"
        remedy = "one header for all files, or each by itself"
        raise DataError(must("data", "have one header in all files", got, "their rows are put together", remedy))


def names_of(file: Path) -> list[str]:
    """The columns of a Parquet or Arrow file."""
    return _schema(file).names


def moments_of(file: Path) -> frozenset[str]:
    """The columns of a Parquet or Arrow file that hold dates, times or durations."""
    return frozenset(one.name for one in _schema(file) if pa.types.is_temporal(one.type))


def _schema(file: Path) -> Any:
    try:
        if _is_arrow(file):
            with pa.memory_map(str(file)) as mapped:
                return pa.ipc.open_file(mapped).schema
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise damaged(file, one_line(error)) from None


def _is_arrow(file: Path) -> bool:
    with open(file, "rb") as opened:
        return opened.read(6) == b"ARROW1"


class Roles(NamedTuple):
    """How the columns of Parquet files are read: names of each kind, in the order of the file; `order` has them all."""

    order: tuple[str, ...]
    words: tuple[str, ...]
    lists: dict[str, int]


def roles(files: Sequence[Path], *, target: str, drop: Sequence[str], asked: Mapping[str, str]) -> Roles:
    """What the input columns are. Raises `DataError` for names that are not there and columns of unusable types."""
    schema = _schema(files[0])
    require_distinct(schema.names, files[0].name)
    for argument, names in {"target": [target], "drop": drop}.items():
        for name in names:
            if name not in schema.names or (argument == "target" and name in drop):
                because = f"{files[0].name} has no such column"
                be = "name a column" if argument == "target" else "name columns of the table"
                raise DataError(must(argument, be, name, because, nearest(name, schema.names)))
    order = [name for name in schema.names if name != target and name not in drop]
    # An empty table takes the way of a loaded one, so that what is refused there is refused here.
    typed_columns(schema.empty_table().select(order), asked)
    types = {name: schema.field(name).type for name in order}
    lists = {name: type.list_size for name, type in types.items() if pa.types.is_fixed_size_list(type)}
    words = [name for name, type in types.items() if asked.get(name) in ("category", "text") or _is_words(type)]
    return Roles(tuple(order), tuple(words), lists)


def _is_words(type: Any) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_dictionary)
    return any(is_one(type) for is_one in kinds)


def column(files: Sequence[Path], name: str, asked: Mapping[str, str]) -> Column:
    """One whole column, as a loaded table has it."""
    try:
        parts = [_read(file, name).cast(_plain(file, name)) for file in files]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(files[0], one_line(error)) from None
    return typed_columns(pa.concat_tables(parts), asked)[name]


def _read(file: Path, name: str) -> Any:
    if not _is_arrow(file):
        return pq.ParquetFile(file).read(columns=[name])
    with pa.memory_map(str(file)) as mapped:
        return pa.ipc.open_file(mapped).read_all().select([name])


def _plain(file: Path, name: str) -> Any:
    """Dictionaries of several groups and files have codes of their own, words have not."""
    field = _schema(file).field(name)
    return pa.schema([(name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)])
