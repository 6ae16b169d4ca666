"""Rules of thumb about batch sizes, each held against what this comparison measured.

A verdict is "holds", "does not" or "not resolved". Seeds are the yardstick: two sizes differ only where the ranges
of their seeds do not touch; with one seed nothing about losses is resolved. All functions are pure functions of the
content of `compare.json`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np

from ladle.report import numbers

Verdict = Literal["holds", "does not", "not resolved"]
Row = Mapping[str, Any]
Band = tuple[float, float]
Answer = tuple[Verdict, str]
Order = Literal["lower", "higher", "mixed", "unclear"]

SMALL_ROWS = 2000
SWEET = (32, 256)
SPEED_MARGIN = 0.05
SLOPE_MARGIN = 0.25


@dataclass(frozen=True)
class Finding:
    """`code` for programs, `title` the rule of thumb, `verdict`, and one sentence with this comparison's numbers."""

    code: str
    title: str
    verdict: Verdict
    sentence: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def findings(compare: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Every rule of thumb against `compare`, the content of a `compare.json`."""
    return tuple(
        Finding(code, title, *check(compare))
        for code, title, check in (
            ("small-full", f"With a small data set (up to {SMALL_ROWS:,} examples), use the full batch", small_full),
            ("sweet-spot", f"Batch sizes from {SWEET[0]} to {SWEET[1]} are the sweet spot", sweet_spot),
            ("power-of-two", "Powers of two are faster", power_of_two),
            ("smaller-rate", "A smaller batch wants a smaller learning rate", smaller_rate),
            ("generalise", "Smaller batches generalise better", generalise),
            ("throughput", "Larger batches process more examples per second", throughput),
            ("variance", "The variance of the gradient falls as 1/size", variance),
        )
    )


def small_full(compare: Mapping[str, Any]) -> Answer:
    """Holds where the full batch ends with a lower validation loss than every other size, beyond the seeds' range."""
    count = _data_rows(compare)
    if count is None:
        return "not resolved", "The comparison does not say how many training examples there are."
    if count > SMALL_ROWS:
        return "not resolved", f"The rule is about at most {SMALL_ROWS:,} examples; this training set has {count:,}."
    rows = _rows(compare, "valid_loss")
    full = [row for row in rows if row["size"] >= count]
    return _best_of(full, [row for row in rows if row["size"] < count], "the full batch", "a mini-batch")


def sweet_spot(compare: Mapping[str, Any]) -> Answer:
    """Holds where the best size inside the interval has less validation loss than the best outside, seeds apart."""
    rows = _rows(compare, "valid_loss")
    inside = [row for row in rows if SWEET[0] <= row["size"] <= SWEET[1]]
    outside = [row for row in rows if not SWEET[0] <= row["size"] <= SWEET[1]]
    return _best_of(inside, outside, f"a size from {SWEET[0]} to {SWEET[1]}", "a size outside")


def power_of_two(compare: Mapping[str, Any]) -> Answer:
    """Holds where a size between two powers of two is slower than their trend (log-log line through the two).

    Speeds closer than 5 % on both ends count as equal, and then the rule does not hold.
    """
    rows = _rows(compare, "examples_per_second")
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


def smaller_rate(compare: Mapping[str, Any]) -> Answer:
    """Holds where the swept rate never falls as the size grows, and is higher at the largest than at the smallest."""
    if "sweep" not in str(compare.get("lr") or "").lower():
        return "not resolved", "Each rate was derived or given, not searched for; --lr sweep would tell."
    rows = [row for row in _rows(compare, "lr") if row["lr"] > 0]
    if len(rows) < 2:
        return "not resolved", "Fewer than two sizes have a swept rate."
    rates = [float(row["lr"]) for row in rows]
    told = "best rates " + ", ".join(f"{numbers.short(row['lr'])} at size {row['size']:,}" for row in rows) + "."
    if all(a == b for a, b in pairwise(rates)):
        return "not resolved", f"The sweep chose the same rate everywhere: {told}"
    if all(a <= b for a, b in pairwise(rates)):
        return "holds", _sentence(told)
    if rates[0] >= rates[-1]:
        return "does not", _sentence(told)
    return "not resolved", f"The rate rises from smallest to largest size, but not steadily: {told}"


def generalise(compare: Mapping[str, Any]) -> Answer:
    """Holds where smaller sizes have lower validation loss *and* a lower gap (validation minus training loss).

    A lower validation loss with a gap that is not lower is faster fitting, not better generalisation.
    """
    rows = _rows(compare, "valid_loss")
    if len(rows) < 2 or rows[0]["size"] == rows[-1]["size"]:
        return "not resolved", "It takes two sizes that did not diverge."
    if any(_seeds(row, "valid_loss") is None for row in rows):
        return "not resolved", "One seed does not tell a difference from chance; --seeds 3 would."
    small, large = rows[0], rows[-1]
    loss, gap = _order(rows, "valid_loss"), _order(rows, "generalisation_gap")
    told = (
        f"validation loss {_seen(small, 'valid_loss')} at size {small['size']:,} and {_seen(large, 'valid_loss')} at "
        f"{large['size']:,}; gap {_seen(small, 'generalisation_gap')} and {_seen(large, 'generalisation_gap')}."
    )
    if loss == "lower" and gap == "lower":
        return "holds", f"Both end lower with smaller batches: {told}"
    if loss == "mixed":
        best = min(rows, key=lambda row: row["valid_loss"])
        return (
            "does not",
            f"The order is not one-way; the best is size {best['size']:,} with {_seen(best, 'valid_loss')}: {told}",
        )
    if loss == "higher" and gap != "lower":
        return "does not", f"A smaller batch ends with a higher validation loss: {told}"
    if loss == "lower":
        return (
            "not resolved",
            f"Smaller batches reach a lower validation loss, but by fitting faster, not by a smaller gap: {told}",
        )
    return "not resolved", f"The sizes are not in one order beyond the seeds' range: {told}"


def throughput(compare: Mapping[str, Any]) -> Answer:
    """Holds where examples per second never fall from a size to the next, and rise from smallest to largest.

    Beyond the seeds' range a fall refutes it; a mean that falls by more than 5 % leaves it open.
    """
    rows = _rows(compare, "examples_per_second")
    if len(rows) < 2 or rows[0]["size"] == rows[-1]["size"]:
        return "not resolved", "It takes two sizes that did not diverge."
    field = "examples_per_second"
    told = ", ".join(f"{numbers.short(row[field])}/s at {row['size']:,}" for row in rows) + "."
    bands = [_speed(row) for row in rows]
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


def variance(compare: Mapping[str, Any]) -> Answer:
    """Holds where the slope of log variance against log size is -1 within 0.25, all of its interval.

    Batches drawn without replacement from n examples have variance sigma^2/B (1 - B/n): that factor is divided out,
    and the full batch, which has none, is left out.
    """
    count = _data_rows(compare) or math.inf
    rows = [
        row for row in _rows(compare, "gradient_variance") if row["gradient_variance"] > 0 and row["size"] < 0.9 * count
    ]
    if len({row["size"] for row in rows}) < 2:
        return "not resolved", "It takes two sizes below the full batch with a measured variance."
    low, slope, high = _slope(rows, count)
    over = f"over sizes {rows[0]['size']:,} to {rows[-1]['size']:,}, each at the parameters that its runs ended with"
    told = f"variance goes as size^{slope:.2f} ({low:.2f} to {high:.2f}) {over}; within {SLOPE_MARGIN} of -1 holds."
    if low >= -1 - SLOPE_MARGIN and high <= -1 + SLOPE_MARGIN:
        return "holds", f"The {told}"
    if high < -1 - SLOPE_MARGIN or low > -1 + SLOPE_MARGIN:
        return "does not", f"The {told}"
    return "not resolved", f"The {told}"


def _data_rows(compare: Mapping[str, Any]) -> int | None:
    rows = (compare.get("data") or {}).get("rows")
    return int(rows) if numbers.finite(rows) else None


def _rows(compare: Mapping[str, Any], field: str) -> list[Row]:
    """Runs with a finite `field` that did not diverge, by size. The same runs under a second name count once."""
    runs, seen = [], set()
    for row in compare.get("runs") or ():
        folders = tuple(row.get("folders") or ())
        if not row.get("diverged") and (not folders or folders not in seen):
            runs.append(row)
        seen.add(folders)
    known = [row for row in runs if numbers.finite(row.get(field)) and numbers.finite(row.get("size"))]
    return sorted(known, key=lambda row: row["size"])


def _seeds(row: Row, field: str) -> Band | None:
    """Lowest and highest seed, or None where fewer than two seeds ran."""
    band = (row.get("spread") or {}).get(field)
    if band is None or (row.get("seed_count") or 1) < 2 or not all(numbers.finite(end) for end in band):
        return None
    return float(band[0]), float(band[1])


def _speed(row: Row) -> Band:
    """Speed is an average over many updates: where one seed ran it is good to a few per cent, not unknown."""
    value = float(row["examples_per_second"])
    low, high = _seeds(row, "examples_per_second") or (value, value)
    return min(low, value * (1 - SPEED_MARGIN)), max(high, value * (1 + SPEED_MARGIN))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _seen(row: Row, field: str) -> str:
    band = _seeds(row, field)
    text = numbers.loss(row.get(field))
    return f"{text} ({numbers.loss(band[0])} to {numbers.loss(band[1])})" if band else text


def _best_of(ours: Sequence[Row], others: Sequence[Row], we: str, they: str) -> Answer:
    if not ours or not others:
        return "not resolved", f"The comparison has no run with {they if ours else we} to set against the rest."
    mine, best = (min(rows, key=lambda row: row["valid_loss"]) for rows in (ours, others))
    told = (
        f"validation loss {_seen(mine, 'valid_loss')} with {we} (size {mine['size']:,}), "
        f"{_seen(best, 'valid_loss')} with {they} (size {best['size']:,})."
    )
    one, other = _seeds(mine, "valid_loss"), _seeds(best, "valid_loss")
    if one is None or other is None:
        return "not resolved", f"One seed does not tell a difference from chance: {told}"
    if one[1] < other[0]:
        return "holds", _sentence(told)
    if other[1] < one[0]:
        return "does not", _sentence(told)
    return "not resolved", f"The seeds' ranges touch: {told}"


def _order(rows: Sequence[Row], field: str) -> Order:
    """What happens to `field` as sizes get smaller, counting only differences beyond the seeds' range.

    "lower" or "higher": the ends differ so and no pair of sizes says the contrary. "mixed": some pairs say one, some
    the other. "unclear": the rest.
    """
    if {"lower", "higher"} <= {_difference(small, large, field) for small, large in combinations(rows, 2)}:
        return "mixed"
    return _difference(rows[0], rows[-1], field)


def _difference(small: Row, large: Row, field: str) -> Order:
    one, other = _seeds(small, field), _seeds(large, field)
    if one is None or other is None or small["size"] == large["size"]:
        return "unclear"
    if one[1] < other[0]:
        return "lower"
    return "higher" if other[1] < one[0] else "unclear"


def _off_trend(row: Row, below: Row, above: Row) -> Answer:
    """Whether `row` is slower than the log-log line between its two neighbours says."""
    share = math.log(row["size"] / below["size"]) / math.log(above["size"] / below["size"])
    expected = tuple(
        math.exp((1 - share) * math.log(low) + share * math.log(high))
        for low, high in zip(_speed(below), _speed(above), strict=True)
    )
    field, (low, high) = "examples_per_second", _speed(row)
    middle = math.exp((1 - share) * math.log(below[field]) + share * math.log(above[field]))
    told = (
        f"size {row['size']:,} runs at {numbers.short(row[field])}/s, the trend between {below['size']:,} and "
        f"{above['size']:,} says {numbers.short(middle)}/s."
    )
    if high < expected[0]:
        return "holds", _sentence(told)
    if row[field] >= middle * (1 - SPEED_MARGIN) and low >= middle * (1 - 2 * SPEED_MARGIN):
        return "does not", _sentence(told)
    return "not resolved", _sentence(told)


def _is_power(size: int) -> bool:
    return size > 0 and size & (size - 1) == 0


def _slope(rows: Iterable[Row], count: float) -> tuple[float, float, float]:
    """Least-squares slope of log variance against log size with the seeds' range carried through: low, slope, high.

    slope = sum_i w_i log v_i with w_i = (x_i - mean x) / sum (x - mean x)^2, so half-widths add in quadrature.
    """
    rows = list(rows)
    x = np.log([row["size"] for row in rows])
    y = np.log([row["gradient_variance"] / (1 - row["size"] / count) for row in rows])
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    bands = [_seeds(row, "gradient_variance") for row in rows]
    halves = np.array([math.log(b[1] / b[0]) / 2 if b and b[0] > 0 else math.log1p(SLOPE_MARGIN) for b in bands])
    slope, half = float(weights @ y), float(np.sqrt(np.sum((weights * halves) ** 2)))
    return slope - half, slope, slope + half
