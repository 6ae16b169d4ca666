"""Time of an update as a line in the batch size: seconds = alpha + beta * size, from repeated short probes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.errors import ArgumentError, must

FLOOR = 0.02
"""Relative error below which no measured time is believed: clocks, other processes, and the line itself."""


@dataclass(frozen=True)
class ThroughputLine:
    """`seconds(size) = fixed_seconds + per_example_seconds * size`: alpha and beta of the planner's formulas.

    - `fixed_sd`, `per_example_sd`: standard errors. `log_knee_sd`: standard error of log(knee).
    - `points`: `(size, median seconds, lower quartile, upper quartile)` per measured size.
    - `worst`: largest relative gap between the line and a median: how far from straight the machine is.
    """

    fixed_seconds: float
    per_example_seconds: float
    fixed_sd: float
    per_example_sd: float
    log_knee_sd: float
    points: tuple[tuple[int, float, float, float], ...]
    worst: float

    @property
    def knee(self) -> float:
        """alpha / beta: the size with half of the largest throughput 1/beta. `inf` where time does not grow."""
        return self.fixed_seconds / self.per_example_seconds if self.per_example_seconds > 0 else math.inf

    def seconds(self, size: float) -> float:
        """Seconds per update at `size`."""
        return self.fixed_seconds + self.per_example_seconds * size


def fit_throughput(samples: Mapping[int, Any]) -> ThroughputLine:
    """The line through `{size: f64[repeats] seconds}`.

    Medians per size, because a busy machine only ever adds time; weighted least squares with the standard error of
    each median (from its quartiles, at least 2 %), so that all sizes count alike; errors widened where the line
    misses the medians by more than their spread. Neither part is allowed below zero.

    Raises `ArgumentError` for fewer than two sizes or a time that is not positive.

    >>> line = fit_throughput({1: [0.0201], 100: [0.03], 1000: [0.12]})
    >>> round(line.knee, 3)
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
    low, middle, high = np.stack([np.quantile(group, (0.25, 0.5, 0.75)) for group in groups], axis=1)
    counts = np.array([len(group) for group in groups])
    errors = np.maximum((high - low) / 1.349 * 1.253 / np.sqrt(counts), FLOOR * middle)
    alpha, beta, covariance = _fit(sizes, middle, errors)
    points = tuple((int(s), float(m), float(a), float(b)) for s, m, a, b in zip(sizes, middle, low, high, strict=True))
    worst = float(np.abs((alpha + beta * sizes) / middle - 1).max())
    sd = np.sqrt(np.diag(covariance))
    return ThroughputLine(alpha, beta, float(sd[0]), float(sd[1]), _log_sd(alpha, beta, covariance), points, worst)


def _fit(sizes: np.ndarray, seconds: np.ndarray, errors: np.ndarray) -> tuple[float, float, np.ndarray]:
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
    return float(alpha), float(beta), inverse * max(misfit, 1.0)


def _log_sd(alpha: float, beta: float, covariance: np.ndarray) -> float:
    """Standard error of log(alpha / beta) by the delta method."""
    if alpha <= 0 or beta <= 0:
        return math.inf
    slope = np.array([1 / alpha, -1 / beta])
    return math.sqrt(float(slope @ covariance @ slope))
