"""Which tests of other libraries' loaders do not pass on a `Loader`, and why: the table behind `loader_suites.py`."""

from __future__ import annotations

import re

JUDGED: list[tuple[str, str, tuple[str, ...]]] = [
]


def judgement(test: str) -> tuple[str, str] | None:
    """`(verdict, why)` for a test's name with its path; None where nobody has judged it."""
    name = re.sub(r"^.*?::", "", test)
    for verdict, why, names in JUDGED:
        if name in names or name.split("[")[0] in names:
            return verdict, why
    return None
