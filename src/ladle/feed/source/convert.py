"""`converted`: a CSV or TSV file of any size, written once as Parquet and read from there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import get_ident
from typing import Any

from ladle.core.dialect import Dialect, Spelling, dialect_of, require_distinct
from ladle.core.errors import DataError, must
from ladle.core.missing import MISSING
from ladle.core.npy import damaged, one_line, require_file
from ladle.core.textfile import FAILURES, open_text
from ladle.feed.source import columns as layout
from ladle.feed.source.parquet import Parquet
from ladle.feed.source.remote import kept_folder

ROWS = 65_536
"""Rows of a row group."""
BLOCK_BYTES = 8 << 20
"""Text parsed at a time."""
_WIDER = {"null": "double", "int64": "double"}
_VERSION = 2


def converted(
    path: str | Path,
    folder: str | Path | None = None,
    *,
    x: Sequence[str] | None = None,
    y: str | None = None,
    columns: Sequence[str] | None = None,
    categories: Sequence[str] = (),
    decimal: str | None = None,
    **options: Any,
) -> Parquet:
    """A text table as a `Parquet` source: converted the first time, found again as long as it stays the same.

    The copy lies in `folder` (the user's cache of ladle by default) under a name hashed from the path, size and time of
    the table and the columns asked for. It is written block by block (8 MB of text and one row group are in memory) and
    renamed when it is whole. How the table is written is found as for one that is loaded (`ladle.core.dialect`). Empty
    cells, NA, nan, null and ? count as null. A column is whole numbers until a cell with a fraction is met.

    - `decimal`: "," where fractions stand behind a comma.
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
        decimal,
    ]
    digest = hashlib.sha256(json.dumps([list(one) if isinstance(one, tuple) else one for one in said]).encode())
    folder = kept_folder("folder", "converted") if folder is None else Path(folder)
    target = folder / f"{path.stem}-{digest.hexdigest()[:16]}.parquet"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{os.getpid()}-{get_ident()}.part")
        try:
            _convert(path, partial, wanted, decimal)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    return Parquet(str(target), x=x, y=y, columns=columns, categories=categories, **options)


def _convert(path: Path, target: Path, wanted: layout.Wanted, decimal: str | None) -> None:
    """Write `target`, with wider types each time a cell does not fit: types are guessed from the first block alone."""
    import pyarrow as pa

    head, types = dialect_of(path, Spelling(decimal=decimal)), {}
    require_distinct(head.names, path.name)
    while True:
        try:
            with open_text(path, head.coding, head.comment, head.quote) as file:
                empty = _write(file, path.name, target, head, types, wanted, decimal or ".")
            if not empty:
                return
            types.update(
                dict.fromkeys(empty, "double")
            )  # A column without a cell in the first block may have some later.
        except (pa.ArrowException, *FAILURES) as error:
            name, type = _misfit(str(error), head.names)
            if name is None or types.get(name) == _WIDER.get(type):
                raise damaged(path, _reason(error), remedy="a file that another program opens as a table") from None
            if type not in _WIDER:
                why = one_line(str(error).replace("In CSV column", f"{path.name} says in column"))
                remedy = f"columns=[...] without {name!r}, or categories=[{name!r}] where words repeat"
                raise DataError(must(f"column {name}", "be numbers in every row", f"a {type}", why, remedy)) from None
            types[name] = _WIDER[type]


def _write(
    file: Any, name: str, target: Path, head: Dialect, types: dict[str, str], wanted: layout.Wanted, decimal: str
) -> list[str]:
    """Write the rows; or nothing, and answer which columns have no cell in the first block."""
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    reader = pa_csv.open_csv(
        file,
        # One thread, so that an error names its row.
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            column_names=list(head.names),
            skip_rows_after_names=int(head.header),
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=head.delimiter, quote_char=head.quote or False, newlines_in_values=bool(head.quote)
        ),
        convert_options=pa_csv.ConvertOptions(
            null_values=list(MISSING),
            strings_can_be_null=True,
            decimal_point=decimal,
            column_types={**dict.fromkeys(wanted.categories, "string"), **types},
        ),
    )
    with reader:
        empty = [one for one, type in zip(head.names, reader.schema.types, strict=False) if str(type) == "null"]
        if empty:
            return empty
        layout.require_names(reader.schema, name)
        made = layout.entries(reader.schema, wanted, name)
        names = list(dict.fromkeys(one for entry in made for one in entry.names))
        kept = reader.schema.empty_table().select(names).schema
        rows = 0
        with pq.ParquetWriter(target, kept, write_page_checksum=True) as writer:
            for table in _groups(reader, names):
                writer.write_table(table, row_group_size=ROWS)
                rows += len(table)
    if not rows:
        raise damaged(name, "the table has a header only", remedy="a table with rows")
    return []


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


def _misfit(message: str, names: Sequence[str]) -> tuple[str | None, str]:
    """The column and the type that a cell does not fit, from what Arrow says."""
    found = re.search(r"CSV column #(\d+): .*CSV conversion error to (\w+)", message)
    return (names[int(found[1])], found[2]) if found else (None, "")


def _reason(error: Exception) -> str:
    text = one_line(error)
    return f"{text} (save it as UTF-8)" if "utf" in text.lower() else text
