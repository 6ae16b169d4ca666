"""`DiveBatch`: the batch follows how diverse the gradients of the examples are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
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
class DiveBatch:
    """Makes the batch follow how diverse the gradients of the examples are.

        B = delta * n * Delta        Delta = sum_i |g_i|^2 / |sum_i g_i|^2,  so  n Delta = 1 + tr(Sigma)/|G|^2  exactly

    Chen, Wang and Sundaram 2025: delta 0.1 to 1, the rate linear in the batch, and once an epoch. That last is
    `Range(every=rows)`: by default it may move at every window.

    >>> DiveBatch(Range(32, 1024, micro_size=256), delta=0.5).coupling
    'linear'
    """

    sizes: Range
    delta: float = 0.5
    coupling: AnyCoupling = "linear"

    @property
    def traits(self) -> Traits:
        return Traits(("noise",), self.sizes.smallest, self.sizes.largest, self.coupling, limit="sizes")

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("delta", self.delta, 0, 1e6, why="it multiplies the diversity", above=True)
        require_coupling(self.coupling)

    def init(self, plan: Plan | None) -> Following:
        return Following.begin(self.sizes, plan)

    def decide(self, memory: Any, progress: Progress) -> tuple[Following, Decision]:
        kept = watch(memory, self.sizes, progress)
        noise = kept.noise(self.sizes)
        inputs = {**noise_inputs(noise), "diversity": diversity(noise.value)}
        reason = Reason("divebatch", noise_text(noise), inputs)
        return kept.follow(self.sizes, Wanted.of(noise, self.delta, plus=1.0), progress, reason, self.coupling)


def diversity(noise: float) -> float:
    """n Delta, the gradient diversity times the number of examples: 1 + noise scale.

    >>> diversity(399.0)
    400.0
    """
    return 1 + noise
