"""A probe made of closed forms, for tests: affine memory, affine time, Gaussian gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.errors import RunError
from ladle.core.moments import Moments, pair
from ladle.core.spec import BatchSpec


@dataclass
class FakeProbe:
    """Everything a test wants to know about it is a field; what was asked is kept in `asked`.

    - Memory: `fixed_bytes + example_bytes * micro_size` predicted; measured is `measured_factor` times that, and a
      child with more than `dies_above` of micro-batch does not survive.
    - Time: `update_seconds + micro_steps * (micro_seconds + example_seconds * micro_size)`, times a spread of `jitter`.
    - Energy: `watts` times the time, or e0 + micro_steps * e1 * micro_size with `joule_line` = (e0, e1), or no meter.
    - Gradients: `dimension` independent normal coordinates, |G|^2 = `gradient_sq`, covariance trace `trace`.
    """

    fixed_bytes: int = 1_000_000
    example_bytes: int = 1_000
    limit: int = 10**9
    measured_factor: float = 1.0
    dies_above: float = float("inf")
    update_seconds: float = 0.02
    micro_seconds: float = 0.0
    example_seconds: float = 1e-4
    jitter: float = 0.0
    dimension: int = 200
    gradient_sq: float = 0.25
    trace: float = 200.0
    seed: int = 0
    watts: float | None = None
    joule_line: tuple[float, float] | None = None
    asked: list[tuple[str, BatchSpec]] = field(default_factory=list)

    def memory_bytes(self, spec: BatchSpec) -> int:
        self.asked.append(("memory", spec))
        return self.fixed_bytes + self.example_bytes * spec.micro_size

    def confirm_bytes(self, spec: BatchSpec) -> int:
        self.asked.append(("confirm", spec))
        if spec.micro_size > self.dies_above:
            raise RunError("the child was killed")
        return int((self.fixed_bytes + self.example_bytes * spec.micro_size) * self.measured_factor)

    def limit_bytes(self) -> tuple[int, str]:
        return self.limit, "free memory of a made-up machine"

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        self.asked.append(("seconds", spec))
        rng = np.random.default_rng((self.seed, spec.size, spec.micro_size))
        one = self.micro_seconds + self.example_seconds * spec.micro_size
        return (self.update_seconds + spec.micro_steps * one) * (1 + self.jitter * rng.exponential(size=repeats))

    def moments(self, spec: BatchSpec, updates: int, state: Any = None) -> Moments:
        self.asked.append(("moments", spec))
        rng = np.random.default_rng(self.seed)
        k, m, d = spec.micro_steps, spec.micro_size, self.dimension
        pairs = []
        mean = np.sqrt(self.gradient_sq / d)
        for _ in range(updates):
            g = mean + np.sqrt(self.trace / d / m) * rng.standard_normal((k, d))
            pairs.append(pair(m * (g**2).sum(), (g.mean(0) ** 2).sum(), k * m, k))
        trace, square = np.array(pairs).T
        return Moments.from_pairs(trace, square, spec.size * updates)

    def joules(self, spec: BatchSpec) -> float | None:
        self.asked.append(("joules", spec))
        if self.joule_line is not None:
            return self.joule_line[0] + self.joule_line[1] * spec.micro_size * spec.micro_steps
        return None if self.watts is None else self.watts * float(self.seconds(spec, 1)[0])
