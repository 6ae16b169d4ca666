"""Counts, positions and tables in the text of a schedule: what they look like, and how many examples they are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from ladle.policy.range import Range

NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e\+?[0-9]{1,3})?"
COUNT = rf"{NUMBER}[kmb]?"
POSITION = rf"{COUNT}(?:\s*(?:epochs?|ep|examples?|samples?|ex|tokens?|tok))?"
POSITIONS = rf"{POSITION}(?:[\s,]+{POSITION})*"
ONE_STEP = rf"{POSITION}\s*:\s*{COUNT}"
TABLE = rf"{ONE_STEP}(?:[\s,]+{ONE_STEP})*(?:[\s,]+tokens?)?"
RANGE = (
    rf"\s+(?P<smallest>{COUNT})\s*\.\.\s*(?P<largest>{COUNT})"
    rf"(?P<moves>(?:\s+from\s+{COUNT}|\s+every\s+{POSITION}|\s+most\s+x{NUMBER})*)"
)
MOVES = "'from 64', 'every 2ep', 'most x4'"
"""What may stand behind a range, in any order."""

_MOVE = re.compile(rf"(?P<word>from|every|most)\s+x?(?P<value>{POSITION})", re.IGNORECASE)

_STEP = re.compile(rf"(?P<start>{POSITION})\s*:\s*(?P<size>{COUNT})", re.IGNORECASE)
_STEPS = re.compile(TABLE, re.IGNORECASE)
_AMOUNT = re.compile(rf"(?P<number>{NUMBER})(?P<suffix>[kmb]?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)

_SUFFIX = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_MOST = 10**18


@dataclass(frozen=True)
class Context:
    """Holds what the text of a schedule does not say: the run that it is for."""

    size: int
    micro_size: int
    epoch_size: int | None
    length: int | None
    lr: float | None
    coupling: dict[str, Any]
    cores: int | None = None

    def range(self, match: re.Match[str]) -> Range:
        """What `RANGE` has matched."""
        moves = [(found["word"].lower(), found["value"]) for found in _MOVE.finditer(match["moves"])]
        words = [word for word, _ in moves]
        if twice := [word for word in words if words.count(word) > 1]:
            raise ValueError(f"{twice[0]!r} is given twice")
        read = {"from": ("first", size_of), "every": ("every", self.position), "most": ("most", float)}
        fields: dict[str, Any] = {read[word][0]: read[word][1](value) for word, value in moves}
        return Range(size_of(match["smallest"]), size_of(match["largest"]), self.micro_size, **fields)

    def position(self, text: str, unit: str = "") -> int:
        """Examples, from a count of examples, epochs or tokens."""
        value, own = amount(text)
        unit = own or unit
        if unit.startswith("tok"):
            if self.length is None:
                raise ValueError(f"{text!r} counts tokens and rows have no length here")
            return round(value / self.length)
        if not unit.startswith("ep"):
            return whole(text, value)
        if self.epoch_size is None:
            raise ValueError(f"{text!r} counts epochs and these data have none")
        return round(value * self.epoch_size)

    def positions(self, text: str) -> tuple[int, ...]:
        """All positions in a list, in examples."""
        return tuple(self.position(each) for each in re.findall(POSITION, text, re.IGNORECASE))

    def steps(self, line: str) -> tuple[tuple[int, int], ...]:
        """`((start, number), ...)` of a table, the positions ascending."""
        if not _STEPS.fullmatch(line):
            raise ValueError("it has none of the known forms")
        unit = "tokens" if re.search(r"\d[kmb]?[\s,]+tokens?$", line, re.IGNORECASE) else ""
        pairs = [(match["start"], match["size"]) for match in _STEP.finditer(line)]
        steps = tuple((self.position(start, unit), size_of(size)) for start, size in pairs)
        for (before, _), (start, _) in pairwise(steps):
            if start == before:
                raise ValueError(f"position {start:,} is given twice")
            if start < before:
                raise ValueError(f"position {start:,} comes after {before:,}, and positions ascend")
        if steps[0][0] != 0:
            raise ValueError("the first example has no size: the table begins at 0")
        return steps


def size_of(text: str) -> int:
    """A batch size. Raises `ValueError` for one that is not whole, or below 1.

    >>> size_of("1.5k")
    1500
    """
    size = whole(text, amount(text)[0])
    if size < 1:
        raise ValueError(f"a batch of {size} makes no update")
    return size


def amount(text: str) -> tuple[Decimal, str]:
    """Number and unit of a count or position, exactly.

    >>> amount("1.1M tokens")
    (Decimal('1100000.0'), 'tokens')
    """
    match = _AMOUNT.fullmatch(text)
    assert match  # the forms above let nothing else through
    value = Decimal(match["number"]) * _SUFFIX[match["suffix"].lower()]  # not a float: 1.1M is 1,100,000
    if value > _MOST:
        raise ValueError(f"{text!r} is more examples than can be counted")
    return value, match["unit"].lower()


def whole(text: str, value: Decimal) -> int:
    """`value` as an integer. Raises `ValueError`, which shows `text`."""
    if value != int(value):
        raise ValueError(f"{text!r} is no whole number of examples")
    return int(value)
