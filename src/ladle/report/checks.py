"""Rules of thumb about batch sizes, each held against what this comparison measured.

A verdict is "holds", "does not" or "not resolved". Seeds are the yardstick: two sizes differ only where the ranges
of their seeds do not touch; with one seed nothing about losses is resolved. Which size is best is open as well where
the budget or the rate may have decided, see `ladle.report.rules.reservation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report.late_fall import with_late_falls
from ladle.report.rules.best_size import SMALL_ROWS, SWEET, small_full, sweet_spot
from ladle.report.rules.finding import Finding
from ladle.report.rules.generalisation import generalise
from ladle.report.rules.rate import smaller_rate
from ladle.report.rules.speed import power_of_two, throughput
from ladle.report.rules.variance import variance
from ladle.report.study import Study


def study_findings(study: Study) -> tuple[Finding, ...]:
    """Hold every rule of thumb against a comparison as it was loaded, its runs' evaluations included."""
    return findings(with_late_falls(study))


def findings(compare: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Hold every rule of thumb against `compare`, the content of a compare.json.

    What only the runs' own records know, how far losses still fell at the end, is in the field `late_fall` of its rows;
    without it no size is called better than another. `study_findings` reads it.
    """
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
