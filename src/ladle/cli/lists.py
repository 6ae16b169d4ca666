"""Lists of numbers on the command line: joined by commas, by spaces, or by both; one reading for every verb."""

from __future__ import annotations

import re

from ladle.core.errors import ArgumentError, must


def parts(text: str) -> list[str]:
    """What a list holds.

    >>> parts("8,16"), parts("8 16"), parts(" 8, 16 ,"), parts(",")
    (['8', '16'], ['8', '16'], ['8', '16'], [])
    """
    return [part for part in re.split(r"[\s,]+", text) if part]


def sizes(option: str, text: str, words: tuple[str, ...] = ("full",)) -> list[int | str]:
    """Batch sizes: whole numbers, and those of `words` that stand for one. `option`: what the list was given to.

    Raises `ArgumentError` for anything else. Whether the data has so many rows is not asked here.

    >>> sizes("sizes", "full, 64 1")
    ['full', 64, 1]
    """
    return [part if part in words else _count(option, text, part, words) for part in parts(text)]


def counts(option: str, text: str) -> list[int]:
    """Whole numbers. Raises `ArgumentError` for anything else.

    >>> counts("factors", "1 2 4")
    [1, 2, 4]
    """
    return [_count(option, text, part, ()) for part in parts(text)]


def rates(option: str, text: str) -> list[float]:
    """Learning rates. Raises `ArgumentError` for what is no positive number.

    >>> rates("lrs", "1e-3 0.01")
    [0.001, 0.01]
    """
    return [_rate(option, text, part) for part in parts(text)]


def _count(option: str, text: str, part: str, words: tuple[str, ...]) -> int:
    # A number that begins with 0 is the rest of one with a comma for thousands: 1,024 is no two sizes.
    if re.fullmatch(r"-?[1-9][0-9]*|0", part):
        return int(part)
    be = f"be whole numbers{''.join(f' or {word}' for word in words)}, joined by commas or spaces"
    raise ArgumentError(must(option, be, text, f"{part!r} is none", f"--{option} 1,2,4,8"))


def _rate(option: str, text: str, part: str) -> float:
    try:
        rate = float(part)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        be = "be positive numbers, joined by commas or spaces"
        raise ArgumentError(must(option, be, text, f"{part!r} is none", f"--{option} 1e-3,1e-2"))
    return rate
