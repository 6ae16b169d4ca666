"""The moments of a gradient: |G|^2, tr Sigma and the noise along G, estimated without bias. What policies live on.

G = E[gradient of one example], Sigma its covariance. `pair` makes one estimate from the micro-batches of an update,
`Moments` adds them up over updates, `Gauge` says how a training run takes them. `ladle.noise.estimate` divides.

Gradients are as computed: before any clipping, with a loss scale undone (`Moments.scaled`), and of losses that are sums
over examples. A loss whose examples depend on each other (batch statistics) has no covariance per example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count

PREFIX = "noise/"
"""Sums of an `Observation` that belong to `Moments` begin with this."""

LEAST = 16
"""Updates of a pass that are measured, where it has them: fewer leave the interval of a noise scale too wide."""

Geometry = Literal["sgd", "preconditioned"]


@dataclass(frozen=True)
class Gauge:
    """How gradient moments are taken while training.

    One update in `every` is measured. One of several micro-batches has pieces as it is, and so has one micro-batch on
    several devices: their gradients only have to be read once more. A micro-batch on one device has no spread and is
    cut into `parts` for the purpose: the same gradient to rounding.

    - `every`: from one update that is measured to the next; 1 measures all. Where a pass has few updates, those that
      have pieces as they are come more often, so that `LEAST` of them are measured.
    - `parts`: pieces of a cut one; 1 cuts none. More pieces, less error: var(trace) falls as 1/(parts - 1).
    - `per_example`: one gradient per example, in every update: least error, most memory.
    - `geometry`: "sgd" measures g. "preconditioned" measures P g, P = 1/(sqrt(v) + eps) of Adam and its kin before the
      update: tr(P Sigma P) / |P G|^2. That depends on the batch the run used, and is not the same number.
    - `projection`: also the noise along the gradient, G'Sigma G; needs four micro-batches, or parts.

    Raises `ArgumentError` for numbers that cannot be.

    >>> Gauge(every=32).parts
    4
    """

    every: int = 16
    parts: int = 4
    per_example: bool = False
    geometry: Geometry = "sgd"
    projection: bool = False

    def __post_init__(self) -> None:
        require_count("every", self.every)
        if 1 < require_count("parts", self.parts) < 4 and self.projection:
            why = "two of them give directions, and one has no spread"
            raise ArgumentError(must("parts", "be at least 4, or 1", self.parts, why, "parts=8"))
        if self.geometry not in ("sgd", "preconditioned"):
            why = "moments are of g or of P g"
            raise ArgumentError(must("geometry", "be 'sgd' or 'preconditioned'", self.geometry, why, "'sgd'"))
        if self.per_example and self.projection:
            why = "its direction is a part of the micro-batches of an update"
            raise ArgumentError(must("projection", "be False with per_example", True, why, "per_example=False"))

    def stride(self, updates: int) -> int:
        """From one update that is measured to the next, in passes of `updates` that have pieces as they are.

        >>> Gauge().stride(500), Gauge().stride(60), Gauge().stride(6)
        (16, 3, 1)
        """
        return min(self.every, max(updates // LEAST, 1))

    def piece(self, rows: int) -> int:
        """Examples of a piece, where an update of one micro-batch of `rows` is cut.

        >>> Gauge().piece(64), Gauge().piece(10), Gauge().piece(2), Gauge(per_example=True).piece(64)
        (16, 3, 1, 1)
        """
        return 1 if self.per_example else -(-rows // min(self.parts, rows))

    def join(self, other: Gauge | None) -> Gauge:
        """What measures enough for both."""
        if other is None:
            return self
        return Gauge(
            every=min(self.every, other.every),
            parts=max(self.parts, other.parts),
            per_example=self.per_example or other.per_example,
            geometry=self.geometry if self.geometry != "sgd" else other.geometry,
            projection=self.projection or other.projection,
        )


def pair(micro_sq_weighted: Any, batch_sq: Any, batch: Any, micro_steps: Any, whole: Any = 1.0) -> tuple[Any, Any]:
    """Unbiased `(trace, square)` = estimates of `(tr Sigma, |G|^2)` from one update cut into micro-batches.

    - `micro_sq_weighted`: sum_j m_j |g_j|^2, g_j the mean gradient of micro-batch j, m_j its count of examples.
    - `batch_sq`: |g_B|^2, g_B = sum_j m_j g_j / M the mean gradient of the whole batch.
    - `batch`: M = sum_j m_j. `micro_steps`: k, the number of micro-batches with m_j > 0; at least 2.

    trace = (sum_j m_j |g_j|^2 - M |g_B|^2) / (k - 1),   square = |g_B|^2 - trace / M

    Why it is exact for unequal m_j too: E|g_j|^2 = |G|^2 + tr(Sigma)/m_j, so the sum has mean M |G|^2 + k tr(Sigma);
    M |g_B|^2 has mean M |G|^2 + tr(Sigma); their difference is (k - 1) tr(Sigma). With equal m_j this is
    eq. A.2 of McCandlish et al. 2018.

    Weights w_i other than 0 and 1: m_j = sum_i w_i and M = sum_j m_j, and with q_j = sum_i w_i^2 the mean gradient g_j
    has variance tr(Sigma) q_j / m_j^2. So give `micro_steps` = sum_j q_j / m_j and `whole` = sum_j q_j / M, which are k
    and 1 for weights of 0 and 1:

    trace = (sum_j m_j |g_j|^2 - M |g_B|^2) / (micro_steps - whole),   square = |g_B|^2 - trace whole / M

    The unit is then an effective example: a batch counts (sum w)^2 / sum w^2 of them (Kish 1965). Sizes count examples
    drawn, so what is recorded is the variance of one of those: `trace` times B sum w^2 / (sum w)^2, B drawn in the
    update. In that unit the noise of a batch of B is trace / B, and that of N rows drawn without replacement trace / N.

    Plain operators only: works on floats, NumPy arrays and inside a compiled program. k = 1 divides by zero: the
    caller masks it. Gradients must be as computed, before any clipping.

    >>> pair(10.0, 1.0, 4, 2)
    (6.0, -0.5)
    """
    trace = (micro_sq_weighted - batch * batch_sq) / (micro_steps - whole)
    return trace, batch_sq - trace * whole / batch


@dataclass(frozen=True)
class Moments:
    """Sums over updates of the unbiased pair `(trace, square)` that `pair` gives. Mergeable; divided in `estimate`.

    - `count`: updates with a valid pair (at least two micro-batches, finite). `examples`: examples drawn for them.
      All is per example drawn, whatever it weighs: the unit of batch sizes.
    - `trace`, `square`: sums of the pair; `trace_sq`, `square_sq`, `cross`: sums of squares and of the product.
    - `projection`: sum of `projections` estimates of G'Sigma G, the variance of g_i'G: the noise along the gradient.
      Only measured where it is asked for; the direction is then another estimate of G, from other examples.

    >>> Moments.from_pairs([1.0, 3.0], [0.5, 0.5], 8).merge(Moments.from_pairs([2.0], [0.1], 4)).trace
    6.0
    """

    count: float = 0.0
    trace: float = 0.0
    square: float = 0.0
    trace_sq: float = 0.0
    square_sq: float = 0.0
    cross: float = 0.0
    examples: float = 0.0
    projection: float = 0.0
    projections: float = 0.0

    @classmethod
    def from_sums(cls, sums: Mapping[str, Any]) -> Moments:
        """From the sums `noise/count`, `noise/trace`, ... of an `Observation`; a missing one is 0."""
        return cls(**{name: float(sums.get(PREFIX + name, 0.0)) for name in cls.__dataclass_fields__})

    @classmethod
    def from_pairs(cls, trace: Any, square: Any, examples: float) -> Moments:
        """From the pairs `f64[updates]` of several updates; `examples` behind all of them together."""
        s, q = np.asarray(trace, np.float64).ravel(), np.asarray(square, np.float64).ravel()
        return cls(len(s), *(float(x.sum()) for x in (s, q, s * s, q * q, s * q)), examples=float(examples))

    @classmethod
    def from_gradients(cls, gradients: Any, size: float = 1.0) -> Moments:
        """One exact pair, and the projection where there are four, from `f64[k, parameters]` gradients.

        Each is the mean over `size` examples of its own: per-example gradients, micro-batches or replicas. With the
        products K = g g' all is a U-statistic: averages over rows that differ, so that no noise meets itself.

            square     = mean over a != b of K_ab
            trace      = size (mean over a of K_aa - square)
            projection = size (mean over a, b, c of K_ab K_ac - mean over a, b, c, d of K_ab K_cd),   all different

        Raises `ArgumentError` for fewer than two gradients.

        >>> Moments.from_gradients([[1.0, 0.0], [3.0, 0.0]]).trace
        2.0
        """
        g = np.asarray(gradients, np.float64)
        if g.ndim != 2 or len(g) < 2:
            why = "one gradient has no spread"
            raise ArgumentError(must("gradients", "be two rows or more", f"shape {g.shape}", why, "more micro-batches"))
        k, products = len(g), g @ g.T
        diagonal = products.diagonal().copy()
        np.fill_diagonal(products, 0.0)
        square = products.sum() / (k * (k - 1))
        trace = size * (diagonal.mean() - square)
        sums = pair_sums(float(trace), float(square), float(k * size), *_projection(products, size))
        return cls.from_sums(sums)

    def merge(self, other: Moments) -> Moments:
        """Both windows as one."""
        return Moments(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})

    def of_population(self, rows: int) -> Moments:
        """The moments where the gradient meant is that of a finite data set of `rows`, drawn without replacement.

        E[square] = |G_data|^2 - S^2 / rows exactly, S^2 the variance with rows - 1: trace / rows is added back to each.
        As it is, `square` estimates the gradient of the distribution behind the data; where the data are nearly fitted
        that is far smaller, and an estimate of it rightly often negative.

        >>> Moments.from_pairs([100.0, 104.0], [0.25, 0.27], 64).of_population(100).square
        2.56
        """
        share = 1 / rows
        return replace(
            self,
            square=self.square + share * self.trace,
            square_sq=self.square_sq + 2 * share * self.cross + share**2 * self.trace_sq,
            cross=self.cross + share * self.trace_sq,
        )

    def scaled(self, factor: float) -> Moments:
        """The moments of `factor` times the gradients: `1 / loss_scale` undoes a loss scale.

        >>> Moments.from_pairs([4.0], [2.0], 8).scaled(0.5).trace
        1.0
        """
        two, four = factor**2, factor**4
        powers = {"trace": two, "square": two, "trace_sq": four, "square_sq": four, "cross": four, "projection": four}
        return Moments(**{name: getattr(self, name) * powers.get(name, 1.0) for name in self.__dataclass_fields__})


def pair_sums(trace: Any, square: Any, examples: Any, projection: Any = 0.0, projections: Any = 0.0) -> dict[str, Any]:
    """What one update adds to the sums of an `Observation`, by the names that `Moments.from_sums` reads.

    >>> pair_sums(2.0, 0.5, 64)["noise/cross"]
    1.0
    """
    products = (trace * trace, square * square, trace * square)
    values = (1.0, trace, square, *products, examples, projection, projections)
    return {PREFIX + name: value for name, value in zip(Moments.__dataclass_fields__, values, strict=True)}


def _projection(products: np.ndarray, size: float) -> tuple[float, float]:
    """`(estimate, 1)` of G'Sigma G from products `f64[k, k]` with a zero diagonal; `(0, 0)` below four rows."""
    k = len(products)
    if k < 4:
        return 0.0, 0.0
    rows, all_sq = products.sum(1), float((products**2).sum())
    row_sq = float((rows**2).sum())
    three = (row_sq - all_sq) / (k * (k - 1) * (k - 2))
    four = (float(rows.sum()) ** 2 - 4 * row_sq + 2 * all_sq) / (k * (k - 1) * (k - 2) * (k - 3))
    return size * (three - four), 1.0
