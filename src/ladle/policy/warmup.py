"""`Warmup`: the batch size in a straight line over the first examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count, rungs
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Last
from ladle.policy.coupling import require_coupling
from ladle.policy.refuse import require_at_least
from ladle.policy.segments import Segment, follow, table_of, traits_of_table

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Warmup:
    """Raises the batch size from `first` to `target` in a straight line over the first `over` examples.

        line(n) = first + (target - first) * n / over,   never above target
        size(n) = largest rung (power of two, `first` or `target`) <= line(n)    by="rung"
        size(n) = floor(line(n))                                                 by="example"

    Whole rungs change the size a handful of times and share compiled programs. `coupling` as in `Steps`.
    Raises `ArgumentError` where `target` is below `first`.

    >>> [(segment.start, segment.size) for segment in Warmup(8, 64, over=7000, micro_size=64).table]
    [(0, 8), (1000, 16), (3000, 32), (7000, 64)]
    """

    first: int
    target: int
    over: int
    micro_size: int
    coupling: AnyCoupling = "none"
    by: Literal["rung", "example"] = "rung"

    def __post_init__(self) -> None:
        for name in ("first", "over", "micro_size"):
            require_count(name, getattr(self, name))
        require_at_least("target", self.target, "first", self.first)
        if self.by not in ("rung", "example"):
            raise ArgumentError(
                must("by", "be 'rung' or 'example'", self.by, "a size is one or the other", "by='rung'")
            )
        require_coupling(self.coupling)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        whole = range(self.first, self.target + 1)
        sizes = whole if self.by == "example" else sorted({self.first, *rungs(self.target, self.first)})
        rise = self.target - self.first
        starts = [-(-(size - self.first) * self.over // max(1, rise)) for size in sizes]
        # Where the line is steeper than one per example several sizes begin at once: the largest holds.
        return table_of(list(dict(zip(starts, sizes, strict=True)).items()), self.coupling)

    @property
    def traits(self) -> Traits:
        return traits_of_table(self.table, self.coupling)

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Last, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="warmup")
