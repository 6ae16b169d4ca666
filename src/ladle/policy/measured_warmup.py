"""`MeasuredWarmup`: the batch doubles where the measured critical size allows it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Last
from ladle.policy.coupling import require_coupling
from ladle.policy.refuse import pairs, require_at_least
from ladle.policy.segments import Segment, follow, table_of, traits_of_table

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class MeasuredWarmup:
    """Doubles the batch where the measured critical size passes twice the present one.

    - `critical`: `((examples, critical size), ...)` as measured along a run of the kind, positions ascending; between
      two the critical size is a straight line, after the last it stays.
    - `first`, `largest`: bounds. `coupling`: the square root by default, so that a doubling takes the rate by sqrt(2).

    Merrill et al. 2025 (arXiv 2505.23971), who measure it by branches from checkpoints: `ladle critical`.

    >>> policy = MeasuredWarmup(64, 1024, ((0, 100), (1000, 200), (3000, 300)), micro_size=256)
    >>> [(segment.start, segment.size) for segment in policy.table]
    [(0, 64), (280, 128), (2120, 256)]
    """

    first: int
    largest: int
    critical: tuple[tuple[int, float], ...]
    micro_size: int
    coupling: AnyCoupling = "square root"

    def __post_init__(self) -> None:
        for name in ("first", "micro_size"):
            require_count(name, getattr(self, name))
        require_at_least("largest", self.largest, "first", self.first)
        object.__setattr__(self, "critical", pairs("critical", self.critical, "((0, 100), (1_000_000, 400))"))
        starts = [at for at, _ in self.critical]
        rising = all(before < after for before, after in pairwise(starts))
        if not starts or not rising or min(starts) < 0 or any(not 0 < size < math.inf for _, size in self.critical):
            why, remedy = "each position has one critical size", "((0, 100), (1_000_000, 400))"
            raise ArgumentError(
                must("critical", "be positive sizes at ascending positions", self.critical, why, remedy)
            )
        require_coupling(self.coupling)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        pairs, size = [(0, self.first)], self.first
        while 2 * size <= self.largest and (start := self._passes(2 * size)) is not None:
            size *= 2
            pairs.append((max(start, pairs[-1][0]), size))
        return table_of(list(dict(pairs).items()), self.coupling)

    def _passes(self, size: int) -> int | None:
        """The first position at which the critical size is at least `size`."""
        if self.critical[0][1] >= size:
            return self.critical[0][0]
        for (start, low), (end, high) in pairwise(self.critical):
            if high >= size:
                return math.ceil(start + (end - start) * (size - low) / (high - low))
        return None

    @property
    def traits(self) -> Traits:
        return replace(traits_of_table(self.table, self.coupling), limit="largest")

    def init(self, plan: Plan | None) -> None:
        return None

    def decide(self, memory: Any, progress: Progress) -> tuple[Last, Decision]:
        kind = "measured warmup"
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind=kind)
