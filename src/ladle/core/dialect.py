"""How a text table is written, found in its content: the first step of every lane that reads one.

delimiter   the mark that gives all rows equally many cells, outside of quotes
quotes      as in CSV; in tables of tabs only where cells are wrapped in them
comments    lines at the top that begin with #, and then all such lines
header      see `ladle.core.header`
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.header import has_header, is_number
from ladle.core.npy import damaged, one_line
from ladle.core.textfile import FAILURES, Coding, coding_of, head_of

LOOKED_AT = 200
"""Rows that say how a table is written."""
MARKS = "\t;|,"
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Spelling:
    """What the user says of a text table himself. Whatever is None is found out.

    - `delimiter`, `quote` ("" for none), `encoding`, `header`: of the file.
    - `decimal`: "." or ","; the other one then stands between thousands.
    - `na`: words that also mean missing; `column=word` for one column alone.
    """

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: bool | None = None
    decimal: str | None = None
    na: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises `ArgumentError` for what no table can have."""
        for name, known in {"decimal": (None, ".", ","), "quote": (None, "", '"', "'", "none")}.items():
            if getattr(self, name) not in known:
                said = " or ".join(repr(one) for one in known if one is not None)
                why = "tables are written with these"
                raise ArgumentError(must(name, f"be {said}", getattr(self, name), why, f"{name}=None"))
        if self.quote == "none":
            object.__setattr__(self, "quote", "")
        words = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", words.get(self.delimiter, self.delimiter))
            if len(self.delimiter) != 1 or self.delimiter in "\r\n\"'":
                why, remedy = "one mark stands between two cells", "delimiter=';'"
                raise ArgumentError(must("delimiter", "be one mark", self.delimiter, why, remedy))


@dataclass(frozen=True)
class Dialect:
    """How one text table is written. `names`: of its columns; `header`: whether its first row names them."""

    coding: Coding
    delimiter: str
    quote: str
    comment: str
    names: tuple[str, ...]
    header: bool
    notes: tuple[str, ...] = ()


def dialect_of(path: Path, said: Spelling = Spelling()) -> Dialect:
    """Find out how the table in `path` is written.

    Raises `DataError` for a file that is missing, empty, damaged, of another format, or blank.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text('"price, EUR";b\\n1,5;2\\n2,5;3\\n')
    >>> dialect = dialect_of(path)
    >>> dialect.delimiter, dialect.names
    (';', ('price, EUR', 'b'))
    """
    coding = coding_of(path, said.encoding)
    try:
        text, whole = head_of(path, coding)
    except FAILURES as error:
        raise damaged(path, one_line(error), remedy="encoding='latin-1', or saving it as UTF-8") from None
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise damaged(path, "it holds blank lines only")
    comment, named, text = _comment(lines, text)
    if re.fullmatch("sep=.", lines[0]):  # The line by which spreadsheets say it themselves.
        comment, text = "sep=", text.partition("\n")[2]
        said = said if said.delimiter else replace(said, delimiter=lines[0][-1])
    delimiter, quote, rows = _marks(path, text, said, cut=not whole)
    names, header, notes = _names(rows, said, named)
    if coding.encoding not in ("utf-8", "utf-8-sig", "ascii") and said.encoding is None:
        notes = (*notes, f"Read as {_ENCODINGS.get(coding.encoding, coding.encoding)}, which is what its bytes are.")
    if comment == "#" and not named:
        notes = (*notes, f"Lines that begin with {comment} are comments.")
    if named:  # The names stand behind the mark of a comment, as NumPy writes them: no row is to be skipped.
        return Dialect(coding, delimiter, quote, comment, names, False, notes)
    return Dialect(coding, delimiter, quote, comment, names, header, notes)


_ENCODINGS = {"cp1252": "Windows-1252 (it is not UTF-8; another one is given as encoding)"}


def _comment(lines: Sequence[str], text: str) -> tuple[str, str, str]:
    """The mark of comments, the comment that names the columns if one does, and the text without comments."""
    if not lines[0].startswith("#"):
        return "", "", text
    top = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if top == len(lines):
        return "", "", text
    kept = "\n".join(line for line in lines if not line.startswith("#"))
    last, below = lines[top - 1].lstrip("#").strip(), lines[top]
    for mark in MARKS:
        if mark in last and last.count(mark) == below.count(mark):
            cells = [_split(line, mark) for line in (last, below)]
            rest = [_split(line, mark) for line in kept.split("\n")[:LOOKED_AT]]
            if not has_header(rest) and len(cells[0]) == len(cells[1]) and has_header([cells[0], *rest]):
                return "#", last, kept
    return "#", "", kept


def _split(line: str, mark: str) -> list[str]:
    return next(csv.reader([line], delimiter=mark), [])


def _marks(path: Path, text: str, said: Spelling, *, cut: bool) -> tuple[str, str, list[list[str]]]:
    """Delimiter, quote and first rows: those that make the rows equally long, then those that make more numbers."""
    tabs = path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")) and "\t" in text
    marks = said.delimiter or ("\t" if tabs else MARKS)
    found = []
    for mark in marks:
        for quote in _quotes(text, mark) if said.quote is None else (said.quote,):
            rows = _rows(text, mark, quote, cut)
            if rows:
                found.append((_fit(rows), -marks.index(mark), mark, quote, rows))
    wide = [one for one in found if one[0][0]]
    if not found:
        raise damaged(path, "no row of it can be read", remedy="quote='none' where marks of quotation are letters")
    # A mark that is never met makes even rows of one cell: it counts only where no mark splits them.
    _, _, mark, quote, rows = max(wide or [one for one in found if one[2] == ","] or found, key=lambda one: one[:2])
    if quote and not wide and said.delimiter is None and len(rows) < text.strip().count("\n") // 2:
        return mark, "", _rows(text, mark, "", cut)
    return mark, quote, rows


def _quotes(text: str, mark: str) -> tuple[str, ...]:
    """Which marks of quotation to try: CSV has them; among tabs they wrap cells or are letters."""
    if mark != "\t":
        return ('"', "'") if f"'{mark}'" in text else ('"',)
    begun = ended = 0
    for line in text.split("\n"):
        cells = line.split("\t")
        for cell in cells:
            opens, closes = cell.startswith('"'), len(cell) > 1 and cell.endswith('"')
            begun += opens
            ended += opens and closes
    return ('"',) if begun and begun == ended else ("",) if not begun else ("", '"')


def _rows(text: str, mark: str, quote: str, cut: bool) -> list[list[str]]:
    quoting = {"quoting": csv.QUOTE_MINIMAL, "quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=mark, **quoting):  # type: ignore[arg-type]
            if row:
                rows.append(row)
            if len(rows) > LOOKED_AT:
                break
    except csv.Error:
        return rows[:-1]
    return rows[:LOOKED_AT] if not cut or len(rows) < 2 or len(rows) > LOOKED_AT else rows[:-1]


def _fit(rows: Sequence[Sequence[str]]) -> tuple[bool, float, bool, float]:
    """Whether rows have two cells or more, the share that is as wide as most, whether no quote is left, and the share
    of cells that are numbers."""
    width, count = Counter(len(row) for row in rows[1:] or rows).most_common(1)[0]
    if abs(len(rows[0]) - width) <= 1 and width > 2:
        count += len(rows) > 1  # Names may be one fewer or one more: of row names, of a mark at the end.
    elif len(rows[0]) == width and len(rows) > 1:
        count += 1
    cells = [cell for row in rows for cell in row if cell.strip()]
    loose = sum(cell[:1] == '"' == cell[-1:] and len(cell) > 1 for cell in cells)
    return width > 1, round(count / len(rows), 2), not loose, sum(map(is_number, cells)) / max(len(cells), 1)


def _names(rows: list[list[str]], said: Spelling, named: str) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """The names of the columns; more or fewer than the cells of the first row where the rows below say so."""
    first = [cell.strip() for cell in rows[0]]
    below = Counter(len(row) for row in rows[1:])
    width = below.most_common(1)[0][0] if below else len(first)
    if named:
        mark = next(mark for mark in MARKS if named.count(mark) == len(first) - 1 and mark in named)
        return tuple(cell.strip() for cell in _split(named, mark)), False, ()
    header = has_header(rows) if said.header is None else said.header
    if not header:
        names = [f"c{index}" for index in range(max(width, len(first)))]
        if len(rows) > 1 and all(len(row) == len(names) and not row[-1].strip() for row in rows):
            names[-1] = ""  # A mark at the end of each row: left out, unless a row further down has a cell there.
        return tuple(names), False, ()
    if width == len(first) + 1 and len(below) == 1:
        if all(not row[-1].strip() for row in rows[1:]):
            return (*first, ""), True, ()
        return ("", *first), True, ("The first cell of each row has no name above it: it names the row.",)
    if width == len(first) - 1 and not first[-1] and len(below) == 1:
        return tuple(first[:-1]), True, ()
    return tuple(first), True, ()


def require_distinct(names: Sequence[str], where: str) -> None:
    """Raise `DataError` where two columns have one name. One look at each."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(must("data", "name each column once", twice, f"{where} has it twice", "renaming one of them"))
