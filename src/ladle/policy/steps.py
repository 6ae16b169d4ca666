"""`Steps`: the batch size by examples drawn, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.spec import require_count
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Last
from ladle.policy.coupling import require_coupling
from ladle.policy.refuse import pairs, require_ascending
from ladle.policy.segments import Segment, follow, table_of, traits_of_table

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Steps:
    """Takes the batch size from a table, by examples drawn.

    - `segments`: `((start, size), ...)`, starts ascending, the first one 0.
    - `micro_size`: most rows that fit at once.
    - `coupling`: how the learning rate follows: `ladle.scaling.lr_factor(coupling, size / first size)` for a rule by
      name; or a value with a method `at(size) -> (lr_factor, constants)`.

    Raises `ArgumentError` for an empty or unsorted table, a start given twice, a number that is not positive.

    >>> policy = Steps(((0, 64), (1_000_000, 128)), micro_size=256, coupling="linear")
    >>> memory, before = policy.decide(policy.init(None), Progress(examples=999_936))
    >>> _, after = policy.decide(memory, Progress(examples=1_000_000))
    >>> before.stop, after.spec.size, after.lr_factor
    (1000000, 128, 2.0)
    >>> after.reason
    'batch size 64 -> 128, learning rate x1 -> x2 at 1,000,000 examples (steps)'
    """

    segments: tuple[tuple[int, int], ...]
    micro_size: int
    coupling: AnyCoupling = "none"

    def __post_init__(self) -> None:
        require_count("micro_size", self.micro_size)
        remedy = "((0, 64), (1_000_000, 128))"
        object.__setattr__(self, "segments", pairs("segments", self.segments, remedy))
        require_ascending("segments", [start for start, _ in self.segments], got=self.segments, remedy=remedy)
        for _, size in self.segments:
            require_count("size", size)
        require_coupling(self.coupling)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        return table_of(self.segments, self.coupling)

    @property
    def traits(self) -> Traits:
        return traits_of_table(self.table, self.coupling)

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Last, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="steps")
