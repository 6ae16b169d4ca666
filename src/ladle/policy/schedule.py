"""Batch sizes fixed in advance, by examples drawn: `Steps`, `Geometric`, `Warmup`, `GrowInsteadOfDecay`.

Each of them is a table of `Segment`s and nothing more. Others of the kind are in `ladle.policy.phases`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import require_count, rungs
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
class Steps:
    """The batch size by examples drawn, as a table.

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

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="steps")


@dataclass(frozen=True)
class Geometric:
    """The batch size times `growth` every `every` examples, from `first` up to `last`.

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

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="geometric")


@dataclass(frozen=True)
class Warmup:
    """The batch size from `first` to `target` in a straight line over the first `over` examples.

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

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="warmup")


@dataclass(frozen=True)
class GrowInsteadOfDecay:
    """Where the learning rate would fall by `decay`, the batch grows by `decay` instead, up to `largest`.

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

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        kind = "grow instead of decay"
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind=kind)
