"""Is the full batch best for small data; are 32 to 256 the sweet spot: which size ends with the lowest loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ladle.report.rules.finding import Answer
from ladle.report.rules.rows import Row, as_sentence, data_rows, rows_with, seed_range, seen

SMALL_ROWS = 2000
SWEET = (32, 256)


def small_full(compare: Mapping[str, Any]) -> Answer:
    """Holds where the full batch ends with a lower validation loss than every other size, beyond the seeds' range."""
    count = data_rows(compare)
    if count is None:
        return "not resolved", "The comparison does not say how many training examples there are."
    if count > SMALL_ROWS:
        return "not resolved", f"The rule is about at most {SMALL_ROWS:,} examples; this training set has {count:,}."
    rows = rows_with(compare, "valid_loss")
    full = [row for row in rows if row["size"] >= count]
    return _best_of(full, [row for row in rows if row["size"] < count], "the full batch", "a mini-batch")


def sweet_spot(compare: Mapping[str, Any]) -> Answer:
    """Holds where the best size inside the interval has less validation loss than the best outside, seeds apart."""
    rows = rows_with(compare, "valid_loss")
    inside = [row for row in rows if SWEET[0] <= row["size"] <= SWEET[1]]
    outside = [row for row in rows if not SWEET[0] <= row["size"] <= SWEET[1]]
    return _best_of(inside, outside, f"a size from {SWEET[0]} to {SWEET[1]}", "a size outside")


def _best_of(ours: Sequence[Row], others: Sequence[Row], we: str, they: str) -> Answer:
    if not ours or not others:
        return "not resolved", f"The comparison has no run with {they if ours else we} to set against the rest."
    mine, best = (min(rows, key=lambda row: row["valid_loss"]) for rows in (ours, others))
    told = (
        f"validation loss {seen(mine, 'valid_loss')} with {we} (size {mine['size']:,}), "
        f"{seen(best, 'valid_loss')} with {they} (size {best['size']:,})."
    )
    one, other = seed_range(mine, "valid_loss"), seed_range(best, "valid_loss")
    if one is None or other is None:
        return "not resolved", f"One seed does not tell a difference from chance: {told}"
    if one[1] < other[0]:
        return "holds", as_sentence(told)
    if other[1] < one[0]:
        return "does not", as_sentence(told)
    return "not resolved", f"The seeds' ranges touch: {told}"
