"""Is the full batch best for small data; are 32 to 256 the sweet spot: which size ends with the lowest loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ladle.report.rules.finding import Answer
from ladle.report.rules.reservation import reservations
from ladle.report.rules.rows import Row, as_sentence, data_rows, rows_with, seed_range, seen

SMALL_ROWS = 2000
SWEET = (32, 256)


def small_full(compare: Mapping[str, Any]) -> Answer:
    """Hold "use the full batch for small data" against `compare`.

    Holds where the full batch ends with a lower validation loss than every other size, beyond the seeds' range, and
    neither budget nor rate may have decided that: see `ladle.report.rules.reservation`.
    """
    count = data_rows(compare)
    if count is None:
        return "not resolved", "The comparison does not say how many training examples there are."
    if count > SMALL_ROWS:
        return "not resolved", f"The rule is about at most {SMALL_ROWS:,} examples; this training set has {count:,}."
    rows = rows_with(compare, "valid_loss")
    full = Side("the full batch", [row for row in rows if row["size"] >= count])
    mini = Side("a mini-batch", [row for row in rows if row["size"] < count])
    return _better(full, mini, compare)


def sweet_spot(compare: Mapping[str, Any]) -> Answer:
    """Hold "32 to 256 are the sweet spot" against `compare`.

    Holds where the best size inside the interval has less validation loss than the best outside, beyond the seeds'
    range, and neither budget nor rate may have decided that: see `ladle.report.rules.reservation`.
    """
    rows = rows_with(compare, "valid_loss")
    inside = [row for row in rows if SWEET[0] <= row["size"] <= SWEET[1]]
    outside = [row for row in rows if not SWEET[0] <= row["size"] <= SWEET[1]]
    return _better(Side(f"a size from {SWEET[0]} to {SWEET[1]}", inside), Side("a size outside", outside), compare)


@dataclass(frozen=True)
class Side:
    """The sizes that a rule is for, or those that it is against: what they are called, and their rows."""

    name: str
    rows: Sequence[Row]

    @property
    def best(self) -> Row:
        """The row with the lowest validation loss."""
        return min(self.rows, key=lambda row: row["valid_loss"])

    def told(self) -> str:
        return f"{seen(self.best, 'valid_loss')} with {self.name} (size {self.best['size']:,})"


def _better(ours: Side, others: Side, compare: Mapping[str, Any]) -> Answer:
    """Whether the best of `ours` is better than the best of `others`: seeds first, then what else may have decided."""
    if not ours.rows or not others.rows:
        lacking = others.name if ours.rows else ours.name
        return "not resolved", f"The comparison has no run with {lacking} to set against the rest."
    told = f"validation loss {ours.told()}, {others.told()}."
    one, other = seed_range(ours.best, "valid_loss"), seed_range(others.best, "valid_loss")
    if one is None or other is None:
        return "not resolved", f"One seed does not tell a difference from chance: {told}"
    if one[1] >= other[0] and other[1] >= one[0]:
        return "not resolved", f"The seeds' ranges touch: {told}"
    ahead = one[1] < other[0]
    winner, loser = (ours, others) if ahead else (others, ours)
    if open_points := reservations(loser.rows, winner.best["valid_loss"], compare):
        return "not resolved", " ".join([as_sentence(told), *open_points])
    return ("holds" if ahead else "does not"), as_sentence(told)
