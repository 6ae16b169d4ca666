"""What a race found of each rate, and its answer: a rate, an interval, a verdict. Pure functions of what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ladle.core.noise import student_t

CLEAR = 0.05
"""A rate is slower only if it takes 5 % more updates, whatever the seeds agree on."""

NEAR = 2.5
"""Times the best one's updates: rates up to there say where the best one lies. Beyond, log T is no parabola."""

Aim = Literal["time", "loss"]
"""What a race is for: the fewest updates to a loss, or the lowest loss at the horizon."""

Verdict = Literal["resolved", "flat", "not resolved"]


@dataclass(frozen=True)
class Lane:
    """What a race found of one rate.

    - `slower`: mean over seeds of log(T / T of the best), or of the losses at the end where those are the aim; where it
      never reached the level, the least that it can be.
    - `seeds`: 1 where it left the race early. `worse`: whether it was shown to be slower than the best.
    """

    rate: float
    slower: float
    seeds: int
    worse: bool
    reached: bool


@dataclass(frozen=True)
class Race:
    """The answer of a race.

    - `rate`: the one to use, None where none learned. `updates`: what it took to `level`, the loss at which rates were
      compared; `start`: the loss before. `horizon`: how far the runs went, in updates.
    - `lanes`: every rate tried, ascending.
    - `drift`: log(best rate at the horizon / best rate a third of the way): below zero where longer runs want less.
    - `goal`: the loss that was asked for, None for none; `level` where it was reached.
    """

    rate: float | None
    lanes: tuple[Lane, ...]
    start: float
    level: float
    updates: float
    horizon: int
    seeds: int
    drift: float = 0.0
    aim: Aim = "time"
    goal: float | None = None

    @property
    def reached_goal(self) -> bool:
        """Whether rates were compared at the loss that was asked for."""
        return self.goal is not None and self.level == self.goal

    @property
    def best(self) -> Lane:
        """The rate that was fastest among those tried."""
        return min(self.lanes, key=lambda lane: (not lane.reached, lane.slower))

    @property
    def low(self) -> float:
        """The nearest rate below the best that was shown to be slower: the best lies above it. 0 for none."""
        return max((lane.rate for lane in self.lanes if lane.worse and lane.rate < self.best.rate), default=0.0)

    @property
    def high(self) -> float:
        """The nearest rate above that was shown to be slower; inf for none."""
        return min((lane.rate for lane in self.lanes if lane.worse and lane.rate > self.best.rate), default=math.inf)

    @property
    def flat(self) -> tuple[float, float]:
        """The lowest and the highest rate tried between them, none of which was shown to be slower."""
        inside = [lane.rate for lane in self.lanes if self.low < lane.rate < self.high]
        return (min(inside), max(inside)) if inside else (math.nan, math.nan)

    @property
    def verdict(self) -> Verdict:
        if self.rate is None or not (self.low > 0 and math.isfinite(self.high)):
            return "not resolved"
        return "resolved" if self.flat[0] == self.flat[1] else "flat"

    def slower(self, rate: float) -> float:
        """How many times the best one's updates `rate` takes, on the line over log(rate) between those tried.

        At least: a rate that never reached the level is known only to be slower. nan outside the rates tried.
        """
        if not self.lanes or not self.lanes[0].rate <= rate <= self.lanes[-1].rate:
            return math.nan
        logs = np.log([lane.rate for lane in self.lanes])
        return math.exp(float(np.interp(math.log(rate), logs, [lane.slower for lane in self.lanes])))


def judged_lanes(rates: Sequence[float], taken: np.ndarray, *, most: float) -> list[Lane]:
    """Which rates are shown to be slower than the fastest: paired over seeds, with the spread of all rates together.

    - `taken`: `f64[rates, seeds]`, updates to the level, or losses at the end; `most`: what stands for inf.

    log T = rate + seed + error; the errors of all rates that reached the level share one variance, of (rates - 1)(seeds
    - 1) degrees of freedom, so that three seeds are enough for a test.
    """
    seeds, reached = taken.shape[1], np.array([bool(np.isfinite(one).all()) for one in taken])
    logs = np.log(np.where(np.isfinite(taken), taken, most))
    means = logs.mean(1)
    best = int(np.argmin(np.where(reached, means, np.inf)))
    errors = logs[reached] - logs[reached].mean(0)
    errors = errors - errors.mean(1, keepdims=True)
    freedom = (int(reached.sum()) - 1) * (seeds - 1)
    half = math.inf
    if freedom > 0:
        half = student_t(0.95, freedom) * math.sqrt(2 * float((errors**2).sum()) / freedom / seeds)
    lanes = []
    for rate, mean, there in zip(rates, means, reached.tolist(), strict=True):
        gap = float(mean - means[best])
        lanes.append(Lane(rate, max(gap, 0.0), seeds, not there or gap > max(half, CLEAR), bool(there)))
    return lanes


def bottom(lanes: Sequence[Lane], best: Lane, *, most: float) -> float:
    """The rate at the bottom of a parabola through log T over log(rate), no further than `most`, in logs.

    Not above the best where the next rate never reached the level: there may be a cliff between them.
    """
    near = [lane for lane in lanes if lane.reached]
    return _lowest(near, best, low=-most, high=0.0 if _cliff(lanes, best) else most)


def valley(lanes: Sequence[Lane], best: Lane, *, most: float) -> float:
    """The rate at the bottom of a parabola through all rates that take at most `NEAR` times the best one's updates.

    Of several rates that are as good the best by a hair is the lucky one, and where the valley lies is told by all that
    make it: so the bottom may lie wherever no rate was shown to be slower, though not beyond the outermost of these: a
    bottom out there is a guess, and upwards of it rates diverge. Of fewer than four, `bottom` tells.

    Not above the best where the next rate never reached the level.
    """
    near = [lane for lane in lanes if lane.reached and lane.slower <= math.log(NEAR)]
    if len(near) < 4:
        return bottom(lanes, best, most=most)
    equal = [0.0, *(math.log(lane.rate / best.rate) for lane in near if not lane.worse)]
    return _lowest(near, best, low=min(equal), high=0.0 if _cliff(lanes, best) else max(equal))


def _cliff(lanes: Sequence[Lane], best: Lane) -> bool:
    """Whether the next rate above the best never reached the level."""
    above = min((lane for lane in lanes if lane.rate > best.rate), key=lambda lane: lane.rate, default=None)
    return above is not None and not above.reached


def _lowest(near: Sequence[Lane], best: Lane, *, low: float, high: float) -> float:
    if len(near) < 3:
        return best.rate
    x = np.log([lane.rate for lane in near]) - math.log(best.rate)
    bend, slope, _ = np.polyfit(x, [lane.slower for lane in near], 2)
    return best.rate * math.exp(min(max(-slope / (2 * bend), low), high)) if bend > 0 else best.rate
