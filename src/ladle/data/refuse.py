"""The refusals that several readers share, so that each is worded once."""

from __future__ import annotations


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
