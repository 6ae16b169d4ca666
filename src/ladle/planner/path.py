"""The losses of one run in a race, where they are read, and what is read off them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ladle.planner.lane import Aim

EVALUATIONS = 2
"""For each doubling of the updates, at least."""

WIDTH = 0.25
"""Half the width of the smoothing of a path, in log updates: how far apart two losses may be that are one reading."""

FIRST: Mapping[Aim, float] = {"time": 1 / 400, "loss": 1 / 40}
"""Of the horizon, the first evaluation. A loss that is reached before it is dated by a guess: the race's fastest rate
may take a thirtieth of a horizon that was set for a slow one. Where only the end counts, few are needed."""

LAST = 16
"""Readings that tell the jitter of a path: two doublings of the densest."""

NORMAL_MEDIAN = 0.6745
"""Median of the absolute value of a standard normal number."""

LATE = (0.9, 0.95)
"""Of the horizon: where a run is evaluated besides, whose loss at the end is what counts."""


class Runner(Protocol):
    """Trains what races."""

    def start(self, rate: float, seed: int) -> tuple[Any, float]:
        """A fresh run, and its loss before any update."""
        ...

    def advance(self, run: Any, updates: int) -> tuple[Any, float]:
        """The run after `updates` more, and its loss there; inf where it diverged. Consumes the run."""
        ...


@dataclass(frozen=True)
class Path:
    """One run so far. `times`: updates at its evaluations, 0 first; `losses`: there, inf at last where it diverged."""

    rate: float
    seed: int
    run: Any
    times: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The lowest loss so far that is no lucky evaluation; inf where it diverged."""
        return float(self.falls[-1]) if math.isfinite(self.losses[-1]) else math.inf

    @cached_property
    def falls(self) -> np.ndarray:
        """The path as `smooth` tells it."""
        return smooth(self.times, self.losses)

    @property
    def jitter(self) -> float:
        """How far a reading lies from its neighbours by chance, as a standard deviation: from second differences.

        Those of the last `LAST` readings; inf where there are fewer than three.
        """
        late = np.array([loss for loss in self.losses[-LAST:] if math.isfinite(loss)])
        if len(late) < 3:
            return math.inf
        return float(np.median(np.abs(np.diff(late, 2)))) / (NORMAL_MEDIAN * math.sqrt(6))

    @property
    def last(self) -> float:
        """The loss at the end: the mean over the last tenth of the updates; inf where it diverged."""
        late = [loss for time, loss in zip(self.times, self.losses, strict=True) if time >= LATE[0] * self.times[-1]]
        return float(np.mean(late))

    def until(self, time: int) -> Path:
        """As far as it was at `time`, to be looked at: the run itself is further."""
        count = sum(at <= time for at in self.times)
        return replace(self, times=self.times[:count], losses=self.losses[:count])

    def reach(self, level: float) -> float:
        """Updates until the loss is at `level`, on the line over log(updates) between evaluations; inf for never."""
        if not self.lowest <= level < math.inf:
            return math.inf
        falls = self.falls
        at = int(np.argmax(falls <= level))
        if at == 0:
            return 1.0
        early = max(self.times[at - 1], 1)
        share = (falls[at - 1] - level) / (falls[at - 1] - falls[at])
        return float(early * (self.times[at] / early) ** share)


def evaluations(horizon: int, aim: Aim = "time", each: int = EVALUATIONS) -> list[int]:
    """Updates at which a run is evaluated: 0, then from `FIRST[aim]` of the horizon on, `each` in a doubling.

    Where the loss at the end is the aim, at `LATE` of the horizon too.

    >>> evaluations(20)
    [0, 1, 2, 4, 5, 7, 10, 14, 20]
    """
    times, time = [], float(max(horizon, 2))
    while round(time) >= max(FIRST[aim] * horizon, 1):
        times.append(round(time))
        time /= 2 ** (1 / each)
    late = [round(share * horizon) for share in LATE] if aim == "loss" else []
    return sorted({0, *times, *late})


def smooth(times: Sequence[int], losses: Sequence[float]) -> np.ndarray:
    """Losses of a path without its luck: medians of three, then means of those close by in log updates, never rising.

        v_i = median(y_{i-1}, y_i, y_{i+1}),  at the end that of the last three
        s_i = sum_j w_ij v_j / sum_j w_ij,    w_ij = (1 - |log(t_j / t_i) / width|^3)^3  where positive

    `width` is `WIDTH`, or one and a half steps where evaluations are further apart. A mean lags behind a falling path
    by as much at one rate as at another, so rates stay comparable.

    >>> smooth([0, 1, 4, 16, 64], [4.0, 3.0, 1.0, 3.0, 2.0]).round(2).tolist()
    [4.0, 3.0, 2.79, 2.21, 2.0]
    """
    values = np.asarray(losses, np.float64)
    if len(values) > 2:
        inner = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
        values = np.concatenate([values[:1], inner, inner[-1:]])
    ended = np.isfinite(values)
    if len(values) > 2 and ended.all():
        at = np.log(np.maximum(times[1:], 1))
        width = max(WIDTH, 1.5 * float(np.median(np.diff(at)))) if len(at) > 1 else WIDTH
        weights = np.clip(1 - np.abs((at[:, None] - at) / width) ** 3, 0, None) ** 3
        values = np.concatenate([values[:1], weights @ values[1:] / weights.sum(1)])
    return np.minimum.accumulate(values)


def started(runner: Runner, rate: float, seed: int) -> Path:
    """A fresh run, before any update."""
    run, loss = runner.start(rate, seed)
    return Path(rate, seed, run, (0,), (loss,))


def advanced(runner: Runner, path: Path, times: Sequence[int], stop: int) -> Path:
    """`path` up to `stop`, evaluated at each of `times`; as it is where it diverged or is there."""
    run, at, losses = path.run, list(path.times), list(path.losses)
    for time in times:
        if not at[-1] < time <= stop or not math.isfinite(losses[-1]):
            continue
        run, loss = runner.advance(run, time - at[-1])
        at.append(time)
        losses.append(loss if math.isfinite(loss) else math.inf)
    return Path(path.rate, path.seed, run, tuple(at), tuple(losses))
