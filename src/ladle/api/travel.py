"""`Travelled`: a probe that times updates as a run has them whose rows travel from the host."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.backend import Engine
from ladle.core.moments import Moments
from ladle.core.protocols import Feed, Probe
from ladle.core.spec import BatchSpec
from ladle.feed.prefetch import PrefetchedFeed

PROBE_SECONDS = 0.05
"""Updates of one timing take about this long: a travelling update is a call of its own, and calls differ."""

MOST_UPDATES = 200


@dataclass(frozen=True)
class Travelled:
    """Answers a plan's questions as `probe` does, but for the seconds: those include reading, transfer and calls.

    A run whose data are on the devices makes many updates in one call. Where rows travel, every update is read, sent
    and called for by itself, which costs a small update several times its own work: the best size is then larger.

    - `feed`: of rows that travel, as a run has it. `hyper`: optimiser constants.
    """

    probe: Probe
    engine: Engine
    feed: Feed
    hyper: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def memory_bytes(self, spec: BatchSpec) -> int:
        return self.probe.memory_bytes(spec)

    def confirm_bytes(self, spec: BatchSpec) -> int:
        return self.probe.confirm_bytes(spec)

    def limit_bytes(self) -> tuple[int, str]:
        return self.probe.limit_bytes()

    def moments(self, spec: BatchSpec, updates: int, state: Any = None) -> Moments:
        return self.probe.moments(spec, updates, state)

    def joules(self, spec: BatchSpec) -> float | None:
        return self.probe.joules(spec)

    def confirm_all(self, specs: Sequence[BatchSpec]) -> list[int]:
        return self.probe.confirm_all(specs)

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        """Per update, drawn one after the other at a rate of zero, so that nothing diverges; compilation left out."""
        step, cursor = self.engine.step, self.feed.start()
        state = step.init(self.seed, self.hyper)
        state = step.prepare(state, self.feed.draw(cursor, spec)[0], spec)

        def timed(updates: int) -> float:
            nonlocal state, cursor
            began, seen = time.perf_counter(), None
            for _ in range(updates):
                draw, cursor = self.feed.draw(cursor, spec)
                state, seen = step(state, draw, spec, 0.0)
            assert seen is not None
            seen.sums()  # Waits for the device.
            return (time.perf_counter() - began) / updates

        timed(1)
        updates = int(np.clip(PROBE_SECONDS / timed(1), 1, MOST_UPDATES))
        return np.array([timed(updates) for _ in range(repeats)])


def as_run(probe: Probe, engine: Engine, feed: Feed, *, hyper: Mapping[str, float], seed: int) -> Probe:
    """`probe`, timing as a run would that reads `feed`: rows by number that travel; any other feed is left alone.

    A live stream is not drawn from: what it gives is gone.
    """
    return Travelled(probe, engine, feed, hyper, seed) if isinstance(feed, PrefetchedFeed) else probe
