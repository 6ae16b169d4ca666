"""The seconds of an update as a line in the batch size, fitted to repeated short probes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.speed import Speed

CROOKED = 0.25
"""Relative gap between the line and a time above which it is no line: a larger one is measured again, then said."""

FLOOR = 0.02
"""Relative error below which no measured time is believed: clocks, other processes, and the line itself."""


@dataclass(frozen=True)
class ThroughputLine:
    """Holds the line that measured times lie on, with its errors: alpha and beta of the formulas.

    - `line`: the line itself. `fixed_sd`, `per_example_sd`: standard errors of its parts. `log_knee_sd`: of log(knee).
    - `points`: `(size, least seconds, least seconds, median)` per measured size: the time, and what it was seen within.
    - `worst`: largest relative gap between the line and a time: how far from straight the machine is.
    """

    line: Speed
    fixed_sd: float
    per_example_sd: float
    log_knee_sd: float
    points: tuple[tuple[int, float, float, float], ...]
    worst: float

    @property
    def straight(self) -> bool:
        """Whether the times lie on a line at all, both of whose parts are above zero.

        What is read off another is no measurement: an update without a cost of its own has no knee, and would make a
        best size of zero.
        """
        return self.worst <= CROOKED and self.line.fixed_seconds > 0 and self.line.per_example_seconds > 0

    @property
    def fault(self) -> str:
        """Why it is not `straight`, in words."""
        if self.worst > CROOKED:
            return f"off by {self.worst:.0%} at worst"
        part = "an update" if self.line.fixed_seconds <= 0 else "an example"
        return f"by it {part} would cost no time of its own"

    def seconds(self, size: float) -> float:
        """Of an update of `size` examples: the line's, or where there is none, between the measured times."""
        return self.line.seconds(size) if self.straight or len(self.points) < 2 else between(self.points, size)


def between(points: tuple[tuple[int, float, float, float], ...], size: float) -> float:
    """Seconds at `size`, on the straight lines from one measured time to the next; beyond the last, along the last.

    Exact for times on a line, and no size is charged what only a much larger one costs. Times that fall with the size
    are disturbances, and are taken to stay.

    >>> between(((1, 2.0, 2.0, 2.0), (5, 6.0, 6.0, 6.0), (9, 30.0, 30.0, 30.0)), 3), between(((1, 2.0, 2.0, 2.0),), 9)
    (4.0, 2.0)
    """
    sizes = np.array([point[0] for point in points], np.float64)
    seconds = np.maximum.accumulate([point[1] for point in points])
    if size <= sizes[-1] or len(points) < 2:
        return float(np.interp(size, sizes, seconds))
    slope = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
    return float(seconds[-1] + slope * (size - sizes[-1]))


def fit_throughput(samples: Mapping[int, Any]) -> ThroughputLine:
    """The line through `{size: f64[repeats] seconds}`.

    The least time of each size, because a busy machine only ever adds time. Least squares in relative errors, the same
    for all sizes, so that none loses its say where it was disturbed: 2 %, or what the second least times are above the
    least ones (root mean square over the sizes), for both fall towards the true time together; widened where the line
    misses the times by more. Neither part is allowed below zero.

    Raises `ArgumentError` for fewer than two sizes or a time that is not positive.

    >>> round(fit_throughput({1: [0.0201], 100: [0.03], 1000: [0.12]}).line.knee, 3)
    200.0
    """
    if len(samples) < 2:
        raise ArgumentError(
            must("sizes", "hold two or more", list(samples), "a line needs two points", "sizes=[1, 64]")
        )
    sizes = np.array(sorted(samples), np.float64)
    groups = [np.asarray(samples[int(size)], np.float64).ravel() for size in sizes]
    if any(len(group) == 0 or not (np.isfinite(group) & (group > 0)).all() for group in groups):
        raise ArgumentError(must("seconds", "be positive", samples, "they are measured times", "more repeats"))
    least, middle = (np.array([np.quantile(group, share) for group in groups]) for share in (0.0, 0.5))
    above = np.array([np.partition(group, 1)[1] / group.min() - 1 if len(group) > 1 else 0.0 for group in groups])
    error = max(float(np.sqrt(np.mean(above**2))), FLOOR)
    line, covariance = _fit(sizes, least, error * least)
    points = tuple((int(s), float(a), float(a), float(b)) for s, a, b in zip(sizes, least, middle, strict=True))
    worst = float(np.abs(np.array([line.seconds(size) for size in sizes]) / least - 1).max())
    sd = np.sqrt(np.diag(covariance))
    return ThroughputLine(line, float(sd[0]), float(sd[1]), _log_sd(line, covariance), points, worst)


def _fit(sizes: np.ndarray, seconds: np.ndarray, errors: np.ndarray) -> tuple[Speed, np.ndarray]:
    """Weighted least squares of seconds = alpha + beta * sizes with alpha, beta >= 0, and the covariance."""
    columns = np.stack([np.ones_like(sizes), sizes], axis=1) / errors[:, None]
    values = seconds / errors
    inverse = np.linalg.inv(columns.T @ columns)
    alpha, beta = inverse @ columns.T @ values
    if alpha < 0:
        alpha, beta = 0.0, float(columns[:, 1] @ values / (columns[:, 1] @ columns[:, 1]))
    elif beta < 0:
        alpha, beta = float(columns[:, 0] @ values / (columns[:, 0] @ columns[:, 0])), 0.0
    misfit = float(((values - columns @ (alpha, beta)) ** 2).sum()) / max(len(sizes) - 2, 1)
    return Speed(float(alpha), float(beta)), inverse * max(misfit, 1.0)


def _log_sd(line: Speed, covariance: np.ndarray) -> float:
    """Standard error of log(alpha / beta), the knee, by the delta method."""
    alpha, beta = line.fixed_seconds, line.per_example_seconds
    if alpha <= 0 or beta <= 0:
        return math.inf
    slope = np.array([1 / alpha, -1 / beta])
    return math.sqrt(float(slope @ covariance @ slope))
