"""Batch sizes fixed in advance by an argument about the whole run: `Seesaw`, `MeasuredWarmup`, `LateSwitch`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count
from ladle.policy.change import AnyCoupling, Memory, require_coupling
from ladle.policy.segments import (
    Segment,
    follow,
    pairs,
    positions,
    require_ascending,
    require_at_least,
    require_growth,
    table_of,
)

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Seesaw:
    """Where the learning rate would fall by `decay`, it falls by less and the batch grows: half a decay, half a growth.

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

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="seesaw")


@dataclass(frozen=True)
class MeasuredWarmup:
    """The batch doubles where the measured critical size passes twice the present one.

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

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        kind = "measured warmup"
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind=kind)


@dataclass(frozen=True)
class LateSwitch:
    """A small batch for most of the run, the large one late: at one position, or in equal ratios at several.

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

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="late switch")


def falls(curve: Callable[[float], float], decay: float, end: int, *, most: int = 64) -> tuple[int, ...]:
    """Positions in (0, end) at which a falling `curve` has come down to decay ** -k, k = 1, 2, ...; at most `most`.

    - `curve`: rate factor as a function of the share of the run that is done, 1 at 0 and never rising.

    The `boundaries` of `Seesaw` and `GrowInsteadOfDecay` in place of that curve. Found by halving, to one example.

    >>> falls(lambda done: math.cos(math.pi * done / 2), decay=2, end=1000, most=3)
    (667, 840, 921)
    """
    require_growth("decay", decay)
    positions: list[int] = []
    for k in range(1, most + 1):
        low, high = 0, end  # curve(low) is above the level, curve(high) is not.
        if curve(1.0) > decay**-k:
            break
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if curve(middle / end) > decay**-k else (low, middle)
        if high >= end:
            break
        if not positions or high > positions[-1]:
            positions.append(high)
    return tuple(positions)
