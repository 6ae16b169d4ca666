"""What else than its size may have decided against a size: its budget or its learning rate.

A size that ended with the higher loss is beaten *by its size* only if

    its budget was enough     at the end of its runs (see `ladle.report.late_fall`) its validation loss fell by no more
                              than its seeds are apart, and so little that as much budget again at that pace would not
                              close the gap to the best: fall <= seeds' range and 4 fall < gap. A run without an
                              evaluation before its last quarter cannot show it
    its rate was the best     it was searched for at that size, and the best of the sweep lies inside the sweep: a best
                              at the border says that a better one may lie beyond; a rate that a rule moved says nothing

Where either is missing the question stays open. A size that ended with the lower loss needs neither: more budget and
a better rate would only put it further ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ladle.report import numbers
from ladle.report.late_fall import FIELD, LATE
from ladle.report.rules.rows import Row, seed_range

MOST = 3
"""So many sizes are named; the others are counted."""


def reservations(losers: Sequence[Row], best_loss: float, compare: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in one sentence each how the budget, and how the rate, may have decided against `losers`; none if neither.

    - `best_loss`: the validation loss that beat them.

    >>> row = {"size": 8, "valid_loss": 0.5, "late_fall": 0.0, "lr": 0.1}
    >>> reservations([{**row, "lr_sweep": [[0.01, 3], [0.1, 1], [1.0, 2]]}], 0.2, {})
    ()
    >>> reservations([row], 0.2, {"lr": "linear rule from batches of 64"})
    ('The rate may have decided: 0.1 at size 8 was not searched for (linear rule from batches of 64).',)
    """
    return (*_budget(losers, best_loss, compare), *_rate(losers, compare))


def _budget(losers: Sequence[Row], best_loss: float, compare: Mapping[str, Any]) -> Iterator[str]:
    """Sizes whose loss still fell, and those of which nobody can tell."""
    whole = str(compare.get("budget") or "").removesuffix(" each") or "its run"
    falling = [row for row in losers if numbers.finite(row.get(FIELD)) and _still_falls(row, best_loss)]
    if falling:
        told = [
            f"{numbers.loss(row[FIELD])} at size {row['size']:,} ({numbers.count(row.get('updates'))} updates, seeds "
            f"{numbers.loss(_width(row))} apart, {numbers.loss(row['valid_loss'] - best_loss)} behind)"
            for row in falling
        ]
        yield f"The budget may have decided: at the end of {whole} the loss still fell, by {_joined(told)}."
    unseen = [f"size {row['size']:,}" for row in losers if not numbers.finite(row.get(FIELD))]
    if unseen:
        yield f"The budget may have decided: no evaluation shows whether the loss still fell at {_joined(unseen)}."


def _rate(losers: Sequence[Row], compare: Mapping[str, Any]) -> Iterator[str]:
    """Sizes whose rate was never searched for, and those whose best was a border of the sweep."""
    unsearched = [_shown_rate(row) for row in losers if not _swept(row)]
    if unsearched:
        rule = f" ({compare['lr']})" if compare.get("lr") else ""
        were = "was" if len(unsearched) == 1 else "were"
        yield f"The rate may have decided: {_joined(unsearched)} {were} not searched for{rule}."
    border = [f"{_shown_rate(row)} is the {side} of its sweep" for row in losers if (side := _border(row))]
    if border:
        yield f"The rate may have decided: {_joined(border)}."


def _still_falls(row: Row, best_loss: float) -> bool:
    """Whether the end of the runs fell by more than seeds are apart, or as much budget again would close the gap."""
    fall = float(row[FIELD])
    return fall > _width(row) or (fall > 0 and fall / LATE >= row["valid_loss"] - best_loss)


def _width(row: Row) -> float:
    """The range of the seeds' final losses; 0 for one seed."""
    low, high = seed_range(row, "valid_loss") or (0.0, 0.0)
    return high - low


def _swept(row: Row) -> list[float]:
    """The rates that were tried at this size, ascending; none where it has no rate of its own."""
    tried = [pair[0] for pair in row.get("lr_sweep") or () if numbers.finite(pair[0])]
    return sorted(tried) if numbers.finite(row.get("lr")) else []


def _border(row: Row) -> str:
    """Which end of its sweep the rate is; "" for neither."""
    rates = _swept(row)
    if not rates or rates[0] < row["lr"] < rates[-1]:
        return ""
    return "lowest" if row["lr"] <= rates[0] else "highest"


def _shown_rate(row: Row) -> str:
    rate = row.get("lr")
    return f"{numbers.short(rate) if numbers.finite(rate) else 'that'} at size {row['size']:,}"


def _joined(words: Sequence[str]) -> str:
    more = len(words) - MOST
    return ", ".join([*words[:MOST], *([f"and {more} more"] if more > 0 else [])])
