"""`GrowInsteadOfDecay`: the batch grows where the learning rate would fall."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.spec import require_count
from ladle.core.traits import Traits
from ladle.policy.change import Last
from ladle.policy.refuse import positions, require_ascending, require_at_least, require_growth
from ladle.policy.segments import Segment, follow, traits_of_table

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class GrowInsteadOfDecay:
    """Grows the batch by `decay` where the learning rate would fall by it, up to `largest`.

    With k boundaries passed the ratio of rate to size is what the decay alone would have made of it:

        size_k      = round(min(largest, first * decay ** k))
        lr_factor_k = size_k / (first * decay ** k)          1 (but for rounding) while the size can grow

    `boundaries`: positions in examples, ascending. Smith et al. 2017, arXiv 1711.00489: the noise of the update,
    proportional to rate / size, follows the same curve either way, in fewer updates.
    Raises `ArgumentError` where `decay` is below 1.01, or `largest` is below `first`.

    >>> policy = GrowInsteadOfDecay(64, decay=5, boundaries=(1000, 2000, 3000), largest=1600, micro_size=256)
    >>> [(segment.start, segment.size, segment.lr_factor) for segment in policy.table]
    [(0, 64, 1.0), (1000, 320, 1.0), (2000, 1600, 1.0), (3000, 1600, 0.2)]
    """

    first: int
    decay: float
    boundaries: tuple[int, ...]
    largest: int
    micro_size: int

    def __post_init__(self) -> None:
        for name in ("first", "micro_size"):
            require_count(name, getattr(self, name))
        require_growth("decay", self.decay)
        require_at_least("largest", self.largest, "first", self.first)
        remedy = "boundaries=(1_000_000, 2_000_000)"
        object.__setattr__(self, "boundaries", positions("boundaries", self.boundaries, remedy))
        require_ascending("boundaries", [0, *self.boundaries], got=self.boundaries, remedy=remedy)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        return tuple(self._segment(passed, start) for passed, start in enumerate((0, *self.boundaries)))

    def _segment(self, passed: int, start: int) -> Segment:
        wanted = self.first * self.decay**passed
        size = round(min(self.largest, wanted))
        return Segment(
            start, size, float(f"{size / wanted:.12g}")
        )  # powers of sqrt(2) must not change the rate by 1e-16

    @property
    def traits(self) -> Traits:
        return replace(traits_of_table(self.table), limit="largest")

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Last, Decision]:
        kind = "grow instead of decay"
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind=kind)
