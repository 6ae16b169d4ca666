"""Does the variance of the gradient fall as one over the size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ladle.report.rules.finding import Answer
from ladle.report.rules.rows import Row, data_rows, rows_with, seed_range

SLOPE_MARGIN = 0.25


def variance(compare: Mapping[str, Any]) -> Answer:
    """Holds where the slope of log variance against log size is -1 within 0.25, all of its interval.

    Batches drawn without replacement from n examples have variance sigma^2/B (1 - B/n): that factor is divided out,
    and the full batch, which has none, is left out.
    """
    count = data_rows(compare) or math.inf
    rows = [
        row
        for row in rows_with(compare, "gradient_variance")
        if row["gradient_variance"] > 0 and row["size"] < 0.9 * count
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


def _slope(rows: Iterable[Row], count: float) -> tuple[float, float, float]:
    """Least-squares slope of log variance against log size with the seeds' range carried through: low, slope, high.

    slope = sum_i w_i log v_i with w_i = (x_i - mean x) / sum (x - mean x)^2, so half-widths add in quadrature.
    """
    rows = list(rows)
    x = np.log([row["size"] for row in rows])
    y = np.log([row["gradient_variance"] / (1 - row["size"] / count) for row in rows])
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)
    bands = [seed_range(row, "gradient_variance") for row in rows]
    halves = np.array([math.log(b[1] / b[0]) / 2 if b and b[0] > 0 else math.log1p(SLOPE_MARGIN) for b in bands])
    slope, half = float(weights @ y), float(np.sqrt(np.sum((weights * halves) ** 2)))
    return slope - half, slope, slope + half
