"""`NoisyQuadratic`: expected loss and gradient noise of SGD on a quadratic, exactly and without sampling.

    L(x) = 1/2 sum_i h_i x_i^2,   gradient of one example: h_i x_i + noise of variance c_i + r (h_i x_i)^2

Everything that batch-size rules speak of has a closed form in E x_i^2, and that has a linear recursion
(`ladle.quadratic.recursion`). With h_i = c_i = 1/i the model predicts how steps to a target depend on size, momentum
and decay in real networks (Zhang et al. 2019, arXiv 1907.04164). It is the referee of every policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.quadratic.recursion import Recursion, SecondMoments

MOST_STEPS = 10**8
"""More updates than any run needs: a target not reached by then is one that is never reached."""

RATES = 40
"""Rates of the first grid that `NoisyQuadratic.best_rate` looks at; two finer ones of `FINER` follow."""

FINER = 9


@dataclass(frozen=True)
class Point:
    """Loss and gradient moments of the quadratic, as expectations over runs.

    - `loss`; `gradient_sq` = |G|^2; `trace` = tr Sigma; `trace_sq` = tr Sigma^2; `projection` = G'Sigma G.
    - `bend` = G'HG; `bend_noise` = tr(H Sigma).

    With multiplicative noise `trace_sq` and `projection` are those of a point with x_i^2 = E x_i^2; all else is exact.
    """

    loss: float
    gradient_sq: float
    trace: float
    trace_sq: float
    projection: float
    bend: float
    bend_noise: float

    @property
    def simple_noise_scale(self) -> float:
        """tr Sigma / |G|^2: what `ladle.noise` estimates."""
        return self.trace / self.gradient_sq if self.gradient_sq > 0 else math.inf

    @property
    def noise_scale(self) -> float:
        """tr(H Sigma) / G'HG: the one that decides about progress (McCandlish et al. 2018, eq. 2.8)."""
        return self.bend_noise / self.bend if self.bend > 0 else math.inf

    def best_step(self, size: float) -> float:
        """The rate that lowers the expected loss most in the next update without momentum.

        |G|^2 / G'HG / (1 + noise_scale / size)     McCandlish et al. 2018, eq. 2.6
        """
        return self.gradient_sq / (self.bend + self.bend_noise / size)


@dataclass(frozen=True, eq=False)
class NoisyQuadratic:
    """The quadratic, its noise and where a run begins. A frozen value; where a run stands is a `SecondMoments`.

    - `curvature`: h, `f64[dimension]`, positive. `noise`: c, variance of one example's gradient, `f64[dimension]`.
    - `start`: E x_i^2 at the start, `f64[dimension]`; the square of x_i where the start is known.
    - `multiplicative`: r, in examples. With `noise` 0 both noise scales are r everywhere.

    Rates and momentum as in optax's `sgd`: u' = momentum u + gradient, x' = x - rate u'. Sizes may be fractions.
    Raises `ArgumentError` for arrays of different lengths, a curvature that is not positive, a negative variance.

    >>> quadratic = NoisyQuadratic.power_law(20)
    >>> round(quadratic.loss(quadratic.steady(16, 0.1)), 8)
    0.00575108
    """

    curvature: np.ndarray
    noise: np.ndarray
    start: np.ndarray
    multiplicative: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("curvature", "positive"), ("noise", "at least 0"), ("start", "at least 0")):
            object.__setattr__(self, name, _numbers(name, getattr(self, name), least, len(np.atleast_1d(self.start))))
        if not 0 <= self.multiplicative < math.inf:
            why = "it is a variance over a squared gradient"
            raise ArgumentError(must("multiplicative", "be at least 0", self.multiplicative, why, "0"))

    @classmethod
    def power_law(
        cls,
        dimension: int = 1000,
        exponent: float = 1.0,
        *,
        noise_scale: float | None = None,
        loss: float | None = None,
    ) -> NoisyQuadratic:
        """Curvature h_i = i^-exponent, noise in proportion to it, from E x_i^2 = 1: the model of Zhang et al. 2019.

        - `noise_scale`: the simple noise scale tr Sigma / |G|^2 at the start; left out, c_i = h_i.
        - `loss`: expected loss at the start (it grows as x^2; rates and noise scales stay); left out, 1/2 sum h.

        >>> point = NoisyQuadratic.power_law(100, noise_scale=800, loss=1).at(None)
        >>> round(point.simple_noise_scale), round(point.loss, 12)
        (800, 1.0)
        """
        if dimension < 1 or not math.isfinite(exponent):
            why, remedy = "it is a list of curvatures i^-exponent", "power_law(1000, 1)"
            raise ArgumentError(
                must("the spectrum", "have a dimension and an exponent", (dimension, exponent), why, remedy)
            )
        for name, value in (("noise_scale", noise_scale), ("loss", loss)):
            if value is not None and not 0 < value < math.inf:
                raise ArgumentError(must(name, "be positive", value, "a quadratic at rest has nothing to show", "800"))
        h = np.arange(1, dimension + 1, dtype=np.float64) ** -exponent
        square = 1.0 if loss is None else 2 * loss / h.sum()
        factor = square if noise_scale is None else noise_scale * float(h @ h) * square / h.sum()
        return cls(h, factor * h, np.full(dimension, square))

    def begin(self) -> SecondMoments:
        """Where a run begins: at `start`, without momentum."""
        return SecondMoments(self.start, np.zeros_like(self.start), np.zeros_like(self.start))

    def loss(self, spread: SecondMoments) -> float:
        """Expected loss."""
        return float(self.curvature @ spread.square) / 2

    def at(self, spread: SecondMoments | np.ndarray | None) -> Point:
        """Loss and gradient moments at a spread, at E x_i^2 given alone, or at the start."""
        v = self.start if spread is None else spread.square if isinstance(spread, SecondMoments) else spread
        h = self.curvature
        with np.errstate(over="ignore", invalid="ignore"):  # A run that diverged has moments of inf and nan.
            g = h * h * v
            sigma = self.noise + self.multiplicative * g if self.multiplicative else self.noise
            sums = (h @ v / 2, g.sum(), sigma.sum(), sigma @ sigma, g @ sigma, h @ g, h @ sigma)
        return Point(*(float(x) for x in sums))

    def recursion(self, size: float, rate: float, momentum: float = 0.0) -> Recursion:
        """The moments' recursion at a size and rate. Raises `ArgumentError` for numbers that no run can have."""
        for name, value in (("size", size), ("rate", rate)):
            if not 0 < value < math.inf:
                raise ArgumentError(
                    must(name, "be positive", value, "an update has examples and a step", f"{name}=0.1")
                )
        _require_momentum(momentum)
        per_square = self.multiplicative * self.curvature**2 / size
        return Recursion(self.curvature, self.noise / size, per_square, rate, momentum)

    def window(
        self, spread: SecondMoments, *, size: float, rate: float, steps: int, momentum: float = 0.0
    ) -> tuple[SecondMoments, np.ndarray]:
        """The spread after `steps` updates, and the mean of E x_i^2 over the points where they took their gradients."""
        return self.recursion(size, rate, momentum).run(spread, steps)

    def after(
        self, spread: SecondMoments, *, size: float, rate: float, steps: int, momentum: float = 0.0
    ) -> SecondMoments:
        """The spread after `steps` updates of constant size and rate. Not finite where it diverged."""
        return self.window(spread, size=size, rate=rate, steps=steps, momentum=momentum)[0]

    def largest_rate(self, size: float, momentum: float = 0.0) -> float:
        """The loss stays bounded at rates below this, and grows without end above it.

        h e < 2 (1 - m^2) / (1 - m + (1 + m) r / B)  for every h: where the noise fed back by x is less than x forgets.
        """
        _require_momentum(momentum)
        m, r = momentum, self.multiplicative
        return 2 * (1 - m * m) / (1 - m + (1 + m) * r / size) / float(self.curvature.max())

    def steady(self, size: float, rate: float, momentum: float = 0.0) -> SecondMoments:
        """Where a run at this size and rate ends after very many updates.

        Without momentum E x_i^2 = e c_i / (B h_i (2 - e h_i)). Raises `ArgumentError` at and above `largest_rate`.
        """
        self.recursion(size, rate, momentum)
        most = self.largest_rate(size, momentum)
        if not rate < most:
            why = "above it the loss grows without end"
            raise ArgumentError(must("rate", f"be below {most:.6g}", rate, why, f"rate={most / 2:.3g}"))
        m, e, h = momentum, rate, self.curvature
        lost = (1 - m) * h * (2 * (1 + m) - e * h) - (1 + m) * e * self.multiplicative * h * h / size
        v = (1 + m) * e * (self.noise / size) / lost
        z = (h * h * v + (self.noise + self.multiplicative * h * h * v) / size) / (1 - m * m + m * e * h)
        return SecondMoments(v, -e * z / 2, z)

    def steps_to(
        self,
        target: float,
        *,
        size: float,
        rate: float,
        momentum: float = 0.0,
        spread: SecondMoments | None = None,
        most: int = MOST_STEPS,
    ) -> float:
        """Updates of constant size and rate until the expected loss is at most `target`.

        - `spread`: where to begin, by default at the start. `most`: where more are needed, the answer is `inf`.
        """
        recursion = self.recursion(size, rate, momentum)
        found = recursion.first(spread or self.begin(), self.curvature / 2, target, most)
        return math.inf if found is None else found

    def best_rate(
        self, target: float, *, size: float, momentum: float = 0.0, most: int = MOST_STEPS
    ) -> tuple[float, float]:
        """The constant rate that reaches `target` in the fewest updates at `size`, and their number (`inf`: no rate).

        A grid over four decades below `largest_rate`, then two finer ones around its best.
        """
        return self._best(
            lambda rate: self.steps_to(target, size=size, rate=rate, momentum=momentum, most=most), size, momentum
        )

    def best_rate_in(self, steps: int, *, size: float, momentum: float = 0.0) -> tuple[float, float]:
        """The constant rate of the lowest expected loss after `steps` updates at `size`, and that loss."""
        begin = self.begin()
        return self._best(
            lambda rate: self.loss(self.after(begin, size=size, rate=rate, steps=steps, momentum=momentum)),
            size,
            momentum,
        )

    def _best(self, score: Callable[[float], float], size: float, momentum: float) -> tuple[float, float]:
        rates = self.largest_rate(size, momentum) * np.geomspace(1e-4, 0.999, RATES)
        found = math.nan, math.inf
        for _ in range(3):
            scores = [score(float(rate)) for rate in rates]
            best = int(np.argmin(scores))
            found = float(rates[best]), scores[best]
            rates = np.geomspace(rates[max(best - 1, 0)], rates[min(best + 1, len(rates) - 1)], FINER)
        return found


def _require_momentum(momentum: float) -> None:
    if not 0 <= momentum < 1:
        raise ArgumentError(must("momentum", "lie in [0, 1)", momentum, "it is a decay rate", "momentum=0.9"))


def _numbers(name: str, values: object, least: str, length: int) -> np.ndarray:
    """`f64[length]`, read-only, all finite and positive (or at least 0)."""
    table = np.array(values, np.float64)
    if table.shape != (length,) or length == 0:
        why = "each coordinate has one of each"
        raise ArgumentError(
            must(name, f"be {length} numbers, as many as start has", f"shape {table.shape}", why, "one")
        )
    good = np.isfinite(table) & ((table > 0) if least == "positive" else (table >= 0))
    if not good.all():
        first = int(np.argmin(good))
        why = "the loss has a minimum" if name == "curvature" else "it scales or squares something"
        raise ArgumentError(
            must(name, f"be finite and {least}", f"{table[first]:g} at {first}", why, "the absolute value")
        )
    table.flags.writeable = False
    return table
