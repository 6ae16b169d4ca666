"""Batches that grow until the error of their gradient is small: norm test, inner-product test, AdAdaGrad.

s = tr Sigma, q = |G|^2, B the batch. All of them only ever grow:

| policy | asks for |
|---|---|
| `NormTest` | B >= s / (theta^2 q) |
| `InnerProduct` | B >= Var(g_i'G) / (theta^2 q^2), and the part across G |
| `AdAdaGrad` | one of the two, for Adagrad and its kin |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.noise import NoiseScale
from ladle.policy.adaptive import (
    Range,
    Wanted,
    absorb,
    follow_wanted,
    moments_of,
    noise_of,
    numbers,
    require_between,
    require_range,
    said,
)
from ladle.policy.change import AnyCoupling, Memory, require_coupling

if TYPE_CHECKING:
    from ladle.core.plan import Plan

NU = 5.84
"""tan 80.3 degrees: how far a batch gradient may stand across the true one (Bollapragada et al. 2018)."""


@dataclass(frozen=True)
class NormTest:
    """The batch grows until the relative error of its gradient is at most `theta`.

        B >= tr(Sigma) / (theta^2 q)        q = |G|^2                    estimator="unbiased"
                                            q = |G|^2 + tr(Sigma) / B    estimator="biased": |g_B|^2 as it is

    The biased one is what the paper computes; it asks for at most B / theta^2, and so never grows at theta >= 1. A
    growing batch under this test gives a linear rate on strongly convex problems (Byrd, Chin, Nocedal and Wu 2012).

    >>> policy = NormTest(Range(32, 1024, micro_size=256), theta=0.5)
    >>> policy.asked(NoiseScale(400.0, 300.0, 600.0, "resolved"), batch=64).value
    220.6896551724138
    """

    sizes: Range
    theta: float = 0.5
    estimator: Literal["biased", "unbiased"] = "biased"
    coupling: AnyCoupling = "none"

    needs: ClassVar = ("noise",)

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("theta", self.theta, 0, 1e3, why="it is a relative error", above=True)
        if self.estimator not in ("biased", "unbiased"):
            why, remedy = "|G|^2 is estimated in one of two ways", "estimator='biased'"
            raise ArgumentError(must("estimator", "be 'biased' or 'unbiased'", self.estimator, why, remedy))
        require_coupling(self.coupling)

    def asked(self, noise: NoiseScale, batch: int) -> Wanted:
        """The size that the test asks for, with its interval, when it was made on batches of `batch`."""
        ends = (noise.value, noise.low, noise.high)
        if self.estimator == "unbiased":
            return Wanted.of(noise, self.theta**-2)
        return Wanted(*(norm_test(phi, batch, self.theta) for phi in ends))

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress, kind: str = "norm test") -> tuple[Memory, Decision]:
        memory = absorb(self.sizes, memory, progress)
        noise = noise_of(self.sizes, memory)
        wanted = self.asked(noise, self.sizes.present(memory))
        inputs = {**numbers(noise), "asked": wanted.value}
        why = f"the norm test asks for {wanted.value:.3g}, {said(noise)}"
        how: dict[str, Any] = {"kind": kind, "why": why, "inputs": inputs, "at_least": True}
        return follow_wanted(self.sizes, memory, progress, wanted, coupling=self.coupling, **how)


@dataclass(frozen=True)
class InnerProduct:
    """The batch grows until its gradient points along the true one: the augmented inner-product test.

        B >= G'Sigma G / (theta^2 |G|^4)                            spread along G
        B >= (tr(Sigma) - G'Sigma G / |G|^2) / (nu^2 |G|^2)         spread across G; left out for nu = inf

    A weaker demand than the norm test's (Bollapragada, Byrd and Nocedal 2018, arXiv 1710.11258). |G|^2 is the unbiased
    estimate here, and G'Sigma G needs a measured projection: without one the size stays.

    >>> policy = InnerProduct(Range(32, 1024, micro_size=256))
    >>> noise = NoiseScale(400.0, 400.0, 400.0, "resolved", gradient_sq=0.25, trace=100.0)
    >>> round(policy.asked(noise, projection=0.5 * 0.25).value, 2), round(policy.asked(noise, projection=10.0).value, 2)
    (11.67, 197.53)
    """

    sizes: Range
    theta: float = 0.9
    nu: float = NU
    coupling: AnyCoupling = "none"

    needs: ClassVar = ("noise", "projection")

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("theta", self.theta, 0, 1e3, why="it is a relative error", above=True)
        require_between("nu", self.nu, 0, math.inf, why="it is a ratio of lengths", above=True)
        require_coupling(self.coupling)

    def asked(self, noise: NoiseScale, projection: float) -> Wanted:
        """The size that the test asks for; `projection` is G'Sigma G. The interval is that of |G|^2."""

        def at(phi: float) -> float:
            q = noise.trace / phi if phi > 0 else math.inf
            if q == 0:
                return math.inf
            across = max(noise.trace - projection / q, 0.0) / (self.nu**2 * q)
            return max(projection / (self.theta * q) ** 2, across)

        return Wanted(at(noise.value), at(noise.low), at(noise.high))

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress, kind: str = "inner product") -> tuple[Memory, Decision]:
        memory = absorb(self.sizes, memory, progress)
        noise, sums = noise_of(self.sizes, memory), moments_of(memory)
        wanted, inputs = Wanted(math.nan, 0.0, math.nan), numbers(noise)
        if sums.projections > 0 and noise.verdict != "unresolved":
            projection = max(sums.projection / sums.projections, 0.0)
            wanted = self.asked(noise, projection)
            inputs |= {"projection": projection, "asked": wanted.value}
        why = f"the inner-product test asks for {wanted.value:.3g}, {said(noise)}"
        how: dict[str, Any] = {"kind": kind, "why": why, "inputs": inputs, "at_least": True}
        return follow_wanted(self.sizes, memory, progress, wanted, coupling=self.coupling, **how)


@dataclass(frozen=True)
class AdAdaGrad:
    """A norm test (or inner-product test) for Adagrad and its kin, whose rate adapts by itself.

        B >= tr(Sigma) / (eta^2 |g_B|^2)        test="norm", eta 0.1 to 0.5
        as `InnerProduct`, theta=eta, nu=1      test="inner product"

    Lau, Liu and Kolar 2024 (arXiv 2402.11215). The covariance is of the whole gradient here, not layer by layer.

    >>> AdAdaGrad(Range(32, 1024, micro_size=256)).needs
    ('noise',)
    """

    sizes: Range
    eta: float = 0.25
    test: Literal["norm", "inner product"] = "norm"
    coupling: AnyCoupling = "none"

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("eta", self.eta, 0, 1e3, why="it is a relative error", above=True)
        if self.test not in ("norm", "inner product"):
            why = "these two are known"
            raise ArgumentError(must("test", "be 'norm' or 'inner product'", self.test, why, "test='norm'"))
        require_coupling(self.coupling)

    @property
    def needs(self) -> tuple[str, ...]:
        return self._test.needs

    @property
    def _test(self) -> NormTest | InnerProduct:
        if self.test == "norm":
            return NormTest(self.sizes, self.eta, coupling=self.coupling)
        return InnerProduct(self.sizes, self.eta, nu=1.0, coupling=self.coupling)

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        return self._test.decide(memory, progress, kind="adadagrad")


def norm_test(noise: float, batch: float, theta: float) -> float:
    """What the biased norm test asks for on batches of `batch`: 1 / (theta^2 (1/noise + 1/batch)) <= batch / theta^2.

    >>> round(norm_test(1e6, 64, 0.5) / 64, 5)
    3.99974
    """
    return 1 / (theta**2 * (1 / noise + 1 / batch)) if noise > 0 else (math.nan if math.isnan(noise) else 0.0)
