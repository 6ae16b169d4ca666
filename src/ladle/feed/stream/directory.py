"""`DirectoryStream`: files that appear in a folder while a run goes on."""

from __future__ import annotations

import csv
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.stream.clients import until

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".npz")
LINE_BYTES = 2**26
"""The longest line that is read. A longer one is no event, but a file without line ends."""


@dataclass(frozen=True)
class DirectoryStream:
    """Events in files, in order of file name and line; implements `ladle.core.protocols.Stream`.

    - `folder`, `pattern`: the names to read, such as "*.jsonl". Names that start with a dot are left alone.

    What an event is depends on how the pattern ends: a line of `.jsonl` or `.ndjson` as bytes, a row of `.csv` as
    `{column: text}` (the first line names the columns, a row is one line), a row of every array of `.npz`.

    A file is written under another name (`.part-7.jsonl.tmp`) and renamed when it is whole, and **a new name sorts
    after all names that are there**: `2026-11-02T10-00-00.jsonl`, `part-000017.jsonl`. The newest file of lines may
    also grow by whole lines; a last line without line end is waited for. The position is the file, the line and the
    byte in it, and how the files before it were. Files before the one of the position may be deleted; that one is
    needed to go on.

    Raises `DataError` where events would be lost in silence or read twice: a file that appears or changes before the
    position, one at the position that shrank or vanished, a file that ends inside a line though another one follows;
    and for links, which may lead out of the folder.
    """

    folder: str | Path
    pattern: str

    def __post_init__(self) -> None:
        if not Path(self.folder).is_dir():
            why, remedy = "files appear in it", f"mkdir {self.folder}"
            raise DataError(must("folder", "be a folder", str(self.folder), why, remedy))
        if "/" in self.pattern or not self.pattern.endswith(SUFFIXES):
            be, why = f"be a file name that ends in {', '.join(SUFFIXES)}", "that says what an event is"
            raise ArgumentError(must("pattern", be, self.pattern, why, "pattern='*.jsonl'"))

    def start(self) -> dict[str, Any]:
        return _Place().to_json()

    def read(self, position: dict[str, Any], count: int, wait_seconds: float) -> tuple[list[Any], dict[str, Any]]:
        place, events = _checked(position), []
        left = until(wait_seconds)
        while True:
            found = list(islice(self._events(place), count - len(events)))
            if found:
                events += [event for event, _ in found]
                place = found[-1][1]
            if len(events) == count or left() <= 0:
                return events, place.to_json()
            time.sleep(min(max(left(), 0), 0.05))

    def _events(self, place: _Place) -> Iterator[tuple[Any, _Place]]:
        """The events after a place that are there now, each with the place after it."""
        files = self._files()
        self._check_passed(files, place)
        names = [name for name in sorted(files) if name >= place.file]
        for name, following in zip_longest(names, names[1:]):
            if name != place.file:
                place = place.at(name, files)
            for event, line, byte in self._rows(name, place, last=following is None):
                place = replace(place, line=line, byte=byte)
                yield event, place

    def _files(self) -> dict[str, os.stat_result]:
        with os.scandir(self.folder) as entries:
            found = [e for e in entries if fnmatchcase(e.name, self.pattern) and not e.name.startswith(".")]
        for entry in found:
            if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                why, remedy = "a link may lead out of the folder", "a copy of the file"
                raise DataError(must(f"file {entry.name!r}", "be a plain file", "a link or folder", why, remedy))
        stats: dict[str, os.stat_result] = {}
        for entry in found:
            with suppress(FileNotFoundError):  # Deleted just now.
                stats[entry.name] = os.stat(entry.path, follow_symlinks=False)
        return stats

    def _check_passed(self, files: dict[str, os.stat_result], place: _Place) -> None:
        """No file may appear or change before the position, and the one at the position must hold what was read."""
        before = sorted(name for name in files if name < place.file)
        late = [name for name in before if files[name].st_ctime_ns > place.passed_ns]
        if late or len(before) > place.passed:
            named = repr(late[0]) if late else f"one of {before[0]!r} to {before[-1]!r}"
            got = f"{named}, new or changed, before {place.file!r}, which has been read"
            why, remedy = "its events would be lost", "a name that sorts after all others"
            raise DataError(must("file", "sort after those that were read", got, why, remedy))
        if place.file and place.file not in files:
            raise _vanished(place.file)
        if place.file and files[place.file].st_size < place.byte:
            got, why = f"{files[place.file].st_size} bytes", f"{place.byte} of it were read"
            remedy = "files that are only added to"
            raise DataError(must(f"file {place.file!r}", "never shrink", got, why, remedy))

    def _rows(self, name: str, place: _Place, *, last: bool) -> Iterator[tuple[Any, int, int]]:
        """Events of a file after a place in it, each with the line and the byte after it."""
        path = Path(self.folder) / name
        try:
            yield from _arrays_rows(path, place.line) if name.endswith(".npz") else _lines(path, place, last=last)
        except FileNotFoundError:
            raise _vanished(name) from None


@dataclass(frozen=True)
class _Place:
    """Lines and bytes of `file` that were read, how many files are before it, and when the newest of them changed."""

    file: str = ""
    line: int = 0
    byte: int = 0
    passed: int = 0
    passed_ns: int = 0

    def at(self, name: str, files: dict[str, os.stat_result]) -> _Place:
        """The start of a file, as the folder was when it was listed: a change since then shows in its time."""
        before = [files[other].st_ctime_ns for other in files if other < name]
        return _Place(name, 0, 0, len(before), max([self.passed_ns, *before]))

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def _lines(path: Path, place: _Place, *, last: bool) -> Iterator[tuple[Any, int, int]]:
    columns: list[str] | None = None
    with path.open("rb") as file:
        if path.suffix == ".csv":
            header = file.readline(LINE_BYTES)
            if not header.endswith(b"\n"):
                return _check_end(path, header, last)
            columns = _columns(path, header)
        start = max(place.byte, file.tell())
        file.seek(start)
        line = place.line
        while text := file.readline(LINE_BYTES):
            if not text.endswith(b"\n"):
                return _check_end(path, text, last)
            start, line = start + len(text), line + 1
            if text.strip():
                yield (_row(columns, text) if columns else text.rstrip(b"\r\n")), line, start


def _check_end(path: Path, text: bytes, last: bool) -> None:
    """A line without its end is waited for, while more may come."""
    if text and (not last or len(text) >= LINE_BYTES):
        got = f"a last line of {len(text)} bytes without it"
        why, remedy = "the line may be cut off in the middle", "a line end after every line"
        raise DataError(must(f"file {path.name!r}", "end every line with a line end", got, why, remedy))


def _fields(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8-sig", "replace").rstrip("\r\n")], strict=True))


def _columns(path: Path, header: bytes) -> list[str]:
    try:
        return _fields(header)
    except csv.Error as error:
        why = f"each row is read by them, and: {error}"
        raise DataError(must(f"file {path.name!r}", "begin with names of columns", header, why, "x,y")) from None


def _row(columns: list[str], line: bytes) -> dict[Any, Any]:
    """Text by column. What is missing is None, what is too much has no name: whoever decodes it will say so."""
    try:
        return dict(zip_longest(columns, _fields(line)))
    except csv.Error:  # A quote that is not closed.
        return {None: line}


def _arrays_rows(path: Path, line: int) -> Iterator[tuple[Any, int, int]]:
    found = path.stat()
    arrays = _arrays(str(path), found.st_ctime_ns, found.st_size)
    rows = len(next(iter(arrays.values())))
    if rows < line:
        why, remedy = f"{line} of it were read", "files that are never changed"
        raise DataError(must(f"file {path.name!r}", "never shrink", f"{rows} rows", why, remedy))
    for row in range(line, rows):
        yield {name: array[row] for name, array in arrays.items()}, row + 1, 0


@lru_cache(maxsize=1)
def _arrays(path: str, changed_ns: int, size: int) -> dict[str, np.ndarray]:
    """All arrays of a file; kept for the next batch of the same, unchanged file."""
    name = f"file {Path(path).name!r}"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (ValueError, TypeError, OSError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise
        be, why = "be an .npz file of numbers", "it was renamed before it was whole, or is damaged"
        raise DataError(must(name, be, str(error) or type(error).__name__, why, "numpy.savez")) from None
    lengths = {key: len(array) if array.ndim else None for key, array in arrays.items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        why, remedy = "row i of each belongs to event i", "arrays of one length"
        raise DataError(must(name, "have equally many rows in every array", lengths, why, remedy))
    return arrays


def _vanished(name: str) -> DataError:
    why, remedy = "nothing says that it was read to its end", "deleting files before the one of the position only"
    return DataError(must(f"file {name!r}", "stay until it is passed", "no such file", why, remedy))


def _checked(position: Any) -> _Place:
    try:
        place = _Place(**position)
        if (
            position.keys() == vars(place).keys()
            and isinstance(place.file, str)
            and "/" not in place.file
            and min(place.line, place.byte, place.passed) >= 0
        ):
            return place
    except TypeError:
        pass
    be, why = "be one of a folder", "it is where reading goes on"
    raise DataError(must("position", be, position, why, "the cursor of this feed"))
