"""What a policy would read in a run on the noisy quadratic: exact moments, or estimates as noisy as real ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Moments
from ladle.core.noise import estimate
from ladle.core.seed import seed_words
from ladle.quadratic.noisy_quadratic import Point


@dataclass(frozen=True)
class Instrument:
    """Measures the gradient moments of a window. By default exactly; then every interval has no width.

    - `micro_steps`: k >= 2: estimates have the errors of k micro-batches an update of normal gradients, where
      Var(trace) = 2 tr(Sigma^2) / (k - 1) and Var |g_B|^2 = 4 G'Sigma G / B + 2 tr(Sigma^2) / B^2, independent of it.
      Smaller batches are cut into as many parts as they have examples; of one example nothing is learnt.
    - `seed`: random numbers are a function of it and of the window's position.
    """

    micro_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.micro_steps < 0 or self.micro_steps == 1:
            why = "a spread needs two parts"
            raise ArgumentError(must("micro_steps", "be 0 (exact) or at least 2", self.micro_steps, why, "8"))
        seed_words(self.seed)

    def moments(self, point: Point, *, size: int, updates: int, position: int) -> Moments:
        """Sums over `updates` updates of `size` examples with the gradient moments of `point`."""
        if not self.micro_steps:
            # What is known exactly is as good as measured twice: one update has no spread to tell an interval from.
            n, s, q = max(updates, 2), point.trace, point.gradient_sq
            return Moments(n, n * s, n * q, n * s * s, n * q * q, n * s * q, n * size, n * point.projection, n)
        parts, n, share = min(self.micro_steps, size), updates, 1 / size
        if parts < 2:
            return Moments()
        # The trace and |g_B|^2, which is the square and a share of the trace, are independent.
        batch = 4 * point.projection / size + 2 * point.trace_sq / size**2
        rng = np.random.default_rng((self.seed, position))
        s, s_sq = _sums(rng, n, point.trace, math.sqrt(2 * point.trace_sq / (parts - 1)))
        o, o_sq = _sums(rng, n, point.gradient_sq + share * point.trace, math.sqrt(batch))
        # Of two independent samples: their correlation is about 1 / sqrt(n - 1), and never above 1.
        chance = float(np.clip(rng.standard_normal() / math.sqrt(max(n - 1, 1)), -1, 1))
        both = s * o / n + chance * math.sqrt(max(s_sq - s * s / n, 0.0) * max(o_sq - o * o / n, 0.0))
        # square = other - share * trace, update by update.
        square, square_sq = o - share * s, o_sq - 2 * share * both + share**2 * s_sq
        return Moments(
            count=float(n),
            trace=s,
            square=square,
            trace_sq=s_sq,
            square_sq=square_sq,
            cross=both - share * s_sq,
            examples=float(n * size),
            projection=n * point.projection,
            projections=float(n),
        )


def readings(point: Point, moments: Moments, *, size: int) -> dict[str, float]:
    """A window's readings by the names that a real run gives them. `point`: the window's mean."""
    reading = {
        "refused": 0.0,
        "train_loss": point.loss,
        "grad_norm": math.sqrt(point.gradient_sq + point.trace / size),
        "data_wait_fraction": 0.0,
    }
    if moments.count < 2:
        return reading
    noise = estimate(moments)
    reading |= {f"noise/{name}": value for name, value in vars(moments).items()}
    return reading | {"noise_scale": noise.value, "noise_scale_low": noise.low, "noise_scale_high": noise.high}


def _sums(rng: np.random.Generator, n: int, mean: float, sd: float) -> tuple[float, float]:
    """Sum, and sum of squares, of n independent normal numbers, drawn at once: normal and chi-squared."""
    if sd == 0:
        return n * mean, n * mean * mean
    drawn = mean + sd * float(rng.standard_normal()) / math.sqrt(n)
    spread = sd * sd * float(rng.chisquare(n - 1)) if n > 1 else 0.0
    return n * drawn, n * drawn * drawn + spread
