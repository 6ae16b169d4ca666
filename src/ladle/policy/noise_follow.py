"""`NoiseFollow`: the batch follows the gradient noise scale, up and down."""

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
class NoiseFollow:
    """Makes the batch `scale` times the gradient noise scale.

        B = scale * tr(Sigma) / |G|^2

    At scale 1 a run takes twice the least number of steps and twice the least number of examples: the bend of their
    trade-off (McCandlish et al. 2018, arXiv 1812.06162). `sizes`: bounds and pace. `coupling` as in `Steps`.

    >>> from ladle.core.moments import Moments
    >>> policy = NoiseFollow(Range(32, 1024, micro_size=256), coupling="square root")
    >>> memory, before = policy.decide(policy.init(None), Progress())
    >>> pairs = Moments.from_pairs([93.0, 92.0, 94.0] * 9, [0.3, 0.31, 0.29] * 9, 12_800)
    >>> reading = {f"noise/{name}": value for name, value in vars(pairs).items()}
    >>> policy.decide(memory, Progress(12_800, reading=reading))[1].reason
    'batch size 32 -> 64, learning rate x1 -> x1.41421: noise scale 310 (306 to 315) at 12,800 examples (noise)'
    """

    sizes: Range
    scale: float = 1.0
    coupling: AnyCoupling = "none"

    @property
    def traits(self) -> Traits:
        return Traits(("noise",), self.sizes.smallest, self.sizes.largest, self.coupling, limit="sizes")

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("scale", self.scale, 0, 1e6, why="it multiplies the noise scale", above=True)
        require_coupling(self.coupling)

    def init(self, plan: Plan | None) -> Following:
        return Following.begin(self.sizes, plan)

    def decide(self, memory: Any, progress: Progress) -> tuple[Following, Decision]:
        kept = watch(memory, self.sizes, progress)
        noise = kept.noise(self.sizes)
        reason = Reason("noise", noise_text(noise), noise_inputs(noise))
        return kept.follow(self.sizes, Wanted.of(noise, self.scale), progress, reason, self.coupling)
