"""Three learning rates tried at the new size: whether the rule's rate holds there. Pure functions of the losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.noise import student_t
from ladle.core.plan import Evidence

STEP = 3.0
"""The rates beside the rule's: a third of it and three times it, about as far as rules disagree over a factor of 8."""

CLEAR = 0.01
"""A rate is better only if its loss is lower by this share, whatever the seeds agree on."""

Verdict = Literal["the rule holds here", "a lower rate was better", "a higher rate was better", "not resolved"]


@dataclass(frozen=True)
class Gap:
    """How much higher the loss is at `rate` than at the rule's: mean over seeds and 95 % interval (Student's t).

    In shares of the loss, 2 (a - b) / (|a| + |b|) for each seed: close to log(a/b) and good for any sign, so that a
    seed that starts from a higher loss counts no more. `inf` where the rate diverged, `-inf` where the rule's rate did.
    """

    rate: float
    mean: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        return self.low > 0


@dataclass(frozen=True)
class RateCheck:
    """What was measured with three rates, ascending, the rule's in the middle.

    - `loss`: mean training loss at the rule's rate. `lower`, `higher`: the gaps of the other two.
    - `seeds`, `examples`: how often, and how many examples each.
    """

    rate: float
    loss: float
    lower: Gap
    higher: Gap
    seeds: int
    examples: int

    @property
    def better(self) -> Gap | None:
        """The neighbour that was clearly better: by at least `CLEAR`, with an interval below zero. None for none."""
        clear = [gap for gap in (self.lower, self.higher) if gap.high < 0 and gap.mean <= -CLEAR]
        return min(clear, key=lambda gap: gap.mean, default=None)

    @property
    def verdict(self) -> Verdict:
        if self.better is not None:
            return "a lower rate was better" if self.better is self.lower else "a higher rate was better"
        return "the rule holds here" if self.lower.worse and self.higher.worse else "not resolved"

    @property
    def best(self) -> float:
        """The rate to use: the rule's, unless another was clearly better."""
        return self.rate if self.better is None else self.better.rate

    def sentence(self) -> str:
        """The verdict with its numbers."""
        where = f"{self.seeds} seeds, {self.examples:,} examples each, training loss of the last third"
        if not any(math.isfinite(x) for x in (self.loss, self.lower.mean, self.higher.mean)):
            return f"Rate check: every rate diverged ({where})."
        base = f"loss {self.loss:.4g} at {self.rate:.3g}" if math.isfinite(self.loss) else f"{self.rate:.3g} diverged"
        return f"Rate check: {self.verdict}: {base}, {_told(self.lower)}, {_told(self.higher)} ({where})."

    def remarks(self) -> tuple[str, ...]:
        """The sentence, and what to make of it."""
        if self.better is None:
            return (self.sentence(),)
        edge = "A short run favours high rates a little, and" if self.better is self.higher else "Rates below it and"
        more = "none above it was tried" if self.better is self.higher else "between were not tried"
        return self.sentence(), f"The rate is {self.best:.3g}, measured, in place of the rule's. {edge} {more}."

    def evidence(self) -> tuple[Evidence, ...]:
        """Loss at the rule's rate and the gaps of the others, those that are numbers; the rate, where it was moved."""
        how = f"{self.seeds} seeds, {self.examples} examples each, last third"
        numbers = [Evidence("loss_at_lr", self.loss, "loss", "measured", f"at {self.rate:.3g}, {how}")]
        for name, gap in (("lower_rate_gap", self.lower), ("higher_rate_gap", self.higher)):
            told = f"relative loss at {gap.rate:.3g} over that at {self.rate:.3g}, paired, {how}"
            numbers.append(Evidence(name, gap.mean, "share", "measured", told, gap.low, gap.high))
        return tuple(number for number in numbers if math.isfinite(number.value))


def rates_around(rate: float) -> tuple[float, float, float]:
    """The rates to try, ascending: `rate` / 3, `rate`, `rate` * 3. Raises `ArgumentError` for one that is not positive.

    >>> [round(r, 6) for r in rates_around(0.003)]
    [0.001, 0.003, 0.009]
    """
    if not 0 < rate < math.inf:
        raise ArgumentError(must("lr", "be a positive number", rate, "a rate of zero learns nothing", "lr=1e-3"))
    return rate / STEP, rate, rate * STEP


def judge(rates: Sequence[float], losses: Sequence[Sequence[float]], *, examples: int) -> RateCheck:
    """The check from its losses.

    - `rates`: three, ascending. `losses`: `[rate][seed]`, at least two seeds; `inf` where a run diverged.

    >>> check = judge((1e-3, 3e-3, 9e-3), [[0.9, 1.0], [0.5, 0.6], [0.8, 0.9]], examples=1000)
    >>> check.verdict, check.best
    ('the rule holds here', 0.003)
    """
    lower, base, higher = (np.asarray(of_seeds, np.float64) for of_seeds in losses)
    if len(base) < 2:
        raise ArgumentError(must("seeds", "be at least 2", len(base), "one run has no spread", "seeds=3"))
    return RateCheck(
        rate=float(rates[1]),
        loss=float(base.mean()),
        lower=_gap(rates[0], lower, base),
        higher=_gap(rates[2], higher, base),
        seeds=len(base),
        examples=examples,
    )


def _gap(rate: float, losses: np.ndarray, base: np.ndarray) -> Gap:
    if not np.isfinite(losses).all():
        return Gap(float(rate), math.inf, 0.0 if not np.isfinite(base).all() else math.inf, math.inf)
    if not np.isfinite(base).all():
        return Gap(float(rate), -math.inf, -math.inf, -math.inf)
    scale = (np.abs(losses) + np.abs(base)) / 2
    differences = (losses - base) / np.where(scale > 0, scale, 1.0)
    mean = float(differences.mean())
    half = student_t(0.95, len(base) - 1) * float(differences.std(ddof=1)) / math.sqrt(len(base))
    return Gap(float(rate), mean, mean - half, mean + half)


def _told(gap: Gap) -> str:
    if gap.mean == math.inf:
        return f"{gap.rate:.3g} diverged"
    if gap.mean == -math.inf:
        return f"{gap.rate:.3g} did not diverge"
    mean, low, high = (f"x{_times(share):.3g}" for share in (gap.mean, gap.low, gap.high))
    return f"{mean} ({low} to {high}) at {gap.rate:.3g}"


def _times(share: float) -> float:
    """The quotient a/b of two positive losses with 2 (a - b) / (a + b) = share, from a thousandth to a thousand.

    >>> round(_times(-0.4), 3), _times(2.5)
    (0.667, 1000.0)
    """
    return min(max((2 + share) / (2 - share), 1e-3), 1e3) if abs(share) < 2 else 1e3 if share > 0 else 1e-3
