"""`LateSwitch`: a small batch for most of the run, a large one late."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Last
from ladle.policy.coupling import require_coupling
from ladle.policy.refuse import positions, require_ascending, require_at_least
from ladle.policy.segments import Segment, follow, table_of, traits_of_table

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class LateSwitch:
    """Keeps a small batch for most of the run, and grows it late: at one position, or in equal ratios at several.

        size_k = round(first * (last / first) ** (k / len(at)))        k: positions of `at` that are passed

    For hard tasks, where an early ramp wastes what a small batch learns (arXiv 2602.14208, ICLR 2026); on easy ones the
    same paper has the batch grow all along: `Geometric`.

    >>> [(s.start, s.size) for s in LateSwitch(64, 1024, at=(8000, 9000), micro_size=256).table]
    [(0, 64), (8000, 256), (9000, 1024)]
    """

    first: int
    last: int
    at: tuple[int, ...]
    micro_size: int
    coupling: AnyCoupling = "none"

    def __post_init__(self) -> None:
        for name in ("first", "micro_size"):
            require_count(name, getattr(self, name))
        require_at_least("last", self.last, "first", self.first)
        object.__setattr__(self, "at", positions("at", self.at, "at=(8_000_000,)"))
        require_ascending("at", [0, *self.at], got=self.at, remedy="at=(8_000_000,)")
        if not self.at:
            why = "that is where the batch grows"
            raise ArgumentError(must("at", "hold a position", self.at, why, "at=(8_000_000,)"))
        require_coupling(self.coupling)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        ratio, parts = self.last / self.first, len(self.at)
        pairs = [(start, round(self.first * ratio ** (k / parts))) for k, start in enumerate((0, *self.at))]
        return table_of(pairs, self.coupling)

    @property
    def traits(self) -> Traits:
        return traits_of_table(self.table, self.coupling)

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Last, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="late switch")
