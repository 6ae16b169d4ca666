"""The refusals that several readers share, so that each is worded once."""

from __future__ import annotations

from pathlib import Path

from ladle.errors import DataError, must, nearest


def one_line(text: object, longest: int = 160) -> str:
    """The first line of what a library said, shortened: an error of ours is always one line.

    >>> one_line("bad header\\n  at offset 3")
    'bad header'
    """
    lines = str(text).strip().splitlines()
    line = lines[0].strip() if lines else "no reason given"
    return line if len(line) <= longest else line[: longest - 3] + "..."


def damaged(path: Path, because: object, *, remedy: str = "a fresh copy of the file") -> DataError:
    """The error for a file whose content is not what its name or its own header promises."""
    return DataError(must("data", "be a whole, readable file", str(path), one_line(because), remedy))


def require_file(path: Path) -> Path:
    """`path` where it is a file with something in it. Raises `DataError` and offers the nearest file beside it."""
    if path.is_dir():
        raise DataError(must("data", "be a file", str(path), "it is a folder", _beside(path, "none")))
    try:
        length_bytes = path.stat().st_size
    except OSError:
        raise DataError(
            must("data", "be a file that exists", str(path), "there is no such file", _beside(path.parent, path.name))
        ) from None
    if length_bytes == 0:
        raise damaged(path, "the file is empty")
    return path


def place(row: int, *, counted_from: int) -> str:
    """Where a row is, in words. Rows of arrays count from 0, rows of tables from 1 without the header.

    >>> place(2, counted_from=0), place(2, counted_from=1)
    ('row 2 (counted from 0)', 'row 3 (counted from 1, without a header)')
    """
    return f"row {row + counted_from} (counted from {counted_from}{', without a header' if counted_from else ''})"


def listed(names: list[str], most: int = 6) -> str:
    """Names in one line, the surplus counted.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def _beside(folder: Path, name: str) -> str:
    try:
        files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:
        files = []
    return nearest(name, files) if 0 < len(files) <= 12 else "the path of a data file, or `ladle data` for known names"
