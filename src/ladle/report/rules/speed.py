"""Are powers of two faster; do larger batches process more examples per second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ladle.report import numbers
from ladle.report.rules.finding import Answer
from ladle.report.rules.rows import SPEED_MARGIN, Row, as_sentence, rows_with, speed_range

TOGETHER = "Workers trained the runs beside each other: their speeds are not those of one run alone."


def power_of_two(compare: Mapping[str, Any]) -> Answer:
    """Holds where a size between two powers of two is slower than their trend (log-log line through the two).

    Speeds closer than 5 % on both ends count as equal, and then the rule does not hold.
    """
    if compare.get("workers"):
        return "not resolved", TOGETHER
    rows = rows_with(compare, "examples_per_second")
    powers = [row for row in rows if _is_power(row["size"])]
    verdicts: list[Answer] = []
    for row in rows:
        below = [p for p in powers if row["size"] / 2 <= p["size"] < row["size"]]
        above = [p for p in powers if row["size"] < p["size"] <= row["size"] * 2]
        if not _is_power(row["size"]) and below and above:
            verdicts.append(_off_trend(row, below[-1], above[0]))
    if not verdicts:
        return "not resolved", "No size lies close between two powers of two; sizes 64,96,128 would tell."
    return min(verdicts, key=lambda answer: ("does not", "holds", "not resolved").index(answer[0]))


def throughput(compare: Mapping[str, Any]) -> Answer:
    """Holds where examples per second never fall from a size to the next, and rise from smallest to largest.

    Beyond the seeds' range a fall refutes it; a mean that falls by more than 5 % leaves it open.
    """
    if compare.get("workers"):
        return "not resolved", TOGETHER
    rows = rows_with(compare, "examples_per_second")
    if len(rows) < 2 or rows[0]["size"] == rows[-1]["size"]:
        return "not resolved", "It takes two sizes that did not diverge."
    field = "examples_per_second"
    told = ", ".join(f"{numbers.short(row[field])}/s at {row['size']:,}" for row in rows) + "."
    bands = [speed_range(row) for row in rows]
    drops = [
        (a, b) for (a, x), (b, y) in pairwise(zip(rows, bands, strict=True)) if y[1] < x[0] and a["size"] < b["size"]
    ]
    if drops:
        small, large = drops[0]
        share = 1 - large[field] / small[field]
        return "does not", f"Size {large['size']:,} is {share:.0%} slower than {small['size']:,}: {told}"
    falls = [(a, b) for a, b in pairwise(rows) if b[field] < (1 - SPEED_MARGIN) * a[field] and a["size"] < b["size"]]
    if falls:
        small, large = falls[0]
        share = 1 - large[field] / small[field]
        seen = f"Size {large['size']:,} is {share:.0%} slower than {small['size']:,} on average"
        return "not resolved", f"{seen}, and the seeds' ranges touch: {told}"
    if bands[-1][0] > bands[0][1]:
        return "holds", f"{rows[-1][field] / rows[0][field]:.3g} times from smallest to largest: {told}"
    return "not resolved", f"The speeds are equal within their spread: {told}"


def _off_trend(row: Row, below: Row, above: Row) -> Answer:
    """Whether `row` is slower than the log-log line between its two neighbours says."""
    share = math.log(row["size"] / below["size"]) / math.log(above["size"] / below["size"])
    expected = tuple(
        math.exp((1 - share) * math.log(low) + share * math.log(high))
        for low, high in zip(speed_range(below), speed_range(above), strict=True)
    )
    field, (low, high) = "examples_per_second", speed_range(row)
    middle = math.exp((1 - share) * math.log(below[field]) + share * math.log(above[field]))
    told = (
        f"size {row['size']:,} runs at {numbers.short(row[field])}/s, the trend between {below['size']:,} and "
        f"{above['size']:,} says {numbers.short(middle)}/s."
    )
    if high < expected[0]:
        return "holds", as_sentence(told)
    if row[field] >= middle * (1 - SPEED_MARGIN) and low >= middle * (1 - 2 * SPEED_MARGIN):
        return "does not", as_sentence(told)
    return "not resolved", as_sentence(told)


def _is_power(size: int) -> bool:
    return size > 0 and size & (size - 1) == 0
