"""Which candidate to take: the cheapest of those within one standard error of the best."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from ladle.core.errors import ArgumentError, RunError, must
from ladle.search.row import Row, Score


def best(scores: Sequence[Score], *, higher: bool) -> int:
    """The place of the best mean; the first of equal ones. Raises `ArgumentError` where no mean is finite."""
    sign = -1.0 if higher else 1.0
    known = [i for i, one in enumerate(scores) if math.isfinite(one.mean)]
    if not known:
        why = "every candidate diverged"
        raise ArgumentError(must("lrs", "let some candidate train", "all too high", why, "lower rates"))
    return min(known, key=lambda i: sign * scores[i].mean)


def within_one_standard_error(scores: Sequence[Score], *, higher: bool) -> list[int]:
    """Places of all whose mean is at most one standard error (that of the best) worse than the best mean.

    Source: Breiman, Friedman, Olshen and Stone, "Classification and regression trees", 1984, section 3.4.3.

    >>> within_one_standard_error([Score(0.97, 0.01), Score(0.98, 0.02), Score(0.95, 0.01)], higher=True)
    [0, 1]
    """
    top = scores[best(scores, higher=higher)]
    margin = top.se if math.isfinite(top.se) else 0.0
    sign = 1.0 if higher else -1.0
    return [i for i, one in enumerate(scores) if sign * one.mean >= sign * top.mean - margin]


def judge(rows: Sequence[Row], *, prefer: str, higher: bool) -> tuple[Row, Row]:
    """The best row and the one to take, of those trained to the end: `(best, chosen)`.

    Chosen is, of those within one standard error of the best, one of the cheapest size; of these the best mean, then
    the lowest rate. Raises `ArgumentError` where all diverged, and `RunError` where trials failed and none is left.
    """
    whole = [row for row in rows if row.complete]
    why = next((row.failed for row in rows if row.failed), "")
    if why and not any(math.isfinite(row.score.mean) for row in whole):
        raise RunError(why)
    scores, cost = [row.score for row in whole], costs(whole, prefer)
    sign = -1.0 if higher else 1.0
    near = [whole[i] for i in within_one_standard_error(scores, higher=higher)]
    chosen = min(near, key=lambda row: (cost[row.candidate.size], sign * row.score.mean, row.candidate.lr))
    return whole[best(scores, higher=higher)], chosen


def costs(rows: Sequence[Row], prefer: str) -> dict[int, float]:
    """What a fit of each size costs: "seconds", the median of all its trials, or its "updates".

    A rate is a number that the program is given and changes no cost, so trials of all rates are pooled: what they
    differ in is the clock's noise, which must not choose the rate.
    """
    if prefer == "updates":
        return {row.candidate.size: row.updates for row in rows}
    seconds: dict[int, list[float]] = {}
    for row in rows:
        seconds.setdefault(row.candidate.size, []).extend(one.seconds for one in row.outcomes if not one.failed)
    return {size: statistics.median(of or [math.inf]) for size, of in seconds.items()}
