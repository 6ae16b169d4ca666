"""Whether the first row of a table names its columns or is data like the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from ladle.core.missing import MISSING

FEW_BELOW = 10
"""Rows that have to stand below before a first row of numbers is taken for names on their strength."""


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of `rows` names the columns.

        no cell of it is a number                 yes, unless each of its words is met again below it
        a word stands above a number              yes
        whole numbers that count (0, 1, 2, ...)   yes: years, or a frame that was saved without names

    >>> has_header([["age", "name"], ["3", "x"]]), has_header([["5.1", "setosa"], ["4.9", "setosa"]])
    (True, False)
    >>> has_header([["2019", "2020", "2021"], ["1.5", "2", "0"], ["2.5", "3", "1"]])
    True
    """
    first, below = [cell.strip() for cell in rows[0]], rows[1:]
    numbers = [is_number(cell) for cell in first]
    if not any(numbers[i] for i, cell in enumerate(first) if cell):
        return not _met_again(first, below)
    if below and any(
        above and not number and above not in MISSING and is_number(cell)
        for above, number, cell in zip(first, numbers, below[0], strict=False)
    ):
        return True
    return _counts(first, numbers, below)


def is_number(cell: str) -> bool:
    """Whether a cell is a number as any program writes it; decimal commas count."""
    return bool(_NUMBER.match(cell.strip())) and cell.strip() not in MISSING


_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?$|[+-]?(inf|infinity)$", re.IGNORECASE)


def _met_again(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether every word of the first row is a word of its column below: then it is a row as they are."""
    words = [(at, cell) for at, cell in enumerate(first) if cell]
    if len(words) < 2 or len(below) < FEW_BELOW:
        return False
    return all(any(at < len(row) and row[at].strip() == cell for row in below) for at, cell in words)


def _counts(first: Sequence[str], numbers: Sequence[bool], below: Sequence[Sequence[str]]) -> bool:
    """Whether the numbers of the first row are names: whole, no two alike, and unlike every row below."""
    whole = [cell for cell, number in zip(first, numbers, strict=True) if number]
    if not below or len(set(whole)) < len(whole) or not all(re.fullmatch(r"0|[1-9]\d*", cell) for cell in whole):
        return False
    at = [i for i, number in enumerate(numbers) if number]
    if any(first[i] and not _stands_apart(first[i], i, below) for i in range(len(first)) if not numbers[i]):
        return False
    values = [int(cell) for cell in whole]
    steps = {b - a for a, b in pairwise(values)}
    begins = values[0] in (0, 1) or 1800 <= values[0] <= 2200
    regular = len(steps) == 1 and steps != {0} and begins
    alike = sum(_counting([row[i] if i < len(row) else "" for i in at], years=values[0] > 1) for row in below)
    named = any(cell and not number for cell, number in zip(first, numbers, strict=True))
    if regular and (len(values) > 2 or (len(values) == 2 and (named or not _any_whole(below, at)))):
        return alike == 0
    return len(values) > 4 and len(below) >= FEW_BELOW and not _any_whole(below, at)


def _stands_apart(word: str, at: int, below: Sequence[Sequence[str]]) -> bool:
    """Whether a word is not met below, where others repeat."""
    others = [row[at].strip() for row in below if at < len(row)]
    return word not in others and len(others) > 2 and 2 * len(set(others)) <= len(others)


def _counting(cells: Sequence[str], *, years: bool) -> bool:
    """Whether cells are whole numbers in even steps; among years, where they are years too."""
    if not all(cell.strip().isdigit() for cell in cells):
        return False
    values = [int(cell) for cell in cells]
    if years and not 1800 <= values[0] <= 2200:
        return False
    return len({b - a for a, b in pairwise(values)} - {0}) == 1


def _any_whole(below: Sequence[Sequence[str]], at: Sequence[int]) -> bool:
    """Whether some row below is of whole numbers throughout, as the first is."""
    return any(all(i < len(row) and re.fullmatch(r"[+-]?\d+", row[i].strip()) for i in at) for row in below)
