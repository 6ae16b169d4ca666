"""`Racetrack`: where learning rates race: fresh runs of a task at one size, judged on the same few rows. Keeps none."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ladle.api.assembly import Assembly
from ladle.core.cursor import Cursor
from ladle.core.moments import Moments
from ladle.core.protocols import Feed, Probe
from ladle.core.spec import BatchSpec

LEAST, MOST = 128, 4096
"""Rows that runs are judged on; the same for all, so that what a few miss is missed by all. Few rows rank rates by what
these few have in common: as many are taken as the seconds pay for (`judged_in`)."""

FIXED = 512
"""Rows where a run of a fixed length takes the rate that ends lowest: the same rate, however fast the machine."""

TIMED_SECONDS = 0.01
TIMINGS = 4
"""Of a window, and of an evaluation: the least of them is the one that nothing interrupted."""

MOST_TIMED = 4096
"""Updates of the window that is timed: enough of them for a clock."""


class Racer(NamedTuple):
    """One run on the track: where its parameters are, and where it is in its data."""

    state: Any
    feed: Feed
    cursor: Cursor


@dataclass(frozen=True)
class Racetrack:
    """Implements `ladle.planner.race.Runner` for `assembly` at `spec`.

    The loss is that of validation rows, or of training rows where there are none: at random, drawn once.

    - `hyper`: constants of the optimiser. `probe`: who measures gradient moments, where they are asked for.
    - `judged`: rows that it is judged on, at most.
    """

    assembly: Assembly
    spec: BatchSpec
    hyper: Mapping[str, float] = field(default_factory=dict)
    probe: Probe | None = None
    judged: int = LEAST

    @cached_property
    def rows(self) -> Any:
        """The rows that runs are judged on."""
        return _sample(self.assembly, self._judging, self.judged)

    @property
    def _judging(self) -> Any:
        return self.assembly.measured_feed(0).data if self.assembly.valid is None else self.assembly.valid

    def judged_in(self, seconds: float) -> Racetrack:
        """This track with as many rows, a power of two or all, as can be judged in so many seconds; no fewer."""
        here, count = _rows(self.rows), _rows(self._judging)
        paid = here * seconds / self.judging_seconds()
        wanted = max(min(paid, count, MOST), here)
        wanted = count if wanted >= count else 1 << int(math.log2(wanted))
        return self if wanted <= here else replace(self, judged=wanted)

    def update_seconds(self) -> float:
        """What one update takes, compiled: at a learning rate of zero, in ever longer windows."""
        run, _ = self.start(1.0, 0)
        updates, seconds = 1, 0.0
        while seconds < TIMED_SECONDS and updates <= MOST_TIMED:
            run, _ = self._still(run, updates)  # Compiles it, where it is new.
            timed = []
            for _ in range(TIMINGS):
                run, once = self._still(run, updates)
                timed.append(once)
            seconds, updates = min(timed), 8 * updates
        return seconds * 8 / updates

    def _still(self, run: Racer, updates: int) -> tuple[Racer, float]:
        """`run` after updates that change nothing, and their seconds."""
        part = replace(self.spec, updates=updates)
        draw, cursor = run.feed.draw(run.cursor, part)
        began = time.perf_counter()
        state, observation = self.assembly.engine.step(run.state, draw, part, 0.0)
        observation.read()  # Waits for the device.
        return Racer(state, run.feed, cursor), time.perf_counter() - began

    def judging_seconds(self) -> float:
        """What one judgement takes, compiled."""
        state, seconds = self.assembly.engine.step.init(0, {**self.hyper}), []
        for _ in range(TIMINGS):
            started = time.perf_counter()
            self._loss(state)
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def start(self, rate: float, seed: int) -> tuple[Racer, float]:
        feed = self.assembly.measured_feed(seed)
        state = self.assembly.engine.step.init(seed, {**self.hyper, "lr": rate})
        return Racer(state, feed, feed.start()), self._loss(state)

    def advance(self, run: Racer, updates: int) -> tuple[Racer, float]:
        part = replace(self.spec, updates=updates)
        draw, cursor = run.feed.draw(run.cursor, part)
        state, observation = self.assembly.engine.step(run.state, draw, part, 1.0)
        refused = observation.read()["refused"] > 0
        return Racer(state, run.feed, cursor), math.inf if refused else self._loss(state)

    def moments(self, run: Racer, spec: BatchSpec, updates: int) -> Moments:
        """Sums of gradient moments at the parameters of `run`, which can go on afterwards."""
        assert self.probe is not None
        return self.probe.moments(spec, updates, self.assembly.engine.copy(run.state))

    def _loss(self, state: Any) -> float:
        return self.assembly.engine.evaluate(state, self.rows)["valid_loss"]


def _sample(assembly: Assembly, part: Any, count: int) -> Any:
    """`part`, or `count` of its rows at random, placed."""
    rows = _rows(part)
    if rows <= count:
        return part
    return assembly.engine.place(_taken(part, np.sort(np.random.default_rng(0).permutation(rows)[:count])))


def _rows(part: Any) -> int:
    while isinstance(part, Mapping):
        part = next(iter(part.values()))
    return len(part)


def _taken(part: Any, ids: np.ndarray) -> Any:
    if isinstance(part, Mapping):
        return {name: _taken(leaf, ids) for name, leaf in part.items()}
    return np.asarray(part)[ids]
