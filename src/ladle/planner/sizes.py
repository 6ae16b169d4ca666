"""A planned size beside half and twice of it, by trial: the closed form is a forecast, and its neighbours can be run.

The closed form knows the noise of a batch gradient by one number, and nothing of what that noise does near the floor of
a loss, where twice the batch may save more than half of the updates. So each of the three sizes runs at three rates
around the one that was found, carried to it by the rule, with several seeds, until the loss at which rates were
compared:

    cost(B) = log T(B) + log t(B)     T: updates at the bottom of the rates' parabola, t: seconds of an update

What a trial says of a neighbour and what the closed form forecasts are averaged, each by its own error: few seeds do
not overrule a forecast by chance. Where a neighbour wins, the one beyond it is tried too. The winner's runs are the
first of the race that follows there. The same errors say which of the sizes are surely as good as the best of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.spec import BatchSpec
from ladle.planner.decide import SHARE as CLOSE
from ladle.planner.heats import Heats
from ladle.planner.path import FIRST, Path, advanced, evaluations, started
from ladle.planner.race import EARLIER, UNTOLD, Judge
from ladle.planner.sure import surely_of
from ladle.planner.tryout import Glance, Racetrack, Tryout

SHARE = 0.35
"""Of the seconds of a tryout, that trials of sizes may take; with fewer seeds where that is not enough, or none."""

LENGTHS = ((6, 3.0), (4, 3.0), (3, 3.0), (3, 2.0), (2, 2.0))
"""Seeds of a trial, and how far it goes, in times of the leader's updates to the level: the first that is paid for."""

RATES = 3
STEP = math.log(10) / 4
"""Rates of a trial, and how far apart."""

BEYOND = 4
"""Rates beyond an end that is the best, at most: a linear rule may carry a rate past the edge of divergence."""

FORECAST = 0.25
"""Standard error of the closed form's log cost of half or twice a size, beside that of the noise scale: what it was off
by on digits, houses and wines, 0.2 to 0.35."""

LUCK = 0.05
"""Least standard error of a log cost by trial."""

FARTHER = 2
"""Sizes beyond the neighbours that are tried at most, one after the other."""

DRAWS = 4000
"""Of errors, that tell a probability: it is right to a hundredth."""


@dataclass(frozen=True)
class Asked:
    """What trials are made with: `spec`, rate and constants of a size, and the seconds of an update of several."""

    spec: Callable[[int], BatchSpec]
    rate: Callable[[int], float]
    hyper: Callable[[int], Mapping[str, float]]
    seconds: Callable[[Sequence[int]], Sequence[float]]


@dataclass(frozen=True)
class Trial:
    """Runs at one size. `logs`: `f64[rates, seeds]`, log T; `reached`: which rates arrived with all seeds."""

    size: int
    track: Racetrack
    paths: tuple[Path, ...]
    logs: np.ndarray
    reached: np.ndarray

    @property
    def log_updates(self) -> float:
        """At the bottom of the parabola through the best rate and those beside it; of the best, where there is none."""
        means = np.where(self.reached, self.logs.mean(1), np.inf)
        best = int(means.argmin())
        near = means[max(best - 1, 0) : best + 2]
        if len(near) < 3 or not np.isfinite(near).all():
            return float(self.logs.mean(1)[best])
        bend, slope = (near[0] + near[2]) / 2 - near[1], (near[2] - near[0]) / 2
        return float(near[1] - slope**2 / (4 * bend)) if bend > 0 else float(near[1])

    def heats(self, times: Sequence[int], seen: Glance) -> Heats:
        """What the race at this size begins with. At the size that was seen first, what was seen there too."""
        means = np.where(self.reached, self.logs.mean(1), np.inf) if self.reached.any() else self.logs.mean(1)
        own = [path for path in self.paths if path.seed == 0]
        before = seen.heats.paths if seen.spec.size == self.size else ()
        others = [path for path in before if not any(math.isclose(path.rate, one.rate) for one in own)]
        rest = tuple(path for path in self.paths if path.seed != 0)
        first = seen.heats
        return Heats((*others, *own), own[int(means.argmin())], tuple(times), 0.0, first.aim, first.goal, rest)


@dataclass(frozen=True)
class Sizes:
    """What trials say: the `size` to take, its `track` and `heats`, log costs of each size tried over the planned.

    `within`, `confidence`: of the sizes tried, those that are surely as good as the best (`sure.surely_of`).
    """

    size: int
    track: Racetrack
    heats: Heats
    costs: tuple[tuple[int, float], ...]
    seeds: int
    within: tuple[int, int]
    confidence: float

    def remark(self) -> str:
        """The sizes that were run, beside the one taken."""
        base = dict(self.costs)[self.size]
        told = ", ".join(
            f"{math.exp(cost - base):.2f} at {size}" if math.isfinite(cost) else f"not there in time at {size}"
            for size, cost in self.costs
            if size != self.size
        )
        return f"Half and twice the size were run too ({self.seeds} seeds): time over that at {self.size}: {told}."


def try_sizes(
    tryout: Tryout,
    seen: Glance,
    asked: Asked,
    curve: Mapping[int, float],
    *,
    size: int,
    noise: float,
    log_noise_sd: float,
) -> Sizes | None:
    """The best of `size`, half and twice of it, by trial and forecast; None where the seconds do not pay for it.

    - `curve`: cost by the closed form, of sizes that may be taken. `noise`: noise scale, with its `log_noise_sd`.
    """
    around = [at for at in (size // 2, size, 2 * size) if at in curve]
    level = seen.heats.level
    if len(around) < 2 or not level < seen.heats.leader.losses[0]:
        return None

    def horizon(at: int, far: float) -> int:
        more = (1 + noise / at) / (1 + noise / seen.spec.size)
        return max(math.ceil(far * seen.heats.reached * more), 4)

    each = tryout.each(seen.track)
    judged = each * math.log2(1 / FIRST["time"]) * seen.track.judging_seconds()
    time = dict(zip(around, asked.seconds(around), strict=True))

    def paid(count: int, far: float) -> bool:
        return count * sum(RATES * (horizon(at, far) * time[at] + judged) for at in around) <= SHARE * tryout.seconds

    seeds, far = next((length for length in LENGTHS if paid(*length)), (0, 0.0))
    if not seeds:
        return None
    above = EARLIER if level == seen.heats.goal else UNTOLD

    def trial(at: int) -> Trial:
        judge = Judge("time", level, float(horizon(at, far)), above)
        track = tryout.track(asked.spec(at), asked.hyper(at))
        return _run(track, at, asked.rate(at), judge, evaluations(horizon(at, far), "time", each), seeds)

    trials = {at: trial(at) for at in around}
    if not any(one.reached.any() for one in trials.values()):
        return None

    def costs(error: Callable[[], Any] = lambda: 0.0) -> dict[int, Any]:
        """Log costs over that of `size`; inf where no rate brought all seeds to the level.

        - `error`: standard normal numbers, as if all had come out otherwise.
        """
        luck = max(_spread(list(trials.values())) * math.sqrt(2 / seeds), LUCK)
        single = luck / math.sqrt(2) if math.isfinite(luck) else 0.0  # Trials that tell nothing have no share.
        own = {at: one.log_updates + math.log(time[at]) + single * error() for at, one in trials.items()}
        found = {}
        for at in trials:
            steps = abs(math.log2(at / size))
            doubt = math.hypot(FORECAST, log_noise_sd / 6) * max(steps, 1)
            told = math.log(curve[at] / curve[size]) + doubt * error()
            share = doubt**2 / (doubt**2 + luck**2)
            found[at] = share * (own[at] - own[size]) + (1 - share) * told if at != size else 0.0
        return {at: cost if trials[at].reached.any() else math.inf for at, cost in found.items()}

    for _ in range(FARTHER):
        found = costs()
        best = min(found, key=lambda at: found[at])
        beyond = best // 2 if best == min(trials) else 2 * best if best == max(trials) else best
        if beyond in trials or beyond not in curve:
            break
        trials[beyond], (time[beyond],) = trial(beyond), asked.seconds([beyond])
    found = costs()
    best = min(found, key=lambda at: found[at])
    heats = trials[best].heats(evaluations(horizon(best, far), "time", each), seen)
    rng = np.random.default_rng(0)
    within, confidence = surely_of(costs(lambda: rng.standard_normal(DRAWS)), best, share=CLOSE)
    return Sizes(best, trials[best].track, heats, tuple(sorted(found.items())), seeds, within, confidence)


def _run(track: Racetrack, size: int, rate: float, judge: Judge, times: Sequence[int], seeds: int) -> Trial:
    """Three rates around `rate`, and more beyond an end as long as it is the best."""
    runs: dict[int, list[Path]] = {}

    def run(step: int) -> None:
        at = rate * math.exp(step * STEP)
        runs[step] = [advanced(track, started(track, at, seed), times, times[-1]) for seed in range(seeds)]

    def table() -> tuple[np.ndarray, np.ndarray]:
        taken = np.array([[judge(path) for path in runs[step]] for step in sorted(runs)])
        return np.log(np.where(np.isfinite(taken), taken, 2 * judge.most)), np.asarray(np.isfinite(taken).all(1))

    for step in (-1, 0, 1):
        run(step)
    logs, reached = table()
    for _ in range(BEYOND):
        best = sorted(runs)[int(logs.mean(1).argmin())]
        if min(runs) < best < max(runs):
            break
        run(best + (1 if best > 0 else -1))
        logs, reached = table()
    return Trial(size, track, tuple(path for step in sorted(runs) for path in runs[step]), logs, reached)


def _spread(trials: Sequence[Trial]) -> float:
    """Standard deviation of log T from seed to seed, beyond what rates and seeds of a size have in common."""
    total, freedom = 0.0, 0
    for one in trials:
        logs = one.logs[one.reached]
        if len(logs) > 1:
            errors = logs - logs.mean(0) - logs.mean(1, keepdims=True) + logs.mean()
            total += float((errors**2).sum())
            freedom += (len(logs) - 1) * (logs.shape[1] - 1)
        total += float(((logs.mean(0) - logs.mean()) ** 2).sum()) if len(logs) else 0.0
        freedom += logs.shape[1] - 1 if len(logs) else 0
    return math.sqrt(total / freedom) if freedom else math.inf
