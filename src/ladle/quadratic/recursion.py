"""Second moments of SGD on one quadratic coordinate, many steps at once: an affine map and its powers.

One coordinate x with curvature h, rate e, momentum m and gradient noise of variance n at the batch size in use:

    u' = m u + h x + xi,   x' = x - e u',   Var xi = n + n_x x^2

The expectations (E x^2, E x u, E u^2) follow a linear recursion exactly, whatever the distribution of xi. Arrays hold
one entry a coordinate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Walk = tuple[Any, Callable[[Any, int], Any], Callable[[Any], float]]
"""A place to begin at, the place 2^p updates after another one, and the value at a place."""


@dataclass(frozen=True, eq=False)
class SecondMoments:
    """Where a run stands: `square` = E x^2, `cross` = E x u, `velocity` = E u^2, each `f64[dimension]`.

    u is the momentum buffer, in units of the gradient.
    """

    square: np.ndarray
    cross: np.ndarray
    velocity: np.ndarray


@dataclass(frozen=True, eq=False)
class Recursion:
    """The recursion of fixed size and rate. `curvature`, `noise`, `noise_x`: `f64[dimension]` (h, n, n_x above)."""

    curvature: np.ndarray
    noise: np.ndarray
    noise_x: np.ndarray
    rate: float
    momentum: float = 0.0

    def step(self, spread: SecondMoments) -> SecondMoments:
        """One update."""
        h, e, m = self.curvature, self.rate, self.momentum
        v, w, z = spread.square, spread.cross, spread.velocity
        a, noise = 1 - e * h, self.noise + self.noise_x * v
        return SecondMoments(
            a * a * v - 2 * a * e * m * w + e * e * m * m * z + e * e * noise,
            a * h * v + m * (a - e * h) * w - e * m * m * z - e * noise,
            h * h * v + 2 * m * h * w + m * m * z + noise,
        )

    def run(self, spread: SecondMoments, steps: int) -> tuple[SecondMoments, np.ndarray]:
        """The spread after `steps` updates, and the mean of E x^2 over the points where their gradients were taken.

        Costs the same for 10 steps as for 1e6 without momentum, and grows with log2(steps) with it.
        """
        if steps == 0:
            return spread, spread.square
        if steps == 1:
            return self.step(spread), spread.square
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            run = self._run_plain if self.momentum == 0 else self._run_heavy
            end, total = run(spread, steps)
        return end, total / steps

    def _run_plain(self, spread: SecondMoments, steps: int) -> tuple[SecondMoments, np.ndarray]:
        """v_n = a^n v + k (1 - a^n) / (1 - a), all but the last step; the last sets the momentum buffer as well."""
        before, total = _geometric(spread.square, *self._gap_and_gain(), steps - 1)
        return self.step(SecondMoments(before, spread.cross, spread.velocity)), total + before

    def _gap_and_gain(self) -> tuple[np.ndarray, np.ndarray]:
        """Without momentum v' = (1 - gap) v + gain; the gap is not a difference of nearly equal numbers."""
        e, h = self.rate, self.curvature
        return e * h * (2 - e * h) - e * e * self.noise_x, e * e * self.noise

    def _run_heavy(self, spread: SecondMoments, steps: int) -> tuple[SecondMoments, np.ndarray]:
        table = np.stack([spread.square, spread.cross, spread.velocity, *_ones_and_zeros(spread)], axis=1)[..., None]
        power = self.matrix()
        while steps:
            if steps & 1:
                table = power @ table
            steps >>= 1
            if steps:
                power = power @ power
        table = table[..., 0]
        return SecondMoments(table[:, 0], table[:, 1], table[:, 2]), table[:, 4]

    def matrix(self) -> np.ndarray:
        """`f64[dimension, 5, 5]`, one update of (E x^2, E x u, E u^2, 1, sum of E x^2 so far)."""
        h, e, m = self.curvature, self.rate, self.momentum
        a, noise, more = 1 - e * h, self.noise, self.noise_x
        rows = np.zeros((len(h), 5, 5))
        rows[:, 0, :4] = np.stack([a * a + e * e * more, -2 * a * e * m, 0 * h + e * e * m * m, e * e * noise], axis=1)
        rows[:, 1, :4] = np.stack([a * h - e * more, m * (a - e * h), 0 * h - e * m * m, -e * noise], axis=1)
        rows[:, 2, :4] = np.stack([h * h + more, 2 * m * h, 0 * h + m * m, noise], axis=1)
        rows[:, 3, 3] = rows[:, 4, 0] = rows[:, 4, 4] = 1.0
        return rows

    def first(self, spread: SecondMoments, weight: np.ndarray, level: float, most: int) -> int | None:
        """Updates until sum(weight * E x^2) is at most `level`, or None where more than `most` are needed.

        Leaps of 1, 2, 4, ... updates, then back by halves: every point that was looked at before is above the level,
        and so is the one just before. A dip between two points that were looked at is not seen.
        """
        here, leap, value = (self._plain if self.momentum == 0 else self._heavy)(spread, weight)
        done, power = 0, 0
        if value(here) <= level:
            return 0
        while done < most and not value(far := leap(here, power)) <= level:
            here, done, power = far, done + (1 << power), power + 1
        while power and done < most:
            power -= 1
            if not value(middle := leap(here, power)) <= level:
                here, done = middle, done + (1 << power)
        return done + 1 if done < most else None

    def _plain(self, spread: SecondMoments, weight: np.ndarray) -> Walk:
        """Places are numbers of updates: v_n = v + (k / (1 - a) - v) (1 - a^n) is one exponential away."""
        gap, gain = self._gap_and_gain()
        flat = gap == 0
        with np.errstate(divide="ignore"):
            fading = np.maximum(np.log1p(-np.where(flat, 0.5, gap)), -1e6)  # A gap of 1 forgets at once.
        reach = weight * (gain / np.where(flat, 1.0, gap) - spread.square)
        reach[flat] = 0.0
        begin, drift = float(weight @ spread.square), float((weight * gain)[flat].sum())

        def value(steps: int) -> float:
            with np.errstate(over="ignore", invalid="ignore"):
                return begin + drift * steps - float(reach @ np.expm1(steps * fading))

        return 0, lambda steps, power: steps + (1 << power), value

    def _heavy(self, spread: SecondMoments, weight: np.ndarray) -> Walk:
        """Places are tables `f64[dimension, 4, 1]`; the powers of the matrix are kept."""
        powers = [self.matrix()[:, :4, :4]]

        def leap(table: np.ndarray, power: int) -> np.ndarray:
            with np.errstate(over="ignore", invalid="ignore"):
                while len(powers) <= power:
                    powers.append(powers[-1] @ powers[-1])
                return powers[power] @ table

        start = np.stack([spread.square, spread.cross, spread.velocity, np.ones_like(spread.square)], axis=1)
        return start[..., None], leap, lambda table: float(weight @ table[:, 0, 0])


def _geometric(v: np.ndarray, gap: np.ndarray, gain: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """v_n and v_0 + ... + v_(n-1) of v' = (1 - gap) v + gain. Exact also where gap is 0, or below (no steady state)."""
    if steps == 0:
        return v, np.zeros_like(v)
    lost = -np.expm1(steps * np.log1p(-gap))  # 1 - a^n
    sums = lost / gap  # 1 + a + ... + a^(n-1)
    rest = (steps - sums) / gap
    if not gap.all():
        sums, rest = np.where(gap == 0, steps, sums), np.where(gap == 0, steps * (steps - 1) / 2, rest)
    return v - lost * v + gain * sums, v * sums + gain * rest


def _ones_and_zeros(spread: SecondMoments) -> tuple[np.ndarray, np.ndarray]:
    return np.ones_like(spread.square), np.zeros_like(spread.square)
