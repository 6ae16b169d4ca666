"""The heats of a race of learning rates: a grid of them with one seed, thinned out, and the loss they are compared at.

Rates a factor of sqrt(10) apart start together, from the same parameters with the same examples. At a ninth, a third
and the whole of the horizon those that are behind leave, and the others go on from where they stand. A horizon that is
short against the real run favours high rates, so of those behind two below the best stay and one above. Successive
halving: Jamieson and Talwalkar 2016, arXiv 1502.07943.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ladle.planner.lane import Aim
from ladle.planner.path import EVALUATIONS, Path, Runner, advanced, evaluations, started

DECADES = 0.5
"""Between two rates of the grid, in powers of ten. The last round looks half-way between them too."""

LOWEST, HIGHEST = -1.0, 3.0
"""The grid: from a tenth of the usual rate to a thousand times it."""

FARTHEST = 3.0
"""Where an end of the grid is best, rates beyond it are added, up to so many decades."""

SHARES = (1 / 9, 1 / 3, 1.0)
"""Of the horizon, at which the race looks around."""

BELOW, ABOVE = 2, 1
"""Rates beside the best that stay in the race."""

PLATEAU = (0.03, 0.01)
"""A round that takes off the lowest loss less than these shares of it, and of the whole descent, is the last one."""

LEARNED = 0.05
"""Of the loss at the start, what the best rate must take off for the race to tell anything."""

EASIER = (0.05, 0.02)
"""Shares of the lowest loss, and of the whole descent: the level lies above it by the smaller of the two at most, and
by no more than neighbouring readings differ by chance: where the loss falls slowly, 5 % of it are most of the run."""

SEEN = 3.0
"""Times the leader's updates to the level, that the last round goes: who takes longer is slower, by that much."""

REACHED_BY = 3
"""Rates that have reached the level at which they are compared, where so many learn: slow ones often go lowest, and a
level that only one or two reach would always take these."""


@dataclass(frozen=True)
class Heats:
    """The rounds with one seed: what `race` begins with, and all that a rough answer needs.

    - `paths`: every rate tried. `leader`: the best, by `aim`. `times`: of all evaluations up to the horizon.
    - `drift`, `goal`: as in `Race`. `more`: runs with other seeds, where there are some.
    """

    paths: tuple[Path, ...]
    leader: Path
    times: tuple[int, ...]
    drift: float
    aim: Aim = "time"
    goal: float | None = None
    more: tuple[Path, ...] = ()

    @property
    def stop(self) -> int:
        """How far the leader went, in updates."""
        return self.leader.times[-1]

    @property
    def learned(self) -> bool:
        """Whether any rate took enough off the loss to tell anything, or reached what was wanted, however near."""
        start, lowest = self.leader.losses[0], min(path.lowest for path in self.paths)
        wanted = self.goal is not None and lowest <= self.goal < start
        return wanted or start - lowest > LEARNED * abs(start)

    @property
    def level(self) -> float:
        """The goal, or near the lowest loss that `REACHED_BY` of those at the end have reached."""
        return level_of([[path] for path in self.paths if path.times[-1] == self.stop], self.goal)

    @property
    def reached(self) -> float:
        """Updates of the leader to `level`."""
        taken = self.leader.reach(self.level)
        return taken if math.isfinite(taken) else float(self.stop)

    @property
    def final(self) -> list[int]:
        """Evaluations of the last round: where a time is the aim, up to `SEEN` times the leader's to the level."""
        seen = math.inf if self.aim == "loss" else SEEN * self.reached
        last = self.times[-1] if self.goal is not None and self.level == self.goal else self.stop
        return [
            time for time, before in zip(self.times, (0, *self.times), strict=False) if before < seen and time <= last
        ]


def heats(
    runner: Runner,
    usual: float,
    *,
    horizon: int,
    decades: tuple[float, float] = (LOWEST, HIGHEST),
    aim: Aim = "time",
    goal: float | None = None,
    each: int = EVALUATIONS,
) -> Heats:
    """The grid of rates around `usual`, `decades` below and above, thinned out at each of `SHARES` of the horizon.

    - `goal`: the loss that is wanted: a round that reaches it is the last one. `each`: evaluations in a doubling.
    """
    times = evaluations(horizon, aim, each)
    stops = [max(time for time in times if time <= max(share * horizon, times[1])) for share in SHARES]
    field, known = _opened(runner, usual, times, stops[0], decades), {}
    leader, lowest, drift = _leader(field, aim, goal), math.inf, 0.0
    for stop in stops:
        field = [advanced(runner, path, times, stop) for path in field]
        known |= {path.rate: path for path in field}
        earlier, leader = leader, _leader(field, aim, goal)
        drift = math.log(leader.rate / earlier.rate)
        before, lowest = lowest, min(path.lowest for path in field)
        least = min(PLATEAU[0] * abs(lowest), PLATEAU[1] * (leader.losses[0] - lowest))
        if goal is None and aim == "time" and before - lowest < least:
            break
        if not math.isfinite(lowest) or (goal is not None and leader.lowest <= goal):
            break
        place = field.index(leader)
        field = field[max(place - BELOW, 0) : place + ABOVE + 1]
    return Heats(tuple(known.values()), leader, tuple(times), drift, aim, goal)


def _opened(runner: Runner, usual: float, times: Sequence[int], stop: int, decades: tuple[float, float]) -> list[Path]:
    """The grid at the first stop, and rates beyond it as long as an end is the best one."""
    lowest, highest = (round(end / DECADES) for end in decades)
    found = {
        step: advanced(runner, started(runner, usual * 10 ** (step * DECADES), 0), times, stop)
        for step in range(lowest, highest + 1)
    }
    most = round(FARTHEST / DECADES)
    while True:
        low, high = min(found), max(found)
        best = min(found, key=lambda step: (found[step].lowest, step))
        if not (best == low > lowest - most or best == high < highest + most):
            return [found[step] for step in sorted(found)]
        further = low - 1 if best == low else high + 1
        found[further] = advanced(runner, started(runner, usual * 10 ** (further * DECADES), 0), times, stop)


def level_of(runs: Sequence[Sequence[Path]], goal: float | None = None) -> float:
    """`goal`, where all seeds of a rate reached it; else a little above the lowest that `REACHED_BY` rates reached so.

    Or of all, where fewer learn. Above it: near the floor that a rate's own noise sets, the time to the last of its
    descent is a matter of luck.

    - `runs`: a sequence of seeds for each rate.
    """
    lowest = [(max(path.lowest for path in of), float(np.median([path.jitter for path in of]))) for of in runs]
    finite = sorted(value for value in lowest if math.isfinite(value[0]))
    if not finite:
        return math.inf
    if goal is not None and finite[0][0] <= goal:
        return goal
    value, jitter = finite[min(REACHED_BY, len(finite)) - 1]
    start = runs[0][0].losses[0]
    return value + min(EASIER[0] * abs(value), EASIER[1] * max(start - value, 0.0), jitter)


def _leader(field: Sequence[Path], aim: Aim, goal: float | None = None) -> Path:
    """The lowest now; or the fastest to the goal or the lowest loss that three have reached, else the lowest."""
    if aim == "loss":
        return min(field, key=lambda path: path.last)
    level = level_of([[path] for path in field], goal)
    return min(field, key=lambda path: (path.reach(level), path.lowest))
