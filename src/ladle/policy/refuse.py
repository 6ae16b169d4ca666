"""Numbers and tables that no policy can have are refused in one sentence, before a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count


def require_between(name: str, value: Any, low: float, high: float, *, why: str, above: bool = False) -> None:
    """Refuse a number outside [low, high], or (low, high] if `above`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high or (above and value == low):
        be = f"be above {low:g} and at most {high:g}" if above else f"lie in {low:g} to {high:g}"
        raise ArgumentError(must(name, be, value, why, f"{name}={min(high, max(2 * low, 0.5)):g}"))


def require_growth(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and 1.01 <= value <= 1000):
        raise ArgumentError(
            must(name, "be a number from 1.01 to 1000", value, "the batch grows step by step", f"{name}=2")
        )


def require_at_least(name: str, value: int, least_name: str, least: int) -> None:
    if require_count(name, value) < least:
        raise ArgumentError(
            must(name, f"be at least {least_name}={least}", value, "the batch grows", f"{name}={4 * least}")
        )


def require_ascending(name: str, starts: Sequence[int], *, got: object, remedy: str) -> None:
    """Whole numbers, the first one 0, each above the one before."""
    whole = all(hasattr(start, "__index__") and not isinstance(start, bool) for start in starts)
    if not whole or not starts or starts[0] != 0 or any(before >= start for before, start in pairwise(starts)):
        because = "every example needs exactly one size, from the first on"
        raise ArgumentError(must(name, "ascend in whole numbers of examples", got, because, remedy))


def positions(name: str, value: Any, remedy: str) -> tuple[Any, ...]:
    """`value` as a tuple, so that a policy is hashable. Raises `ArgumentError` for one number, or text."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ArgumentError(must(name, "be positions, one behind the other", value, "there may be several", remedy))
    return tuple(value)


def pairs(name: str, value: Any, remedy: str) -> tuple[tuple[Any, Any], ...]:
    """`value` as a tuple of pairs. Raises `ArgumentError` for anything else."""
    listed = positions(name, value, remedy)
    if any(isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2 for pair in listed):
        raise ArgumentError(
            must(name, "be pairs of a position and a size", value, "each size begins somewhere", remedy)
        )
    return tuple((start, size) for start, size in listed)
