"""The gradient noise scale: how many examples it takes until the noise of a batch gradient equals its signal.

    B_noise = tr(Sigma) / |G|^2        G = E[gradient of one example], Sigma = its covariance

(McCandlish, Kaplan, Amodei and the OpenAI Dota team 2018, arXiv 1812.06162, "simple" noise scale, eq. 2.9.)
Below it, twice the batch nearly halves the number of steps; above it, more examples buy little. Both parts are
estimated without bias from the micro-batches of an update (`pair`), summed (`Moments`), and divided once (`estimate`):
a ratio of averages, never an average of ratios, which is off by factors. |G|^2 is the part that is hard to
measure, so every value comes with an interval and a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Moments

Verdict = Literal["resolved", "lower bound only", "heavy tails", "unresolved"]

TARGET_SPREAD = 0.10
"""Relative standard deviation at which a noise scale counts as well known; sets `examples_needed`."""

PASSED = 3.0
"""Standard errors of |G|^2 above zero that a measurement must show before its size is read at all."""

WIDEST = 6.0
"""The upper end of a resolved noise scale, in its values: a wider interval says little more than a lower bound."""

UNSTEADY = 0.10
"""Relative standard error of tr(Sigma) above which few updates hold most of it. Normal gradients are below it from
8 updates of 16 micro-batches on, whatever their dimension from two up; those of log-normal norms (sigma 2) never."""


@dataclass(frozen=True)
class NoiseScale:
    """The gradient noise scale in examples, with its confidence interval and an honest verdict.

    - `value`: ratio of averages; `inf` where the measured |G|^2 is not positive.
    - `low`, `high`: confidence interval. "resolved": both ends are finite. "lower bound only": |G|^2 cannot be told
      from zero surely enough, so `high` is `inf` and all that is known is B_noise >= `low`. "heavy tails": a few
      updates hold most of tr(Sigma), whose mean is then mostly too small; `high` is `inf`, and `low` mostly holds.
      "unresolved": nothing is known.
    - `gradient_sq`, `trace`: mean estimates of |G|^2 and tr Sigma. `updates`, `examples`: what is behind them.
    - `examples_needed`: about how many more examples until the relative standard deviation is 10 %; `None` if unknown.

    JSON has no inf and nan: a `None` read back becomes what it was (`high`: inf, `value`: inf or nan by verdict).
    """

    value: float
    low: float
    high: float
    verdict: Verdict
    gradient_sq: float = math.nan
    trace: float = math.nan
    updates: float = 0.0
    examples: float = 0.0
    examples_needed: float | None = None

    def __post_init__(self) -> None:
        value = math.nan if self.verdict == "unresolved" else math.inf
        absent = {"value": value, "low": 0.0, "high": math.inf, "gradient_sq": math.nan, "trace": math.nan}
        for name, default in absent.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)

    @classmethod
    def unknown(cls) -> NoiseScale:
        """Where nothing was measured."""
        return cls(math.nan, 0.0, math.inf, "unresolved")

    @property
    def log_sd(self) -> float:
        """Standard deviation of log(value) that the 95 % interval amounts to; `inf` unless resolved."""
        if self.verdict != "resolved" or not 0 < self.low <= self.high < math.inf:
            return math.inf
        return math.log(self.high / self.low) / (2 * NormalDist().inv_cdf(0.975))


def estimate(
    moments: Moments, *, population: int | None = None, confidence: float = 0.95, guarded: bool = True
) -> NoiseScale:
    """The noise scale from summed pairs: mean(trace) / mean(square), with a confidence interval.

    `population=N`: the examples come from a finite data set of N rows, drawn without replacement, and the gradient
    meant is that of the data set (`Moments.of_population`). Left out, `gradient_sq` estimates the gradient of the
    distribution behind the data, and on a nearly fitted data set it is rightly negative.

    Interval: Fieller's (1954): the ratios r for which mean(trace) - r mean(square) is within t standard errors of
    zero. For a small error of |G|^2 it is the delta-method interval; where |G|^2 cannot be told from zero it is
    one-sided by itself, which the delta method cannot say. t is Student's quantile for `count - 1`.

    Verdict: |G|^2 that came out large by luck makes a noise scale too small, and only large ones are called resolved.
    So the upper end is that of the distribution of |G|^2 given that it is beyond `PASSED` standard errors (`lucky`),
    and the verdict is "resolved" where that end is at most `WIDEST` values. A trace with a relative error above
    `UNSTEADY` has "heavy tails" (or too few updates to tell), and no interval of normal theory holds for it.

    `guarded=False` leaves both guards out: for policies, which decide again and again from faded sums of a gradient
    that moves, where a late answer costs more than a lucky one that the next window corrects.

    Raises `ArgumentError` for a population below 1 or a confidence outside (0, 1).

    >>> noise = estimate(Moments.from_pairs([100.0, 104.0, 96.0], [0.25, 0.26, 0.24], 384))
    >>> noise.verdict, round(noise.value)
    ('resolved', 400)
    """
    if not 0 < confidence < 1:
        raise ArgumentError(must("confidence", "lie between 0 and 1", confidence, "it is a probability", "0.95"))
    if population is not None and population < 1:
        raise ArgumentError(must("population", "be at least 1", population, "it counts rows", "the rows of the data"))
    n = moments.count
    if n < 1:
        return NoiseScale.unknown()
    s, q, var_s, var_q, cov = _means(moments if population is None else moments.of_population(population))
    value = max(s, 0.0) / q if q > 0 else math.inf
    known = {"gradient_sq": q, "trace": s, "updates": n, "examples": moments.examples}
    if n < 2 or not all(map(math.isfinite, (s, q, var_s, var_q, cov))):
        return NoiseScale(value if math.isfinite(value) else math.nan, 0.0, math.inf, "unresolved", **known)
    t = student_t(confidence, n - 1)
    needed = _examples_needed(s, q, var_s, var_q, cov, examples=moments.examples)
    two_sided = fieller(s, q, var_s, var_q, cov, t=t)
    if two_sided and q > 0 and not guarded:
        low, high = two_sided
        return NoiseScale(value, max(low, 0.0), max(high, 0.0), "resolved", **known, examples_needed=needed)
    upper = fieller(s, q, var_s, var_q, cov, t=lucky(q, math.sqrt(var_q), t, confidence)) if two_sided else None
    if two_sided and upper and q > 0 and upper[1] <= WIDEST * value:
        low, steady = max(two_sided[0], 0.0), math.sqrt(var_s) <= UNSTEADY * s
        high, verdict = (max(upper[1], 0.0), "resolved") if steady else (math.inf, "heavy tails")
        return NoiseScale(value, low, high, verdict, **known, examples_needed=needed)
    inverse = fieller(q, s, var_q, var_s, cov, t=t)
    if inverse and s > 0 and inverse[1] > 0:
        return NoiseScale(value, 1 / inverse[1], math.inf, "lower bound only", **known, examples_needed=needed)
    return NoiseScale(math.nan, 0.0, math.inf, "unresolved", **known, examples_needed=needed)


def _means(moments: Moments) -> tuple[float, float, float, float, float]:
    """Means of trace and square, the variances of these means, and their covariance."""
    n = moments.count
    s, q = moments.trace / n, moments.square / n
    scale = 1 / (n * (n - 1)) if n > 1 else math.nan
    var_s = max(moments.trace_sq - n * s * s, 0.0) * scale
    var_q = max(moments.square_sq - n * q * q, 0.0) * scale
    cov = (moments.cross - n * s * q) * scale
    return s, q, var_s, var_q, cov


def _examples_needed(s: float, q: float, var_s: float, var_q: float, cov: float, *, examples: float) -> float | None:
    """More examples of the same kind until the relative sd of s/q is `TARGET_SPREAD`; the variance falls as 1/N."""
    if s <= 0 or q <= 0:
        return None
    relative_var = var_s / s**2 + var_q / q**2 - 2 * cov / (s * q)
    return max(examples * (relative_var / TARGET_SPREAD**2 - 1), 0.0)


def fieller(
    above: float, below: float, var_above: float, var_below: float, cov: float, *, t: float
) -> tuple[float, float] | None:
    """Confidence interval of above/below, both means with the given (co)variances; None where it is unbounded.

    The roots r of (above - r below)^2 = t^2 (var_above - 2 r cov + r^2 var_below). Unbounded when `below` is within
    t standard errors of zero.

    >>> fieller(10.0, 2.0, 0.0, 0.0, 0.0, t=1.96)
    (5.0, 5.0)
    """
    a = below**2 - t**2 * var_below
    if a <= 0:
        return None
    b = above * below - t**2 * cov
    c = above**2 - t**2 * var_above
    root = math.sqrt(max(b * b - a * c, 0.0))
    return (b - root) / a, (b + root) / a


def lucky(mean: float, sd: float, t: float, confidence: float) -> float:
    """Standard errors from a mean down to its lower end, for one that is looked at only beyond `PASSED` of them.

    `t` are those without that condition, Student's. Given Z > c, P(Z > z) = Q(z - m) / Q(c - m) where the truth is m
    and Q the upper tail of the normal distribution; the lower end m solves Q(z - m) = (1 - confidence)/2 Q(c - m).
    Student's t is brought to the normal scale by the ratio of the quantiles. `inf` below `PASSED`.

    >>> round(lucky(10.0, 1.0, 1.96, 0.95), 2), round(lucky(4.5, 1.0, 1.96, 0.95), 2)
    (1.96, 2.84)
    """
    normal = NormalDist()
    unit = t / normal.inv_cdf((1 + confidence) / 2)
    z = mean / (unit * sd) if sd > 0 else math.inf
    if z <= PASSED:
        return math.inf
    if z > PASSED + 10:
        return t

    def excess(m: float) -> float:
        return normal.cdf(m - z) - (1 - confidence) / 2 * normal.cdf(m - PASSED)

    low, high = -z, z
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return unit * (z - low)


def student_t(confidence: float, freedom: float) -> float:
    """Two-sided quantile of Student's t: P(|T| <= t) = confidence.

    Exact for 1 and 2 degrees of freedom; between them log t is taken as linear in 1/freedom (4 % at 95 %), and above
    them it is the expansion 26.7.5 of Abramowitz and Stegun (0.5 % at 95 %).

    >>> round(student_t(0.95, 10), 3)
    2.228
    """
    if freedom <= 2:
        one, two = math.tan(math.pi * confidence / 2), confidence * math.sqrt(2 / (1 - confidence**2))
        share = 2 / max(freedom, 1.0) - 1  # 1 at one degree of freedom, 0 at two
        return one**share * two ** (1 - share)
    z, v = NormalDist().inv_cdf((1 + confidence) / 2), freedom
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / v**power for power, term in enumerate(terms))


def jackknife(blocks: Sequence[Moments]) -> tuple[float, float]:
    """Bias-corrected noise scale and its standard error, leaving out one block of consecutive updates at a time.

    - `blocks`: the moments of stretches of a run, such as its windows: `[Moments.from_sums(line) for line in
      run.metrics]`. Neighbouring updates are alike, so a block should outlast what they share; twenty are plenty.

    A check on `estimate` for updates that depend on those near them (Quenouille 1956, Tukey 1958). It takes blocks for
    independent and alike, so it misses what outlasts a block; its error is no interval, and too small where |G|^2 is
    poorly known or the tails are heavy. `(nan, inf)` where |G|^2 is not positive without one of the blocks: the ratio
    then says nothing.

    Raises `ArgumentError` for fewer than two blocks with an estimate in them.

    >>> value, error = jackknife([Moments.from_pairs([100.0 + x], [0.25 + x / 400], 64) for x in (0, 4, -4)])
    >>> round(value), round(error, 6)
    (400, 0.0)
    """
    table = np.array([(block.trace, block.square) for block in blocks if block.count > 0])
    if len(table) < 2:
        raise ArgumentError(must("blocks", "be at least two", len(table), "one has no spread", "a longer run"))
    total, k = table.sum(0), len(table)
    left = total - table
    if min(left[:, 1].min(), total[1]) <= 0:
        return math.nan, math.inf
    ratios, whole = left[:, 0] / left[:, 1], total[0] / total[1]
    error = math.sqrt((k - 1) / k * float(((ratios - ratios.mean()) ** 2).sum()))
    return float(k * whole - (k - 1) * ratios.mean()), error


def measurement_budget(noise_scale: float, *, effective_dimension: float, spread: float = TARGET_SPREAD) -> float:
    """Examples needed to know |G|^2, and with it the noise scale, to a relative standard deviation `spread`.

    Solves 4 B/(d N) + 2 B^2/(d N^2) = spread^2 for N, with B the noise scale and d = tr(Sigma)^2 / tr(Sigma^2) the
    effective dimension: the variance of |G|^2's estimate from N isotropic Gaussian per-example gradients. So a
    noise scale of B needs more than B examples unless d is large. Infinite for an infinite noise scale.

    >>> round(measurement_budget(400.0, effective_dimension=50))
    3389
    """
    precision = spread**2 * effective_dimension
    return noise_scale * (2 + math.sqrt(4 + 2 * precision)) / precision
