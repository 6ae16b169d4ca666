"""Fits to measured tables "batch size, steps to a target": the hyperbola, a power law, and which of them fits better.

What the published definitions of a critical batch size make of a fit: `critical/definition.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.noise import student_t

Numbers = Sequence[float] | np.ndarray

CONFIDENCE = 0.95

FARTHEST = 1e6
"""A critical size, or an end of its interval, this many times away from the sizes is none: they do not resolve it."""

FEWEST_TO_CHOOSE = 5
"""Points without which AICc cannot compare two models of three numbers each: its n - k - 1 must be positive."""


def fewer_steps(noise: float, old: float, new: float) -> float:
    """Steps to a target at batches of `new` over those at `old`: (1 + noise/new) / (1 + noise/old).

    McCandlish et al. 2018, eq. 2.11, with the noise scale for the critical size.

    >>> round(fewer_steps(800.0, 100, 400), 6)
    0.333333
    """
    return (1 + noise / new) / (1 + noise / old)


@dataclass(frozen=True)
class Hyperbola:
    """S(B) = min_steps + min_examples / B, the trade-off of McCandlish et al. 2018, eq. 2.11.

    `log_sd`: standard errors of (log min_steps, log min_examples), log_cov: their covariance, from the residuals;
    nan for a table of two sizes. `spread`: root mean square of the residuals of log S.
    `interval`: 95 % for `critical`, see `profile` and `widened`; nan for a table of two sizes. A table that shows one
    end only has 0 for the other: min_steps where all sizes scale perfectly, min_examples where none saves a step.
    """

    min_steps: float
    min_examples: float
    log_sd: tuple[float, float]
    log_cov: float
    spread: float
    interval: tuple[float, float] = (math.nan, math.nan)

    def steps(self, size: float) -> float:
        """Steps to the target at `size`."""
        return self.min_steps + self.min_examples / size

    @property
    def critical(self) -> float:
        """E_min / S_min: the size that needs twice the fewest steps and twice the fewest examples.

        inf or 0 where it is so far above or below the sizes (`FARTHEST`) that they do not resolve it.
        """
        return self.min_examples / self.min_steps if self.min_steps > 0 else math.inf


def fit_hyperbola(sizes: Numbers, steps: Numbers) -> Hyperbola:
    """Least squares of log S = log(a + b/B): relative errors count alike. Gauss-Newton in (log a, log b).

    - `sizes`, `steps`: `f64[points]`, at least two different sizes, all positive. Steps that are `inf` (target never
      reached) must be left out by the caller.

    Raises `ArgumentError` otherwise.

    >>> fit = fit_hyperbola([1, 10, 100], [1100.0, 200.0, 110.0])
    >>> round(fit.min_steps), round(fit.critical, 6)
    (100, 10.0)
    """
    b, s = _table(sizes, steps)
    start = np.linalg.lstsq(np.stack([1 / s, 1 / (b * s)], axis=1), np.ones_like(s), rcond=None)[0]
    theta = np.log(np.where(start > 0, start, [s.min() / 2, (s * b).min() / 2]))
    for _ in range(200):
        residual, jacobian = _residual(theta, b, s)
        move = np.linalg.lstsq(jacobian, -residual, rcond=None)[0]
        while (_residual(theta + move, b, s)[0] ** 2).sum() > (residual**2).sum() and np.abs(move).max() > 1e-14:
            move = move / 2
        theta = theta + move
        if np.abs(move).max() < 1e-13:
            break
    residual, jacobian = _residual(theta, b, s)
    free = len(s) - 2
    variance = float((residual**2).sum()) / free if free else math.nan
    covariance = variance * np.linalg.pinv(jacobian.T @ jacobian)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0)) if free else np.full(2, math.nan)
    (least_steps, least_examples), (least, most) = np.exp(theta), np.log(_resolved(b))
    found = Hyperbola(
        float(least_steps) if theta[1] - theta[0] <= most else 0.0,
        float(least_examples) if theta[1] - theta[0] >= least else 0.0,
        (float(sd[0]), float(sd[1])),
        float(covariance[0, 1]),
        math.sqrt(float((residual**2).mean())),
    )
    return replace(found, interval=profile(b, s, found.critical))


def _resolved(sizes: np.ndarray) -> tuple[float, float]:
    return float(sizes.min()) / FARTHEST, float(sizes.max()) * FARTHEST


def profile(
    sizes: np.ndarray, steps: np.ndarray, critical: float, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Interval for the critical size: all `c` with RSS(c) <= RSS(critical) (1 + t^2 / (points - 2)).

    RSS(c) is the residual sum of squares of log S(B) = log a + log(1 + c/B) at the best `a`. Unlike the standard error
    of log c it says by itself where a table bounds one side only: sizes all in the linear regime give (low, inf), sizes
    all beyond it (0, high). t: Student's quantile (Bates and Watts 1988, sec. 6.1). `critical`: of the best fit; 0 and
    inf leave their end open.
    """
    if len(sizes) < 3:
        return math.nan, math.nan

    def misfit(critical: float) -> float:
        return float(np.var(np.log(steps) - np.log1p(critical / sizes)))

    free = len(sizes) - 2
    # Tables that fit to the last digit have a residual of rounding alone.
    least, most = _resolved(sizes)
    begin = min(max(critical, least), most)
    limit = max(misfit(begin), 1e-24) * (1 + student_t(confidence, free) ** 2 / free)
    low = _end(misfit, begin, 0.5, limit, least) if critical > 0 else None
    high = _end(misfit, begin, 2.0, limit, most) if critical < math.inf else None
    return low or 0.0, high or math.inf


def widened(fit: Hyperbola, sizes: Numbers, errors: Numbers, freedom: float) -> Hyperbola:
    """`fit` whose interval also holds what the measured error of each size makes of the critical one.

    Residuals tell the error of all sizes by one number. Small sizes are noisier than large ones and weigh more in the
    critical size, so on a quadratic the interval of `profile` alone held the truth in 90 % of measurements. Here

        d log Bc / d log S_i = g_i        variance = sum_i g_i^2 error_i^2        Bc exp(+- t sd)

    with g from the least squares, and t of as many degrees of freedom as Satterthwaite (1946) gives the sum.

    - `errors`: f64[points], standard errors of log S at `sizes`. `freedom`: degrees of freedom behind each.

    >>> fit = fit_hyperbola([1, 10, 100], [1100.0, 200.0, 110.0])
    >>> [round(end) for end in widened(fit, [1, 10, 100], [0.1, 0.1, 0.1], 2).interval]
    [6, 16]
    """
    b = np.asarray(sizes, np.float64)
    if not 0 < fit.critical < math.inf:
        return fit
    inverse = np.linalg.pinv(_residual(np.log([fit.min_steps, fit.min_examples]), b, np.ones_like(b))[1])
    parts = (inverse[1] - inverse[0]) ** 2 * np.asarray(errors, np.float64) ** 2
    variance = float(parts.sum())
    if not 0 < variance < math.inf:
        return fit
    wide = math.exp(student_t(CONFIDENCE, freedom * variance**2 / float((parts**2).sum())) * math.sqrt(variance))
    ends = (fit.critical / wide, fit.critical * wide)
    return replace(fit, interval=(float(np.fmin(fit.interval[0], ends[0])), float(np.fmax(fit.interval[1], ends[1]))))


def _end(misfit: Callable[[float], float], begin: float, factor: float, limit: float, last: float) -> float | None:
    """Where `misfit` passes `limit`, going from `begin` by `factor` as far as `last`; None where it never does."""
    inside, outside = begin, begin * factor
    while misfit(outside) <= limit:
        inside, outside = outside, outside * factor
        if (outside - last) * (factor - 1) > 0:
            return None
    for _ in range(60):
        middle = math.sqrt(inside * outside)
        inside, outside = (middle, outside) if misfit(middle) <= limit else (inside, middle)
    return math.sqrt(inside * outside)


def _residual(theta: np.ndarray, sizes: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of log S and their derivatives by (log a, log b)."""
    parts = np.exp(theta) * np.stack([np.ones_like(sizes), 1 / sizes], axis=1)
    total = parts.sum(1)
    return np.log(total) - np.log(steps), parts / total[:, None]


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * x^exponent; `exponent_sd` is its standard error, `spread` the rms residual of log y."""

    factor: float
    exponent: float
    exponent_sd: float
    spread: float

    def __call__(self, x: float) -> float:
        return self.factor * x**self.exponent


def fit_power_law(x: Numbers, y: Numbers) -> PowerLaw:
    """Straight line of log y against log x by least squares.

    >>> law = fit_power_law([1, 4, 16], [3.0, 6.0, 12.0])
    >>> round(law.factor, 6), round(law.exponent, 6)
    (3.0, 0.5)
    """
    a, b = _table(x, y)
    u, v = np.log(a), np.log(b)
    centred = u - u.mean()
    exponent = float(centred @ v / (centred @ centred))
    residual = v - v.mean() - exponent * centred
    free = len(u) - 2
    sd = math.sqrt(float((residual**2).sum()) / free / float(centred @ centred)) if free else math.nan
    factor = math.exp(float(v.mean() - exponent * u.mean()))
    return PowerLaw(factor, exponent, sd, math.sqrt(float((residual**2).mean())))


@dataclass(frozen=True)
class Rivals:
    """Two models of one table. `weight`: Akaike weight of the hyperbola against the power law, 0 .. 1.

    nan of fewer than `FEWEST_TO_CHOOSE` points, which cannot tell; `better` is None then.
    """

    hyperbola: Hyperbola
    power_law: PowerLaw
    weight: float

    @property
    def better(self) -> str | None:
        if math.isnan(self.weight):
            return None
        return "hyperbola" if self.weight >= 0.5 else "power law"


def better_model(sizes: Numbers, steps: Numbers) -> Rivals:
    """Hyperbola or power law S = factor * B^exponent, by AICc.

    AICc = n log(RSS / n) + 2 k + 2 k (k + 1) / (n - k - 1). Both models have k = 3 (two numbers and the spread), so
    the difference is n log(RSS_hyperbola / RSS_power) alone, and the weight 1 / (1 + exp(difference / 2)) (Burnham and
    Anderson 2002).

    Fewer than five points leave n - k - 1 without a meaning, and the choice open. Raises `ArgumentError` for a table of
    fewer than three sizes: both models fit two points exactly.

    >>> better_model([1, 10, 100, 1000, 10000], [1100.0, 200.0, 110.0, 101.0, 100.1]).better
    'hyperbola'
    """
    b, s = _table(sizes, steps)
    if len(np.unique(b)) < 3:
        why = "a hyperbola and a power law both pass through two points"
        raise ArgumentError(must("the table", "hold three or more different sizes", b.tolist(), why, "another size"))
    hyperbola, law = fit_hyperbola(b, s), fit_power_law(b, s)
    if len(b) < FEWEST_TO_CHOOSE:
        return Rivals(hyperbola, law, math.nan)
    exact = 1e-12  # rounding: below it a fit cannot be told from a perfect one
    difference = 2 * len(b) * math.log(max(hyperbola.spread, exact) / max(law.spread, exact))
    return Rivals(hyperbola, law, 1 / (1 + math.exp(min(difference / 2, 700.0))))


def _table(x: Numbers, y: Numbers) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    good = len(a) == len(b) and (a > 0).all() and (b > 0).all() and np.isfinite(a).all() and np.isfinite(b).all()
    if not good or len(np.unique(a)) < 2:
        raise ArgumentError(
            must(
                "the table",
                "hold two or more different sizes, each with a positive finite value",
                list(zip(a.tolist(), b.tolist(), strict=False)),
                "the fit works on logarithms",
                "leaving out sizes that never reached the target",
            )
        )
    return a, b
