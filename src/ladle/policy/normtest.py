"""`NormTest`: the batch grows until the relative error of its gradient is small.

The file is not called norm_test: files that end so are tests, and not part of the package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
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


@dataclass(frozen=True)
class NormTest:
    """Grows the batch until the relative error of its gradient is at most `theta`.

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

    @property
    def traits(self) -> Traits:
        return Traits(("noise",), self.sizes.smallest, self.sizes.largest, self.coupling, limit="sizes")

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

    def init(self, plan: Plan | None) -> Following:
        return Following.begin(self.sizes, plan)

    def decide(self, memory: Any, progress: Progress, kind: str = "norm test") -> tuple[Following, Decision]:
        kept = watch(memory, self.sizes, progress)
        noise = kept.noise(self.sizes)
        wanted = self.asked(noise, kept.course.present(self.sizes))
        why = f"the norm test asks for {wanted.value:.3g}, {noise_text(noise)}"
        reason = Reason(kind, why, {**noise_inputs(noise), "asked": wanted.value})
        return kept.follow(self.sizes, wanted, progress, reason, self.coupling, at_least=True)


def norm_test(noise: float, batch: float, theta: float) -> float:
    """What the biased norm test asks for on batches of `batch`: 1 / (theta^2 (1/noise + 1/batch)) <= batch / theta^2.

    >>> round(norm_test(1e6, 64, 0.5) / 64, 5)
    3.99974
    """
    return 1 / (theta**2 * (1 / noise + 1 / batch)) if noise > 0 else (math.nan if math.isnan(noise) else 0.0)
