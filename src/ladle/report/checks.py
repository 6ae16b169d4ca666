"""Rules of thumb about batch sizes, each held against what this comparison measured.

A verdict is "holds", "does not" or "not resolved". Seeds are the yardstick: two sizes differ only where the ranges
of their seeds do not touch; with one seed nothing about losses is resolved. All functions are pure functions of the
content of `compare.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report.rules.best_size import SMALL_ROWS, SWEET, small_full, sweet_spot
from ladle.report.rules.finding import Finding
from ladle.report.rules.generalisation import generalise
from ladle.report.rules.rate import smaller_rate
from ladle.report.rules.speed import power_of_two, throughput
from ladle.report.rules.variance import variance


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
