"""A race of learning rates: the one that reaches a loss in the fewest updates, with an interval and a verdict.

Rates a factor of sqrt(10) apart start together, from the same parameters with the same examples. At a ninth, a third
and the whole of the horizon those that are behind leave, and the others go on from where they stand. Then the best, its
neighbours and the rates half-way between them run with more seeds.

    T(rate, seed) = sqrt(updates to `level` * updates to a loss a twentieth of the descent above it)

with `level` a little above the lowest loss that three rates have reached. What is compared is the time to a loss:
where all rates end on one plateau, the fastest is still the fastest. The second loss tells rates apart where the
descent's last part is a matter of luck. What the winner takes is then told by runs with seeds that did not race.

A run of a fixed length wants another answer, the lowest loss at its end (`aim="loss"`): there the horizon is that
length. A horizon that is short against the real run favours high rates, so of those behind two below the best stay and
one above, and the answer names its horizon. Successive halving: Jamieson and Talwalkar 2016, arXiv 1502.07943.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ladle.planner.lane import Aim, Lane, Race, bottom, judged_lanes
from ladle.planner.path import Path, Runner, advanced, evaluations, started

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

FAR_BEHIND = 1.5
"""A rate that left early is slower if it took so many times the best one's updates, with one seed."""

PLATEAU = (0.03, 0.01)
"""A round that takes off the lowest loss less than these shares of it, and of the whole descent, is the last one."""

LEARNED = 0.05
"""Of the loss at the start, what the best rate must take off for the race to tell anything."""

EASIER = (0.05, 0.02)
"""Shares of the lowest loss, and of the whole descent: the level lies above it by the smaller of the two."""

EARLIER = 0.05
"""Of the descent: how far above the level lies another one, at which rates are compared too."""

MORE = 2
"""How often rates are added in the last round."""

FRESH = 5
"""Seeds that say how many updates the rate takes, after the race."""

REACHED_BY = 3
"""Rates that have reached the level at which they are compared, where so many learn."""


@dataclass(frozen=True)
class Heats:
    """The rounds with one seed: what `race` begins with, and all that a rough answer needs.

    - `paths`: every rate tried. `leader`: the best, by `aim`. `stop`: how far it went. `drift`: as in `Race`.
    """

    paths: tuple[Path, ...]
    leader: Path
    stop: int
    drift: float
    aim: Aim = "time"

    @property
    def learned(self) -> bool:
        """Whether any rate took enough off the loss to tell anything."""
        start = self.leader.losses[0]
        return start - min(path.lowest for path in self.paths) > LEARNED * abs(start)

    @property
    def reached(self) -> float:
        """Updates of the leader to the lowest loss that `REACHED_BY` of those at the end have reached."""
        last = [path for path in self.paths if path.times[-1] == self.leader.times[-1]]
        taken = self.leader.reach(_level([path.lowest for path in last], self.leader.losses[0]))
        return taken if math.isfinite(taken) else float(self.stop)


def heats(
    runner: Runner,
    usual: float,
    *,
    horizon: int,
    decades: tuple[float, float] = (LOWEST, HIGHEST),
    aim: Aim = "time",
) -> Heats:
    """The grid of rates around `usual`, `decades` below and above, thinned out at each of `SHARES` of the horizon."""
    times = evaluations(horizon, aim)
    stops = [max(time for time in times if time <= max(share * horizon, times[1])) for share in SHARES]
    field, known = _opened(runner, usual, times, stops[0], decades), {}
    leader, lowest, drift, stop = _leader(field, aim), math.inf, 0.0, stops[0]
    for stop in stops:
        field = [advanced(runner, path, times, stop) for path in field]
        known |= {path.rate: path for path in field}
        earlier, leader = leader, _leader(field, aim)
        drift = math.log(leader.rate / earlier.rate)
        before, lowest = lowest, min(path.lowest for path in field)
        least = min(PLATEAU[0] * abs(lowest), PLATEAU[1] * (leader.losses[0] - lowest))
        if not math.isfinite(lowest) or (aim == "time" and before - lowest < least):
            break
        place = field.index(leader)
        field = field[max(place - BELOW, 0) : place + ABOVE + 1]
    return Heats(tuple(known.values()), leader, stop, drift, aim)


def race(
    runner: Runner,
    usual: float,
    *,
    horizon: int,
    seeds: int = 3,
    decades: tuple[float, float] = (LOWEST, HIGHEST),
    aim: Aim = "time",
    begun: Heats | None = None,
) -> Race:
    """The heats around the `usual` rate over `horizon` updates, then the best and its neighbours with all `seeds`.

    - `aim`: "time", the fewest updates to a loss, or "loss", the lowest at the horizon.
    - `begun`: the heats, where they were run already.

    >>> found = race(_Bowl(), 1e-3, horizon=300)
    >>> found.verdict, 0.3 < found.rate < 2.0, found.slower(0.1) > 5
    ('flat', True, True)
    """
    first = begun or heats(runner, usual, horizon=horizon, decades=decades, aim=aim)
    if not first.learned:
        lowest = min(path.lowest for path in first.paths)
        return Race(None, (), first.leader.losses[0], lowest, math.nan, first.stop, 1, aim=first.aim)
    times = [time for time in evaluations(horizon, first.aim) if time <= first.stop]
    return _retold(runner, _finish(runner, first, times, seeds=seeds), times)


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


def _finish(runner: Runner, first: Heats, times: Sequence[int], *, seeds: int) -> Race:
    """The best, its neighbours and those half-way between them with all seeds; those that left early beside them.

    Where an end of them is not shown to be slower, two more rates beyond it, up to `MORE` times. Where both neighbours
    of the best are, those half-way to them: next to a rate that diverges, a small step may be worth a lot.
    """
    runs = {eighth: _seeded(runner, first, eighth, times, seeds) for eighth in range(-4, 5, 2)}
    found = _answer(first, runs, times)
    for _ in range(MORE):
        wanted = [min(runs) - 2, min(runs) - 4] if found.low == 0 else []
        wanted += [max(runs) + 2, max(runs) + 4] if math.isinf(found.high) else []
        if not wanted:
            break
        runs |= {eighth: _seeded(runner, first, eighth, times, seeds) for eighth in wanted}
        found = _answer(first, runs, times)
    if found.verdict != "resolved":
        return found
    best = next(eighth for eighth, of in runs.items() if of[0].rate == found.best.rate)
    runs |= {eighth: _seeded(runner, first, eighth, times, seeds) for eighth in (best - 1, best + 1)}
    return _answer(first, runs, times)


def _seeded(runner: Runner, first: Heats, eighth: int, times: Sequence[int], seeds: int) -> list[Path]:
    """All seeds at the rate so many eighths of a decade from the leader's; a heat that went all the way counts."""
    rate = first.leader.rate * 10 ** (eighth / 8)
    rate = next((path.rate for path in first.paths if math.isclose(path.rate, rate)), rate)
    whole = {path.seed: path for path in first.paths if path.rate == rate and path.times[-1] == times[-1]}
    fresh = [whole.get(seed) or started(runner, rate, seed) for seed in range(seeds)]
    return [advanced(runner, path, times, times[-1]) for path in fresh]


def _retold(runner: Runner, found: Race, times: Sequence[int]) -> Race:
    """`found` with the updates to the level that `FRESH` more seeds take at its rate, and with a level that they reach.

    Those of the race will not do: its rate and its level were picked because they came out well with these seeds.
    """
    if found.rate is None or found.aim == "loss":
        return found
    runs = [started(runner, found.rate, seed) for seed in range(found.seeds, found.seeds + FRESH)]
    fresh = [advanced(runner, path, times, times[-1]) for path in runs]
    level = max(found.level, _sure(fresh))
    if not level < found.start:
        return found
    return replace(found, level=level, updates=math.exp(np.log([path.reach(level) for path in fresh]).mean()))


def _answer(first: Heats, runs: Mapping[int, Sequence[Path]], times: Sequence[int]) -> Race:
    ordered = [runs[eighth] for eighth in sorted(runs)]
    judge = Judge.of(ordered, first)
    taken = np.array([[judge(path) for path in of] for of in ordered])
    lanes = judged_lanes([of[0].rate for of in ordered], taken, most=judge.most)
    best = min(lanes, key=lambda lane: (not lane.reached, lane.slower))
    place = lanes.index(best)
    rates = {lane.rate for lane in lanes}
    early = [judge.left(path, ordered[place][0]) for path in first.paths if path.rate not in rates]
    told = [path.reach(judge.level) if judge.aim == "time" else judge(path) for path in ordered[place]]
    middle = float(np.exp(np.log(told).mean()))
    return Race(
        rate=bottom(lanes, best, most=math.log(10) / 16),
        lanes=tuple(sorted([*lanes, *early], key=lambda lane: lane.rate)),
        start=first.leader.losses[0],
        level=judge.level if judge.aim == "time" else judge.level + middle,
        updates=middle if judge.aim == "time" else times[-1],
        horizon=times[-1],
        seeds=len(ordered[0]),
        drift=first.drift + math.log(best.rate / first.leader.rate),
        aim=judge.aim,
    )


@dataclass(frozen=True)
class Judge:
    """What a run is judged by: a positive number that is better where it is smaller, inf where it never got there.

    - `aim` "time": the updates to `level`. "loss": the loss at the end above `level`, which is 0 where no loss is
      negative. `most`: what stands for inf beside it, at least.
    """

    aim: Aim
    level: float
    most: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[Path]], first: Heats) -> Judge:
        start = first.leader.losses[0]
        if first.aim == "time":
            return cls("time", _level([_sure(of) for of in runs], start), runs[0][0].times[-1])
        lowest = min(path.last for of in runs for path in of)
        floor = 0.0 if lowest > 0 else lowest - max(start - lowest, 1e-9)
        return cls("loss", floor, max(start - floor, 1e-9))

    def __call__(self, path: Path) -> float:
        if self.aim == "loss":
            return path.last - self.level
        return math.sqrt(path.reach(self.level) * path.reach(self.level + EARLIER * (path.losses[0] - self.level)))

    def left(self, path: Path, best: Path) -> Lane:
        """A rate that left the race, beside the best one as far as it went."""
        if self.aim == "time":
            ratio = path.times[-1] / best.reach(path.lowest) if math.isfinite(path.lowest) else math.inf
        else:
            ratio = (path.losses[-1] - self.level) / (best.losses[len(path.losses) - 1] - self.level)
        slower = math.log(max(ratio, 1.0))
        # A lower rate that is behind early may yet end lowest.
        known = self.aim == "time" or path.rate > best.rate
        return Lane(path.rate, slower, 1, known and slower > math.log(FAR_BEHIND), False)


def _sure(of: Sequence[Path]) -> float:
    """A loss that another seed will reach too: the worst seed's lowest, and as far above it as the seeds are apart."""
    lowest = [path.lowest for path in of]
    return 2 * max(lowest) - min(lowest) if all(map(math.isfinite, lowest)) else math.inf


def _level(lowest: Sequence[float], start: float) -> float:
    """A little above the lowest loss that `REACHED_BY` of the runs have reached, or all, where fewer learn.

    Above it: near the floor that a rate's own noise sets, the time to the last of its descent is a matter of luck.
    """
    finite = sorted(value for value in lowest if math.isfinite(value))
    if not finite:
        return math.inf
    value = finite[min(REACHED_BY, len(finite)) - 1]
    return value + min(EASIER[0] * abs(value), EASIER[1] * max(start - value, 0.0))


def _leader(field: Sequence[Path], aim: Aim) -> Path:
    """The lowest now; or the fastest to the lowest loss that three have reached, of those that never did the lowest."""
    if aim == "loss":
        return min(field, key=lambda path: path.last)
    level = _level([path.lowest for path in field], field[0].losses[0])
    return min(field, key=lambda path: (path.reach(level), path.lowest))


class _Bowl:
    """x^2 / 2 + y^2 / 20 with a little noise, for the example."""

    def start(self, rate: float, seed: int) -> tuple[Any, float]:
        return (rate, np.random.default_rng(seed), np.ones(2)), 0.55

    def advance(self, run: Any, updates: int) -> tuple[Any, float]:
        rate, noise, at = run
        for _ in range(updates):
            at = at - rate * (at * [1.0, 0.1] + 0.01 * noise.standard_normal(2))
        with np.errstate(over="ignore"):
            return (rate, noise, at), float((at**2 * [0.5, 0.05]).sum())
