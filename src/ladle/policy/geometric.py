"""`Geometric`: the batch size times a factor, every so many examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.spec import require_count
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Last
from ladle.policy.coupling import require_coupling
from ladle.policy.refuse import require_at_least, require_growth
from ladle.policy.segments import Segment, follow, table_of, traits_of_table

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Geometric:
    """Multiplies the batch size by `growth` every `every` examples, from `first` up to `last`.

        size(n) = round(min(last, first * growth ** (n // every)))        n: examples drawn

    `coupling` as in `Steps`. AdaBatch (Devarakonda et al. 2017, arXiv 1712.02029) is `growth=2` every 20 epochs, beside
    a rate that falls by 0.75 at the same places: the rate's own schedule has to say that.
    Raises `ArgumentError` where `growth` is below 1.01 or `last` is below `first`.

    >>> [(segment.start, segment.size) for segment in Geometric(32, 100, growth=2, every=500, micro_size=64).table]
    [(0, 32), (500, 64), (1000, 100)]
    """

    first: int
    last: int
    growth: float
    every: int
    micro_size: int
    coupling: AnyCoupling = "none"

    def __post_init__(self) -> None:
        for name in ("first", "every", "micro_size"):
            require_count(name, getattr(self, name))
        require_growth("growth", self.growth)
        require_at_least("last", self.last, "first", self.first)
        require_coupling(self.coupling)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        pairs = [(0, self.first)]
        while pairs[-1][1] < self.last:
            grown = self.first * self.growth ** len(pairs)
            pairs.append((len(pairs) * self.every, round(min(self.last, grown))))
        return table_of(pairs, self.coupling)

    @property
    def traits(self) -> Traits:
        return traits_of_table(self.table, self.coupling)

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Last, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="geometric")
