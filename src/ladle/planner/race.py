"""A race of learning rates: the one that reaches a loss in the fewest updates, with an interval and a verdict.

Rates a factor of sqrt(10) apart start together, from the same parameters with the same examples. At a ninth, a third
and the whole of the horizon those that are behind leave, and the others go on from where they stand. Then the best, its
neighbours and the rates half-way between them run with more seeds.

    T(rate, seed) = updates until the loss is at `level`, the lowest that three rates have reached

What is compared is the time to a loss, not the loss at a time: where all rates end on one plateau, the fastest is still
the fastest. A horizon that is short against the real run favours high rates, so of those behind two below the best stay
and one above, and the answer names its horizon. Successive halving: Jamieson and Talwalkar 2016, arXiv 1502.07943.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ladle.planner.lane import Lane, Race, bottom, judged_lanes

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

MORE = 2
"""How often rates are added in the last round."""

REACHED_BY = 3
"""Rates that have reached the level at which they are compared, where so many learn."""

EVALUATIONS = 2
"""For each doubling of the updates."""


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
        return float(smooth(self.losses)[-1]) if math.isfinite(self.losses[-1]) else math.inf

    def reach(self, level: float) -> float:
        """Updates until the loss is at `level`, on the line over log(updates) between evaluations; inf for never."""
        if self.lowest > level:
            return math.inf
        falls = smooth(self.losses)
        at = int(np.argmax(falls <= level))
        if at == 0:
            return 1.0
        early = max(self.times[at - 1], 1)
        share = (falls[at - 1] - level) / (falls[at - 1] - falls[at])
        return float(early * (self.times[at] / early) ** share)


@dataclass(frozen=True)
class Heats:
    """The rounds with one seed: what `race` begins with, and all that a rough answer needs.

    - `paths`: every rate tried. `leader`: the fastest. `stop`: how far it went. `drift`: as in `Race`.
    """

    paths: tuple[Path, ...]
    leader: Path
    stop: int
    drift: float

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


def heats(runner: Runner, usual: float, *, horizon: int, decades: tuple[float, float] = (LOWEST, HIGHEST)) -> Heats:
    """The grid of rates around `usual`, `decades` below and above, thinned out at each of `SHARES` of the horizon."""
    times = evaluations(horizon)
    stops = [max(time for time in times if time <= max(share * horizon, times[1])) for share in SHARES]
    field, known = _opened(runner, usual, times, stops[0], decades), {}
    leader, lowest, drift, stop = _leader(field), math.inf, 0.0, stops[0]
    for stop in stops:
        field = [_run(runner, path, times, stop) for path in field]
        known |= {path.rate: path for path in field}
        earlier, leader = leader, _leader(field)
        drift = math.log(leader.rate / earlier.rate)
        before, lowest = lowest, min(path.lowest for path in field)
        least = min(PLATEAU[0] * abs(lowest), PLATEAU[1] * (leader.losses[0] - lowest))
        if not math.isfinite(lowest) or before - lowest < least:
            break
        place = field.index(leader)
        field = field[max(place - BELOW, 0) : place + ABOVE + 1]
    return Heats(tuple(known.values()), leader, stop, drift)


def race(
    runner: Runner,
    usual: float,
    *,
    horizon: int,
    seeds: int = 3,
    decades: tuple[float, float] = (LOWEST, HIGHEST),
    begun: Heats | None = None,
) -> Race:
    """The heats around the `usual` rate over `horizon` updates, then the best and its neighbours with all `seeds`.

    - `begun`: the heats, where they were run already.

    >>> found = race(_Bowl(), 1e-3, horizon=300)
    >>> found.verdict, 0.3 < found.rate < 2.0, found.slower(0.1) > 5
    ('flat', True, True)
    """
    first = begun or heats(runner, usual, horizon=horizon, decades=decades)
    if not first.learned:
        lowest = min(path.lowest for path in first.paths)
        return Race(None, (), first.leader.losses[0], lowest, math.nan, first.stop, 1)
    times = [time for time in evaluations(horizon) if time <= first.stop]
    return _finish(runner, first, times, seeds=seeds)


def evaluations(horizon: int) -> list[int]:
    """Updates at which a run is evaluated: 0, then from a fortieth of the horizon on, sqrt(2) times apart.

    >>> evaluations(20)
    [0, 1, 2, 4, 5, 7, 10, 14, 20]
    """
    times, time = [], float(max(horizon, 2))
    while round(time) >= max(horizon / 40, 1):
        times.append(round(time))
        time /= 2 ** (1 / EVALUATIONS)
    return sorted({0, *times})


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Each loss as the median of itself and its neighbours, and no higher than any before it.

    >>> smooth([4.0, 3.0, 1.0, 3.0, 2.0]).tolist()
    [4.0, 3.0, 3.0, 2.0, 2.0]
    """
    values = np.asarray(losses, np.float64)
    if len(values) > 2:
        inner = np.median(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)
        values = np.concatenate([values[:1], inner, [max(values[-1], min(values[-2:]))]])
    return np.minimum.accumulate(values)


def _opened(runner: Runner, usual: float, times: Sequence[int], stop: int, decades: tuple[float, float]) -> list[Path]:
    """The grid at the first stop, and rates beyond it as long as an end is the best one."""
    lowest, highest = (round(end / DECADES) for end in decades)
    found = {
        step: _run(runner, _started(runner, usual * 10 ** (step * DECADES), 0), times, stop)
        for step in range(lowest, highest + 1)
    }
    most = round(FARTHEST / DECADES)
    while True:
        low, high = min(found), max(found)
        best = min(found, key=lambda step: (found[step].lowest, step))
        if not (best == low > lowest - most or best == high < highest + most):
            return [found[step] for step in sorted(found)]
        further = low - 1 if best == low else high + 1
        found[further] = _run(runner, _started(runner, usual * 10 ** (further * DECADES), 0), times, stop)


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
    fresh = [whole.get(seed) or _started(runner, rate, seed) for seed in range(seeds)]
    return [_run(runner, path, times, times[-1]) for path in fresh]


def _answer(first: Heats, runs: Mapping[int, Sequence[Path]], times: Sequence[int]) -> Race:
    ordered = [runs[eighth] for eighth in sorted(runs)]
    level = _level([_sure(of) for of in ordered], first.leader.losses[0])
    taken = np.array([[path.reach(level) for path in of] for of in ordered])
    lanes = judged_lanes([of[0].rate for of in ordered], taken, horizon=times[-1])
    best = min(lanes, key=lambda lane: (not lane.reached, lane.slower))
    place = lanes.index(best)
    early = [_left(path, ordered[place][0]) for path in first.paths if path.rate not in {lane.rate for lane in lanes}]
    return Race(
        rate=bottom(lanes, best, most=math.log(10) / 16),
        lanes=tuple(sorted([*lanes, *early], key=lambda lane: lane.rate)),
        start=first.leader.losses[0],
        level=level,
        updates=float(np.exp(np.log(taken[place]).mean())),
        horizon=times[-1],
        seeds=len(ordered[0]),
        drift=first.drift + math.log(best.rate / first.leader.rate),
    )


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


def _left(path: Path, best: Path) -> Lane:
    """A rate that left the race, beside the best one as far as it went."""
    level = path.lowest
    taken, ideal = float(path.times[-1]), best.reach(level)
    slower = math.inf if not math.isfinite(level) else math.log(max(taken / ideal, 1.0))
    return Lane(path.rate, slower, 1, slower > math.log(FAR_BEHIND), False)


def _leader(field: Sequence[Path]) -> Path:
    """The fastest to the lowest loss that three of them have reached; of those that never did, the lowest."""
    level = _level([path.lowest for path in field], field[0].losses[0])
    return min(field, key=lambda path: (path.reach(level), path.lowest))


def _started(runner: Runner, rate: float, seed: int) -> Path:
    run, loss = runner.start(rate, seed)
    return Path(rate, seed, run, (0,), (loss,))


def _run(runner: Runner, path: Path, times: Sequence[int], stop: int) -> Path:
    """`path` up to `stop`, evaluated at each of `times`; as it is where it diverged or is there."""
    run, at, losses = path.run, list(path.times), list(path.losses)
    for time in times:
        if not at[-1] < time <= stop or not math.isfinite(losses[-1]):
            continue
        run, loss = runner.advance(run, time - at[-1])
        at.append(time)
        losses.append(loss if math.isfinite(loss) else math.inf)
    return Path(path.rate, path.seed, run, tuple(at), tuple(losses))


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
