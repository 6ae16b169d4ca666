"""The words by which tables say that a value is missing."""

from __future__ import annotations

MISSING = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "Null", "null", "None", "none")
"""Cells that count as missing in every column of a text table."""

AMONG_NUMBERS = frozenset(
    "unknown missing na n.a. n.a n/a nan nil null none - -- --- . .. ... * ? nd n.d. undefined nat void blank empty "
    "#div/0! #value! #ref! #num! #name? #null! #n/a".split()
) | {"no data", "not available", "not applicable", "not known", "(missing)", "(null)", "(blank)", "(empty)"}
"""Words, in small letters, that count as missing where every other cell of the column is a number or a date."""
