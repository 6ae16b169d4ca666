"""A race of learning rates: the one that reaches a loss in the fewest updates, with an interval and a verdict.

Heats thin out a grid of rates with one seed (`ladle.planner.heats`). Then the best, its neighbours and the rates
half-way between them run with more seeds.

    T(rate, seed) = geometric mean of the updates to `level` and to losses some way up the descent

with `level` the loss that is wanted (`goal`), or where none is, one a little above the lowest that three rates have
reached with every seed. What is compared is the time to a loss: where all rates end on one plateau, the fastest is
still the fastest. The losses above tell rates apart where the descent's last part is a matter of luck. The answer is
the middle of the valley that all near rates make (`lane.valley`), not the best of them. What it takes is then told by
runs with seeds that did not race.

Updates beyond `heats.SEEN` times those of the leader to the level tell nothing more: the last round ends there, and has
as many more seeds as that pays for.

A run of a fixed length wants another answer, the lowest loss at its end (`aim="loss"`): there the horizon is that
length. A horizon that is short against the real run favours high rates, and the answer names its horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ladle.planner.heats import HIGHEST, LOWEST, Heats, heats, level_of
from ladle.planner.lane import Aim, Lane, Race, bottom, judged_lanes, valley
from ladle.planner.path import EVALUATIONS, Path, Runner, advanced, started

FAR_BEHIND = 1.5
"""A rate that left early is slower if it took so many times the best one's updates, with one seed."""

EARLIER = (0.0, 0.05)
"""Of the descent, in logs: how far above the level lie those at which rates are compared."""

UNTOLD = (0.0, 0.05, 0.15)
"""The same where no loss was asked for: what is meant may lie higher, and the rate is to serve all of these."""

MOST_SEEDS = 5
"""In the last round, where its runs are short."""

MORE = 2
"""How often rates are added in the last round."""

FRESH = 5
"""Seeds that say how many updates the rate takes, after the race."""


def race(
    runner: Runner,
    usual: float,
    *,
    horizon: int,
    seeds: int = 3,
    decades: tuple[float, float] = (LOWEST, HIGHEST),
    aim: Aim = "time",
    goal: float | None = None,
    each: int = EVALUATIONS,
    begun: Heats | None = None,
) -> Race:
    """The heats around the `usual` rate over `horizon` updates, then the best and its neighbours with all `seeds`.

    - `aim`: "time", the fewest updates to a loss, or "loss", the lowest at the horizon. `goal`: a loss that is wanted.
    - `seeds`: at least. `each`: evaluations in a doubling. `begun`: the heats, where they were run already.

    >>> found = race(_Bowl(), 1e-3, horizon=300)
    >>> found.verdict, 0.3 < found.rate < 2.0, found.slower(0.1) > 5
    ('flat', True, True)
    """
    first = begun or heats(runner, usual, horizon=horizon, decades=decades, aim=aim, goal=goal, each=each)
    if not first.learned:
        lowest = min(path.lowest for path in first.paths)
        return Race(None, (), first.leader.losses[0], lowest, math.nan, first.stop, 1, aim=first.aim)
    times = first.final
    more = int(seeds * first.stop / times[-1])
    return _retold(runner, _finish(runner, first, times, seeds=min(max(more, seeds), max(MOST_SEEDS, seeds))), times)


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
    whole = {path.seed: path.until(times[-1]) for path in (*first.paths, *first.more) if path.rate == rate}
    whole = {seed: path for seed, path in whole.items() if path.times[-1] == times[-1]}
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
    all_there = found.reached_goal and all(path.lowest <= found.level for path in fresh)
    level = found.level if all_there else max(found.level, _sure(fresh))
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
        rate=(valley if judge.aim == "time" else bottom)(lanes, best, most=math.log(10) / 16),
        lanes=tuple(sorted([*lanes, *early], key=lambda lane: lane.rate)),
        start=first.leader.losses[0],
        level=judge.level if judge.aim == "time" else judge.level + middle,
        updates=middle if judge.aim == "time" else times[-1],
        horizon=times[-1],
        seeds=len(ordered[0]),
        drift=first.drift + math.log(best.rate / first.leader.rate),
        aim=judge.aim,
        goal=first.goal,
    )


@dataclass(frozen=True)
class Judge:
    """What a run is judged by: a positive number that is better where it is smaller, inf where it never got there.

    - `aim` "time": updates to `level` and those `above` it, shares of the descent in logs: their geometric mean.
      "loss": the loss at the end above `level`, which is 0 where no loss is negative.
    - `most`: what stands for inf beside it, at least.
    """

    aim: Aim
    level: float
    most: float
    above: tuple[float, ...] = EARLIER

    @classmethod
    def of(cls, runs: Sequence[Sequence[Path]], first: Heats) -> Judge:
        if first.aim == "time":
            level = level_of(runs, first.goal)
            return cls("time", level, runs[0][0].times[-1], EARLIER if level == first.goal else UNTOLD)
        start, lowest = first.leader.losses[0], min(path.last for of in runs for path in of)
        floor = 0.0 if lowest > 0 else lowest - max(start - lowest, 1e-9)
        return cls("loss", floor, max(start - floor, 1e-9))

    def __call__(self, path: Path) -> float:
        if self.aim == "loss":
            return path.last - self.level
        taken = [path.reach(between(self.level, path.losses[0], share)) for share in self.above]
        return math.exp(float(np.mean(np.log(taken))))

    def left(self, path: Path, best: Path) -> Lane:
        """A rate that left the race, beside the best one as far as it went."""
        if self.aim == "time" and path.lowest <= self.level:
            ratio = self(path) / self(best)
        elif self.aim == "time":
            ratio = path.times[-1] / best.reach(path.lowest) if math.isfinite(path.lowest) else math.inf
        else:
            ratio = (path.losses[-1] - self.level) / (best.losses[len(path.losses) - 1] - self.level)
        slower = math.log(max(ratio, 1.0))
        # A lower rate that is behind early may yet end lowest.
        known = self.aim == "time" or path.rate > best.rate
        return Lane(path.rate, slower, 1, known and slower > math.log(FAR_BEHIND), False)


def between(level: float, start: float, share: float) -> float:
    """The loss so far up from `level` to `start`: in logs, so that a start far off counts little; else by amounts.

    >>> between(1.0, 16.0, 0.25), between(-1.0, 1.0, 0.25)
    (2.0, -0.5)
    """
    if 0 < level < start:
        return level * (start / level) ** share
    return level + share * (start - level)


def _sure(of: Sequence[Path]) -> float:
    """A loss that another seed will reach too: the worst seed's lowest, and as far above it as the seeds are apart."""
    lowest = [path.lowest for path in of]
    return 2 * max(lowest) - min(lowest) if all(map(math.isfinite, lowest)) else math.inf


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
