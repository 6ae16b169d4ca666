"""`Seesaw`: where the rate would fall, it falls by less and the batch grows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.core.traits import Traits
from ladle.policy.change import Last
from ladle.policy.refuse import positions, require_ascending, require_at_least, require_growth
from ladle.policy.segments import Segment, follow, traits_of_table

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Seesaw:
    """Grows the batch, and lowers the rate by less, where the rate would fall by `decay`: half a decay, half a growth.

    With k boundaries passed, and `growth` = `decay` unless given:

        size_k      = round(min(largest, first * growth ** k))
        lr_factor_k = sqrt(size_k / first) / decay ** k          decay ** -k/2 while the size can grow

    So lr / sqrt(size) follows what the decay alone would make of it: what Adam and normalised SGD go by (Seesaw, 2025,
    arXiv 2510.14717). The rate has to fall by at least sqrt(growth), so a `growth` above `decay` is refused. For plain
    SGD, where lr / size counts, see `GrowInsteadOfDecay`.

    - `boundaries`: positions in examples, ascending; `falls` finds those of a curve.

    Raises `ArgumentError` where `growth` is above `decay`, or `largest` is below `first`.

    >>> policy = Seesaw(64, decay=4, boundaries=(1000, 2000), largest=512, micro_size=256)
    >>> [(segment.start, segment.size, segment.lr_factor) for segment in policy.table]
    [(0, 64, 1.0), (1000, 256, 0.5), (2000, 512, 0.176776695297)]
    """

    first: int
    decay: float
    boundaries: tuple[int, ...]
    largest: int
    micro_size: int
    growth: float | None = None

    def __post_init__(self) -> None:
        for name in ("first", "micro_size"):
            require_count(name, getattr(self, name))
        require_growth("decay", self.decay)
        if self.growth is not None:
            require_growth("growth", self.growth)
            if self.growth > self.decay:
                why = "the rate has to fall by at least the root of what the batch grows by"
                raise ArgumentError(must("growth", f"be at most decay={self.decay:g}", self.growth, why, "growth=None"))
        require_at_least("largest", self.largest, "first", self.first)
        remedy = "boundaries=(1_000_000, 2_000_000)"
        object.__setattr__(self, "boundaries", positions("boundaries", self.boundaries, remedy))
        require_ascending("boundaries", [0, *self.boundaries], got=self.boundaries, remedy=remedy)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        return tuple(self._segment(passed, start) for passed, start in enumerate((0, *self.boundaries)))

    def _segment(self, passed: int, start: int) -> Segment:
        grown = passed * math.log(self.growth or self.decay)  # In logarithms: a power of a long table overflows.
        room = math.log(self.largest / self.first)
        size = self.largest if grown >= room else round(self.first * math.exp(grown))
        factor = math.exp(math.log(size / self.first) / 2 - passed * math.log(self.decay))
        return Segment(start, size, float(f"{factor:.12g}"))

    @property
    def traits(self) -> Traits:
        return replace(traits_of_table(self.table), limit="largest")

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Last, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="seesaw")
