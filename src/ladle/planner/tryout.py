"""`Tryout`: how a plan tries learning rates: how long, at which sizes, and what it makes of what it finds.

First at the reference size, with one seed: a rate good enough to train the pilot with, whose noise scale decides the
size. Then at the chosen size, with three seeds: the rate of the plan. Between the two the rate is only guessed by a
rule, and tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ladle.core.duration import Until
from ladle.core.moments import Moments
from ladle.core.spec import BatchSpec
from ladle.planner.heats import HIGHEST, LOWEST, Heats, heats
from ladle.planner.lane import Aim, Race
from ladle.planner.path import EVALUATIONS, Runner
from ladle.planner.race import race

RUNS: Mapping[Aim, int] = {"time": 32, "loss": 27}
"""Heats and a race take the updates of about so many runs to the horizon: 5, 22, and 5 that tell a time to a loss."""

JUDGEMENTS: Mapping[Aim, int] = {"time": 400, "loss": 200}
"""Evaluations in a race, with `EVALUATIONS` in a doubling."""

JUDGING = 0.15
"""Of the seconds, for evaluations: as many rows and as many evaluations in a doubling as that pays for."""

DENSEST = 8
"""Evaluations in a doubling at most: 9 % apart, several in what a path is smoothed over."""

PASSES = 30
"""Over the rows, that a run is taken to be meant to make, where nothing is said."""

FEWEST, MOST = 48, 100_000
"""Updates of a horizon. Below, too little is seen of a run; above, more tells no more about the rate."""

NEAR = (-1.0, 1.0)
"""Decades around a rate that a rule carried from where it was tried."""


class Racetrack(Runner, Protocol):
    """Where rates race, at one size."""

    def update_seconds(self) -> float:
        """What one update takes, compiled."""
        ...

    def judging_seconds(self) -> float:
        """What one evaluation takes, compiled."""
        ...

    def moments(self, run: Any, spec: BatchSpec, updates: int) -> Moments:
        """Sums of gradient moments at the parameters of `run`, which can go on afterwards."""
        ...


@dataclass(frozen=True)
class Tryout:
    """Says where and how long rates are tried.

    - `track`: the track of a size with its optimiser constants. `seconds`: for all races together, compiling apart.
    - `kept`: the rate is the user's and stays; what is found is only said. `aim`: the fewest updates to a loss, or the
      lowest loss at the end of the run that is meant.
    - `until`: how long the run is that is planned for; `PASSES` over the rows where it does not say.
    """

    track: Callable[[BatchSpec, Mapping[str, float]], Racetrack]
    seconds: float
    until: Until | None = None
    kept: bool = False
    aim: Aim = "time"

    @property
    def goal(self) -> float | None:
        """The validation loss that the run is to reach, where it says one."""
        target = None if self.until is None or self.aim == "loss" else self.until.target
        wanted = target is not None and target.metric == "valid_loss" and not target.at_least
        return target.value if target is not None and wanted else None

    def each(self, track: Racetrack) -> int:
        """Evaluations in a doubling."""
        if self.aim == "loss":
            return EVALUATIONS
        paid = JUDGING * self.seconds / (JUDGEMENTS[self.aim] * track.judging_seconds())
        return min(max(int(EVALUATIONS * paid), EVALUATIONS), DENSEST)

    def horizon(self, track: Racetrack, spec: BatchSpec, *, rows: int) -> int:
        """Updates of the longest runs: those of the run that is meant, as far as the seconds go; 0 for too few.

        horizon = (seconds - each / EVALUATIONS * JUDGEMENTS[aim] * judging_seconds) / (RUNS[aim] * update_seconds)

        Where the loss at its end is the aim, no more than those of the run, however few.
        """
        meant = self._updates(spec.size, rows)
        meant = max(meant, FEWEST) if self.aim == "time" else math.ceil(meant)
        judged = JUDGEMENTS[self.aim] * self.each(track) / EVALUATIONS
        left = self.seconds - judged * track.judging_seconds()
        updates = int(min(meant, left / (RUNS[self.aim] * track.update_seconds()), MOST))
        return updates if updates >= min(FEWEST, meant) else 0

    def _updates(self, size: int, rows: int) -> float:
        examples = None if self.until is None else self.until.stop(rows)
        updates = None if self.until is None else self.until.updates
        if examples is None and updates is None:
            examples = PASSES * rows
        return min(math.inf if examples is None else examples / size, math.inf if updates is None else updates)


@dataclass(frozen=True)
class Glance:
    """The heats at the reference size: a rate to train with, for runs of `horizon` updates there."""

    spec: BatchSpec
    track: Racetrack
    usual: float
    heats: Heats
    horizon: int

    @property
    def rate(self) -> float:
        return self.heats.leader.rate if self.heats.learned else self.usual

    @property
    def reached(self) -> float:
        """Updates that the best rate took to the loss at which the rates were compared."""
        return self.heats.reached


def glance(tryout: Tryout, spec: BatchSpec, usual: float, hyper: Mapping[str, float], *, rows: int) -> Glance | None:
    """The heats at `spec` around the `usual` rate; None where an update takes too long to try any."""
    track = tryout.track(spec, hyper)
    horizon = tryout.horizon(track, spec, rows=rows)
    if not horizon:
        return None
    how = {"horizon": horizon, "aim": tryout.aim, "goal": tryout.goal, "each": tryout.each(track)}
    return Glance(spec, track, usual, heats(track, usual, **how), horizon)


def try_rates(
    tryout: Tryout,
    spec: BatchSpec,
    guess: float,
    hyper: Mapping[str, float],
    *,
    rows: int,
    seen: Glance | None = None,
    begun: tuple[Racetrack, Heats] | None = None,
) -> Race | None:
    """The race at `spec` around `guess`; None where an update takes too long. What was `seen` at that size is used.

    - `begun`: a track at `spec`, and runs on it that stand for the heats.
    """
    if begun is not None:
        return race(begun[0], guess, horizon=begun[1].times[-1], begun=begun[1])
    if seen is not None and seen.spec == spec:
        return race(seen.track, seen.usual, horizon=seen.horizon, begun=seen.heats)
    track = tryout.track(spec, hyper)
    horizon = tryout.horizon(track, spec, rows=rows)
    if not horizon:
        return None
    how = {"horizon": horizon, "aim": tryout.aim, "goal": tryout.goal, "each": tryout.each(track)}
    near = NEAR if seen is not None and seen.heats.learned else (LOWEST, HIGHEST)
    return race(track, guess, decades=near, **how)
