"""A world for policies without training: what a run of any policy would read, as a function of position and size."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ladle.core.batch import updates_until, window_end
from ladle.core.decision import Decision, Progress
from ladle.core.duration import window_stop
from ladle.core.memory import plain
from ladle.core.moments import Moments
from ladle.core.spec import BatchSpec

TRACE = 30.0
FIXED_SECONDS, PER_EXAMPLE_SECONDS = 0.02, 1e-4


@lru_cache
def constant(phi: float) -> Callable[[float], float]:
    return lambda done: phi


def rising(done: float) -> float:
    """Noise scale by share of the run: from 20 to 8000 over its first 70 %."""
    return 20 * 400 ** min(1.0, done / 0.7)


@dataclass(frozen=True)
class World:
    """Gaussian gradients of `dimension` equal directions with tr Sigma = 30 and a noise scale that `phi` gives.

    Windows end where those of the loop do. The training loss is
    |G|^2, so that CABS at rate 1 asks for the noise scale; that of validation stops falling at the tenth epoch.
    """

    end: int
    epoch: int
    window: int
    phi: Callable[[float], float]
    dimension: int = 200
    seed: int = 0
    measures: bool = True

    def run(self, policy: Any, memory: Any, progress: Progress) -> Iterator[tuple[Progress, Any, Decision]]:
        """(progress, memory before, decision) at every window; the memory travels as JSON."""
        while progress.examples < self.end:
            after, decision = policy.decide(memory, progress)
            yield progress, memory, decision
            memory = json.loads(json.dumps(plain(after), allow_nan=False))
            progress = self.after(progress, decision)

    @lru_cache(maxsize=256)  # noqa: B019 - worlds and policies are values
    def whole(self, policy: Any) -> list[tuple[Progress, Any, Decision]]:
        return list(self.run(policy, policy.init(None), Progress()))

    def after(self, progress: Progress, decision: Decision) -> Progress:
        """What is known after a window at `decision`."""
        position, size = progress.examples, decision.spec.size
        ends = window_stop(position, self.window, self.epoch), self.end, decision.stop
        stop = min(end for end in ends if end is not None)
        updates = updates_until(position, stop, size, self.epoch)
        position = window_end(position, size, updates, self.epoch)
        reading = {**self._valid(progress, position), **self._reading(progress.examples, updates, decision.spec)}
        return replace(
            progress,
            examples=position,
            updates=progress.updates + updates,
            epoch=position / self.epoch,
            seconds=progress.seconds + reading["window_seconds"],
            reading=reading,
            size=size,
            evaluated=position if position % self.epoch == 0 else progress.evaluated,
        )

    def _valid(self, before: Progress, position: int) -> dict[str, float]:
        if position % self.epoch:
            kept = ("valid_loss", "valid_accuracy")
            return {name: value for name, value in before.reading.items() if name in kept}
        epochs = position // self.epoch
        loss = 2.3 - 0.1 * min(epochs, 10) + 1e-3 * math.sin(7.0 * epochs)
        return {"valid_loss": loss, "valid_accuracy": 0.5}

    @lru_cache(maxsize=4096)  # noqa: B019
    def _reading(self, start: int, updates: int, spec: BatchSpec) -> dict[str, float]:
        if not self.measures:
            return {"window_seconds": updates * FIXED_SECONDS}
        rng = np.random.default_rng([self.seed, start])
        size, micro = spec.size, spec.micro_size
        phi, pieces = self.phi(start / self.end), 8
        q, spread = TRACE / phi, TRACE**2 / self.dimension
        trace = TRACE + math.sqrt(2 * spread / (pieces - 1)) * rng.standard_normal(updates)
        sd = math.sqrt(4 * q * TRACE / (self.dimension * size) + 2 * spread / size**2 * (1 + 1 / (pieces - 1)))
        moments = Moments.from_pairs(trace, q + sd * rng.standard_normal(updates), updates * size)
        along = TRACE * q / self.dimension * (1 + 0.3 * rng.standard_normal(updates)).clip(0)
        moments = replace(moments, projection=float(along.sum()), projections=float(updates))
        seconds = updates * (FIXED_SECONDS + PER_EXAMPLE_SECONDS * size) * rng.uniform(0.97, 1.03)
        return {
            **{f"noise/{name}": value for name, value in vars(moments).items()},
            "train_loss": q * rng.uniform(0.99, 1.01),
            "window_seconds": seconds,
            "cpu_seconds": 1.5 * seconds,
            "data_wait_fraction": 0.05,
            "memory_bytes": 200e6 + 1e6 * micro,
            "memory_limit_bytes": 400e6,
        }

    def line(self, progress: Progress, decision: Decision) -> dict[str, Any]:
        """The record line of the window that ended at `progress`, as it stands in the file."""
        fresh = progress.examples % self.epoch == 0
        reading = {n: v for n, v in progress.reading.items() if fresh or not n.startswith("valid_")}
        line = {
            "examples": progress.examples,
            "updates": progress.updates,
            "epoch": progress.epoch,
            "seconds": progress.seconds,
            "size": decision.spec.size,
            "micro_size": decision.spec.micro_size,
            "lr_factor": decision.lr_factor,
            "evaluated": progress.evaluated,
            **reading,
        }
        if decision.reason:
            line["reason"] = decision.reason
        return json.loads(json.dumps({**line, "inputs": dict(decision.inputs)}, allow_nan=False))


def sizes_of(rows: list[tuple[Progress, Any, Decision]]) -> list[int]:
    return [decision.spec.size for _, _, decision in rows]


def changes(values: Sequence[float]) -> list[tuple[float, float]]:
    return [(before, after) for before, after in pairwise(values) if before != after]
