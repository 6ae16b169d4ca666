"""`AdAdaGrad`: a norm test for optimisers whose rate adapts by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.coupling import require_coupling
from ladle.policy.follow import Following
from ladle.policy.inner_product import InnerProduct
from ladle.policy.normtest import NormTest
from ladle.policy.range import Range, require_range
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class AdAdaGrad:
    """Grows the batch by a norm test (or inner-product test) for Adagrad and its kin, whose rate adapts by itself.

        B >= tr(Sigma) / (eta^2 |g_B|^2)        test="norm", eta 0.1 to 0.5
        as `InnerProduct`, theta=eta, nu=1      test="inner product"

    Lau, Liu and Kolar 2024 (arXiv 2402.11215). The covariance is of the whole gradient here, not layer by layer.

    >>> AdAdaGrad(Range(32, 1024, micro_size=256)).traits.needs
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
    def traits(self) -> Traits:
        return self._test.traits

    @property
    def _test(self) -> NormTest | InnerProduct:
        if self.test == "norm":
            return NormTest(self.sizes, self.eta, coupling=self.coupling)
        return InnerProduct(self.sizes, self.eta, nu=1.0, coupling=self.coupling)

    def init(self, plan: Plan | None) -> Following:
        return Following.begin(self.sizes, plan)

    def decide(self, memory: Any, progress: Progress) -> tuple[Following, Decision]:
        return self._test.decide(memory, progress, kind="adadagrad")
