"""Do smaller batches generalise better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal

from ladle.report.rules.finding import Answer
from ladle.report.rules.rows import Row, rows_with, seed_range, seen

Order = Literal["lower", "higher", "mixed", "unclear"]


def generalise(compare: Mapping[str, Any]) -> Answer:
    """Holds where smaller sizes have lower validation loss *and* a lower gap (validation minus training loss).

    A lower validation loss with a gap that is not lower is faster fitting, not better generalisation.
    """
    rows = rows_with(compare, "valid_loss")
    if len(rows) < 2 or rows[0]["size"] == rows[-1]["size"]:
        return "not resolved", "It takes two sizes that did not diverge."
    if any(seed_range(row, "valid_loss") is None for row in rows):
        return "not resolved", "One seed does not tell a difference from chance; three would."
    small, large = rows[0], rows[-1]
    loss, gap = _order(rows, "valid_loss"), _order(rows, "generalisation_gap")
    told = (
        f"validation loss {seen(small, 'valid_loss')} at size {small['size']:,} and {seen(large, 'valid_loss')} at "
        f"{large['size']:,}; gap {seen(small, 'generalisation_gap')} and {seen(large, 'generalisation_gap')}."
    )
    if loss == "lower" and gap == "lower":
        return "holds", f"Both end lower with smaller batches: {told}"
    if loss == "mixed":
        best = min(rows, key=lambda row: row["valid_loss"])
        return (
            "does not",
            f"The order is not one-way; the best is size {best['size']:,} with {seen(best, 'valid_loss')}: {told}",
        )
    if loss == "higher" and gap != "lower":
        return "does not", f"A smaller batch ends with a higher validation loss: {told}"
    if loss == "lower":
        return (
            "not resolved",
            f"Smaller batches reach a lower validation loss, but by fitting faster, not by a smaller gap: {told}",
        )
    return "not resolved", f"The sizes are not in one order beyond the seeds' range: {told}"


def _order(rows: Sequence[Row], field: str) -> Order:
    """What happens to `field` as sizes get smaller, counting only differences beyond the seeds' range.

    "lower" or "higher": the ends differ so and no pair of sizes says the contrary. "mixed": some pairs say one, some
    the other. "unclear": the rest.
    """
    if {"lower", "higher"} <= {_difference(small, large, field) for small, large in combinations(rows, 2)}:
        return "mixed"
    return _difference(rows[0], rows[-1], field)


def _difference(small: Row, large: Row, field: str) -> Order:
    one, other = seed_range(small, field), seed_range(large, field)
    if one is None or other is None or small["size"] == large["size"]:
        return "unclear"
    if one[1] < other[0]:
        return "lower"
    return "higher" if other[1] < one[0] else "unclear"
