"""`converted`: a CSV or TSV file of any size, written once as Parquet and read from there."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from threading import get_ident
from typing import Any, NamedTuple

from ladle.core.errors import DataError, must
from ladle.core.npy import damaged, one_line, require_file
from ladle.feed.source import columns as layout
from ladle.feed.source.parquet import Parquet
from ladle.feed.source.remote import kept_folder

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "Null", "null", "None", "none")
"""Cells that count as null."""
ROWS = 65_536
"""Rows of a row group."""
BLOCK_BYTES = 8 << 20
"""Text parsed at a time."""
_WIDER = {"null": "double", "int64": "double"}
_VERSION = 1


def converted(
    path: str | Path,
    folder: str | Path | None = None,
    *,
    x: Sequence[str] | None = None,
    y: str | None = None,
    columns: Sequence[str] | None = None,
    categories: Sequence[str] = (),
    **options: Any,
) -> Parquet:
    """A text table as a `Parquet` source: converted the first time, found again as long as it stays the same.

    The copy lies in `folder` (the user's cache of ladle by default) under a name hashed from the path, size and time of
    the table and the columns asked for. It is written block by block (8 MB of text and one row group are in memory) and
    renamed when it is whole. The first row names the columns, unless all its cells are numbers: then they are c0, c1,
    ... Empty cells, NA, nan, null and ? count as null. A column is whole numbers until a cell with a fraction is met.

    - `x`, `y`, `columns`, `categories` and other options: as for `Parquet`. Words are refused by name, unless they are
      among the `categories`; so are dates.

    Raises `DataError` for a file that is missing, empty or no table, for rows of unequal length, and as `Parquet` does.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.csv").write_text("a,b,kind\\n1,2.5,u\\n3,4,v\\n")
    >>> converted(folder / "a.csv", folder, categories=["kind"]).take([1])["x"].tolist()
    [[3.0, 4.0]]
    """
    path = require_file(Path(path)).absolute()
    wanted = layout.Wanted(x, y, columns, categories)
    found = path.stat()
    said = [
        _VERSION,
        str(path),
        found.st_size,
        found.st_mtime_ns,
        wanted.x,
        wanted.y,
        wanted.columns,
        wanted.categories,
    ]
    digest = hashlib.sha256(json.dumps([list(one) if isinstance(one, tuple) else one for one in said]).encode())
    folder = kept_folder("folder", "converted") if folder is None else Path(folder)
    target = folder / f"{path.stem}-{digest.hexdigest()[:16]}.parquet"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{os.getpid()}-{get_ident()}.part")
        try:
            _convert(path, partial, wanted)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    return Parquet(str(target), x=x, y=y, columns=columns, categories=categories, **options)


class _Head(NamedTuple):
    delimiter: str
    names: list[str]
    first_line_is_data: bool


def _convert(path: Path, target: Path, wanted: layout.Wanted) -> None:
    """Write `target`, with wider types each time a cell does not fit: types are guessed from the first block alone."""
    import pyarrow as pa

    head, types = _head(path), {}
    while True:
        try:
            return _write(path, target, head, types, wanted)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            name, type = _misfit(str(error), head.names)
            if name is None or types.get(name) == _WIDER.get(type):
                raise damaged(path, _reason(error), remedy="a file that another program opens as a table") from None
            if type not in _WIDER:
                why = one_line(str(error).replace("In CSV column", f"{path.name} says in column"))
                remedy = f"columns=[...] without {name!r}, or categories=[{name!r}] where words repeat"
                raise DataError(must(f"column {name}", "be numbers in every row", f"a {type}", why, remedy)) from None
            types[name] = _WIDER[type]


def _write(path: Path, target: Path, head: _Head, types: dict[str, str], wanted: layout.Wanted) -> None:
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    reader = pa_csv.open_csv(
        path,
        # One thread, so that an error names its row.
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            column_names=head.names,
            skip_rows=0 if head.first_line_is_data else 1,
        ),
        parse_options=pa_csv.ParseOptions(delimiter=head.delimiter, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            null_values=list(MISSING),
            strings_can_be_null=True,
            column_types={**dict.fromkeys(wanted.categories, "string"), **types},
        ),
    )
    with reader:
        empty = [name for name, type in zip(head.names, reader.schema.types, strict=False) if str(type) == "null"]
        if empty:  # A column without a cell in the first block may have numbers later.
            return _write(path, target, head, {**types, **dict.fromkeys(empty, "double")}, wanted)
        layout.require_names(reader.schema, path.name)
        made = layout.entries(reader.schema, wanted, path.name)
        names = list(dict.fromkeys(name for entry in made for name in entry.names))
        kept = reader.schema.empty_table().select(names).schema
        rows = 0
        with pq.ParquetWriter(target, kept, write_page_checksum=True) as writer:
            for table in _groups(reader, names):
                writer.write_table(table, row_group_size=ROWS)
                rows += len(table)
    if not rows:
        raise damaged(path, "the table has a header only", remedy="a table with rows")


def _groups(reader: Any, names: list[str]) -> Iterator[Any]:
    """Tables of `ROWS` rows, the last one shorter."""
    import pyarrow as pa

    waiting: list[Any] = []
    for batch in reader:
        waiting.append(batch.select(names))
        rows = sum(len(one) for one in waiting)
        if rows >= ROWS:
            table = pa.Table.from_batches(waiting)
            whole = rows - rows % ROWS
            yield table.slice(0, whole)
            waiting = table.slice(whole).to_batches()
    if waiting:
        yield pa.Table.from_batches(waiting)


def _head(path: Path) -> _Head:
    """The delimiter and the names of the columns, from the first row."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            line = file.readline()
            delimiter = "\t" if path.suffix.lower() == ".tsv" else next((mark for mark in ",;\t|" if mark in line), ",")
            file.seek(0)
            rows = list(islice(csv.reader(file, delimiter=delimiter), 1))
    except (UnicodeDecodeError, csv.Error) as error:
        raise damaged(path, one_line(error), remedy="saving it as UTF-8") from None
    cells = [cell.strip() for cell in rows[0]] if rows else []
    if not any(cells):
        raise damaged(path, "its first line is blank", remedy="a table that begins with the names of its columns")
    if all(_is_number(cell) for cell in cells):
        return _Head(delimiter, [f"c{index}" for index in range(len(cells))], True)
    return _Head(delimiter, cells, False)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _misfit(message: str, names: list[str]) -> tuple[str | None, str]:
    """The column and the type that a cell does not fit, from what Arrow says."""
    found = re.search(r"CSV column #(\d+): .*CSV conversion error to (\w+)", message)
    return (names[int(found[1])], found[2]) if found else (None, "")


def _reason(error: Exception) -> str:
    text = one_line(error)
    return f"{text} (save it as UTF-8)" if "utf" in text.lower() else text
