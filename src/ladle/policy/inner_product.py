"""`InnerProduct`: the batch grows until its gradient points along the true one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.noise import NoiseScale
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Reason
from ladle.policy.coupling import require_coupling
from ladle.policy.follow import Following, watch
from ladle.policy.move import Wanted
from ladle.policy.range import Range, require_range
from ladle.policy.reason import noise_inputs, noise_text
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan


NU = 5.84
"""tan 80.3 degrees: how far a batch gradient may stand across the true one (Bollapragada et al. 2018)."""


@dataclass(frozen=True)
class InnerProduct:
    """Grows the batch until its gradient points along the true one: the augmented inner-product test.

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

    @property
    def traits(self) -> Traits:
        return Traits(("noise", "projection"), self.sizes.smallest, self.sizes.largest, self.coupling, limit="sizes")

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

    def init(self, plan: Plan | None) -> Following:
        return Following.begin(self.sizes, plan)

    def decide(self, memory: Any, progress: Progress, kind: str = "inner product") -> tuple[Following, Decision]:
        kept = watch(memory, self.sizes, progress)
        noise, sums = kept.noise(self.sizes), kept.averages.moments
        wanted, inputs = Wanted(math.nan, 0.0, math.nan), noise_inputs(noise)
        if sums.projections > 0 and noise.verdict != "unresolved":
            projection = max(sums.projection / sums.projections, 0.0)
            wanted = self.asked(noise, projection)
            inputs |= {"projection": projection, "asked": wanted.value}
        why = f"the inner-product test asks for {wanted.value:.3g}, {noise_text(noise)}"
        return kept.follow(self.sizes, wanted, progress, Reason(kind, why, inputs), self.coupling, at_least=True)
