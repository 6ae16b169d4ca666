"""The one reader of text tables: cells as text in blocks, then columns of the kind that all of their cells have.

for block in text.blocks():   facts of each column   ->   kinds.decide   ->   the same cells as numbers, dates, words
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ladle.core.dialect import JSON_LINES, Dialect, Spelling, dialect_of, require_distinct
from ladle.core.errors import DataError, must
from ladle.core.npy import damaged, one_line
from ladle.core.textfile import FAILURES, coding_of, open_text
from ladle.data.facts import facts_of
from ladle.data.kinds import Facts, Kind, decide, missing_words

BLOCK_BYTES = 16 << 20
"""Text parsed at a time; a row must fit."""
READING_FAILS = (pa.ArrowException, csv.Error, *FAILURES)

_C: Any = pc


@dataclass(frozen=True)
class TextTable:
    """A text table that is read block by block, every cell as text. `names` are those of its columns."""

    path: Path
    said: Spelling
    dialect: Dialect

    @property
    def names(self) -> tuple[str, ...]:
        return self.dialect.names

    @cached_property
    def lines(self) -> bool:
        """Whether each line is an object of JSON."""
        return is_json_lines(self.path)

    def blocks(self) -> Iterator[Any]:
        """Tables of text, one after another. Raises `DataError` for rows of unequal length and damaged text."""
        try:
            yield from _json_blocks(self.path, self.dialect) if self.lines else _csv_blocks(self.path, self.dialect)
        except READING_FAILS as error:
            raise damaged(self.path, _reason(error), remedy="a file that another program opens as a table") from None


def open_table(path: Path, said: Spelling = Spelling()) -> TextTable:
    """A text table, its dialect found. Raises `DataError` as `ladle.core.dialect.dialect_of` does."""
    if is_json_lines(path):
        return TextTable(path, said, _json_dialect(path, said))
    dialect = dialect_of(path, said)
    unnamed = [at for at, name in enumerate(dialect.names) if not name]
    if len(unnamed) > 1:  # Several columns without a name are told apart by their place.
        names = [name or f"column {at + 1}" for at, name in enumerate(dialect.names)]
        dialect = Dialect(**{**vars(dialect), "names": tuple(names)})
    require_distinct(dialect.names, path.name)
    return TextTable(path, said, dialect)


def is_json_lines(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(JSON_LINES)


def read_all(table: TextTable, blocks: Sequence[Any], asked: Mapping[str, str]) -> tuple[Any, dict[str, Kind]]:
    """All blocks of a table as one, each column of the kind that its cells have; and these kinds."""
    _, found = add_facts({}, 0, table, blocks, keep=True)
    kinds = decide(found, table.said, asked, table.dialect.delimiter)
    return pa.table(
        {name: _whole_column(name, blocks, kind, found[name], table.said) for name, kind in kinds.items()}
    ), kinds


def _whole_column(name: str, blocks: Sequence[Any], kind: Kind, facts: Facts, said: Spelling) -> Any:
    plain = kind.type in ("whole", "real") and kind.reading == "plain" and not kind.affix
    if plain and all(values is not None for values in facts.values):
        column = pa.chunked_array(facts.values)
        return column.cast(pa.int64()) if kind.type == "whole" and facts.wide is None else column
    parts = [typed_column(block.column(name), name, kind, said) for block in blocks]
    if len({part.type for part in parts}) == 1:
        return pa.chunked_array(parts)
    return pa.concat_tables([pa.table({name: part}) for part in parts], promote_options="permissive").column(name)


def add_facts(
    found: dict[str, Facts], rows: int, table: TextTable, blocks: Any, *, keep: bool = False
) -> tuple[int, dict[str, Facts]]:
    """`found` with what the blocks of one more file hold: a folder is one table. `keep`: numbers once parsed."""
    own = {name: missing_words(table.said, name, Kind("words")) for name in table.names}
    gone = {words: pa.array(sorted(words), pa.string()) for words in set(own.values())}
    for block in blocks:
        for name, column in zip(block.column_names, block.columns, strict=True):
            here, at = found.setdefault(name, Facts()), rows
            for chunk in column.chunks:
                part = facts_of(chunk, at, gone[own[name]], table.dialect)
                if not keep:
                    part.values.clear()
                here += part
                at += len(chunk)
        rows += len(block)
    return rows, found


# --- cells of a decided kind -----------------------------------------------------------------------------------------


def typed(block: Any, kinds: Mapping[str, Kind], said: Spelling) -> Any:
    """A block of text as a table of the kinds that its columns have."""
    names = [name for name in block.column_names if name in kinds]
    return pa.table({name: typed_column(block.column(name), name, kinds[name], said) for name in names})


def typed_column(column: Any, name: str, kind: Kind, said: Spelling) -> Any:
    """Cells as whole numbers, reals, truth values, moments or words; null where missing."""
    text = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if kind.type == "none":
        return pa.nulls(len(text))
    text = _C.utf8_trim_whitespace(text)
    words = pa.array(sorted(missing_words(said, name, kind)), text.type)
    text = _C.if_else(_C.is_in(text, value_set=words), pa.scalar(None, text.type), text)
    if kind.type == "words":
        return text
    if kind.type == "boolean":
        return text.cast(pa.bool_())
    if kind.type == "time":
        return _times(text)
    if kind.type == "date":
        return _moments(text, name, kind.reading)
    if kind.affix:
        text = _C.utf8_trim_whitespace(_C.replace_substring(text, kind.affix, ""))
    if kind.reading != "plain":
        text = _C.replace_substring_regex(
            text, r"[. '\x{a0}\x{202f}]" if kind.reading == "comma" else r"[, '\x{a0}\x{202f}]", ""
        )
        text = _C.replace_substring(text, ",", ".")
    if kind.type == "whole":
        try:
            return text.cast(pa.int64())
        except pa.ArrowInvalid:  # A sign of plus, or more digits than 64 bits have.
            return text.cast(pa.float64())
    return text.cast(pa.float64())


def _moments(text: Any, name: str, form: str) -> Any:
    if form in ("dmy", "mdy"):
        same = _C.replace_substring_regex(text, "[/-]", ".")
        return _C.strptime(same, format="%d.%m.%Y" if form == "dmy" else "%m.%d.%Y", unit="s")
    for type in (
        pa.date32(),
        pa.timestamp("s"),
        pa.timestamp("ns"),
        pa.timestamp("s", "UTC"),
        pa.timestamp("ns", "UTC"),
    ):
        try:
            return text.cast(type)
        except pa.ArrowInvalid:
            continue
    why = "a day is none of the calendar, or some cells have a zone and others none"
    raise DataError(must(f"column {name}", "hold dates of one form", _C.max(text).as_py(), why, f"drop=[{name!r}]"))


def _times(text: Any) -> Any:
    def seconds(cell: str) -> int:
        parts = [int(one) for one in cell.split(":")]
        return parts[0] * 3600 + parts[1] * 60 + (parts[2] if len(parts) > 2 else 0)

    return pa.array([None if cell is None else seconds(cell) for cell in text.to_pylist()], pa.int32()).cast(
        pa.time32("s")
    )


# --- text in blocks --------------------------------------------------------------------------------------------------


def _csv_blocks(path: Path, dialect: Dialect) -> Iterator[Any]:
    names = list(dialect.names)
    with open_text(path, dialect.coding, dialect.comment, dialect.quote) as file:
        reader = pa_csv.open_csv(
            file,
            # One thread, so that an error names its row.
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows_after_names=int(dialect.header)
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                newlines_in_values=bool(dialect.quote),
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, null_values=[]
            ),
        )
        with reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])


def _json_dialect(path: Path, said: Spelling) -> Dialect:
    coding = coding_of(path, said.encoding)
    names: dict[str, None] = {}
    for row in _objects(path, coding):
        names.update(dict.fromkeys(row))
    if not names:
        raise damaged(path, "it holds blank lines only")
    return Dialect(coding, ",", "", "", tuple(names), False, ("Each line is an object of JSON.",))


def _objects(path: Path, coding: Any) -> Iterator[dict[str, Any]]:
    with open_text(path, coding) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_float=str, parse_int=str)
            except ValueError as error:
                raise damaged(
                    path, f"line {number} is no JSON: {one_line(error)}", remedy="an object in each line"
                ) from None
            if not isinstance(row, dict):
                raise damaged(path, f"line {number} is no object", remedy='{"a": 1, "y": 0} in each line')
            yield row


def _json_blocks(path: Path, dialect: Dialect) -> Iterator[Any]:
    waiting: list[dict[str, Any]] = []
    for row in _objects(path, dialect.coding):
        waiting.append(row)
        if len(waiting) == 65_536:
            yield _json_table(path, waiting, dialect)
            waiting = []
    if waiting:
        yield _json_table(path, waiting, dialect)


def _json_table(path: Path, rows: list[dict[str, Any]], dialect: Dialect) -> Any:
    def cell(name: str, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, list | dict):
            why, remedy = "a cell is a number, a word or a truth value", f"lines without {name!r}"
            raise DataError(must(f"column {name}", "hold single values", type(value).__name__, why, remedy))
        return str(value).lower() if isinstance(value, bool) else value

    return pa.table(
        {name: pa.array([cell(name, row.get(name)) for row in rows], pa.string()) for name in dialect.names}
    )


def _reason(error: Exception) -> str:
    text = one_line(error)
    return f"{text} (save it as UTF-8)" if "utf" in text.lower() else text
