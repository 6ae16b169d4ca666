"""Batch sizes fixed in advance, by examples drawn: `Steps`, `Geometric`, `Warmup`, `GrowInsteadOfDecay`.

Each of them is a table of `Segment`s and nothing more; `follow` is the one place that answers "which size at this
position". A segment begins exactly at its `start`: the update whose first example is number `start` has the new size.
Because the clock counts examples, a schedule ends where it was told to, whatever the sizes were on the way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from ladle.decision import Decision, Progress
from ladle.errors import ArgumentError, must
from ladle.scaling import Rule, lr_factor
from ladle.spec import BatchSpec, require_count, rung_for, rungs

if TYPE_CHECKING:
    from ladle.plan import Plan

Memory = dict[str, Any] | None
"""`{"size": ..., "micro_size": ..., "lr_factor": ...}` of the last decision; None before the first."""


@dataclass(frozen=True)
class Segment:
    """From position `start` (examples drawn) on: `size` examples per update at `lr_factor` times the rate."""

    start: int
    size: int
    lr_factor: float = 1.0


def follow(
    segments: Sequence[Segment], memory: Memory, *, examples: int, micro_size: int, kind: str
) -> tuple[Memory, Decision]:
    """The decision at position `examples`: the last segment whose `start` has been reached, until the next one's.

    `micro_size`: most rows that fit at once; the decision's own is the rung for its size. `kind` ends the reason,
    which is there exactly when size, cut or factor differ from `memory`.

    >>> table = (Segment(0, 64), Segment(1000, 128))
    >>> follow(table, None, examples=999, micro_size=64, kind="steps")[1].spec.size
    64
    >>> follow(table, None, examples=1000, micro_size=64, kind="steps")[1].spec.size
    128
    """
    index = bisect_right(segments, examples, key=lambda segment: segment.start)
    now = segments[index - 1]
    spec = BatchSpec(now.size, rung_for(now.size, micro_size))
    stop = segments[index].start if index < len(segments) else None
    new = {"size": spec.size, "micro_size": spec.micro_size, "lr_factor": now.lr_factor}
    return new, Decision(spec, stop, now.lr_factor, _reason(memory, new, examples, kind))


@dataclass(frozen=True)
class Steps:
    """The batch size by examples drawn, as a table.

    - `segments`: `((start, size), ...)`, starts ascending, the first one 0.
    - `micro_size`: most rows that fit at once.
    - `coupling`: how the learning rate follows, `ladle.scaling.lr_factor(coupling, size / first size)`.

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
    coupling: Rule = "none"

    def __post_init__(self) -> None:
        require_count("micro_size", self.micro_size)
        starts = [start for start, _ in self.segments]
        _require_ascending("segments", starts, got=self.segments, remedy="((0, 64), (1_000_000, 128))")
        for _, size in self.segments:
            require_count("size", size)
        lr_factor(self.coupling, 1.0)  # refuses an unknown rule now, not at the first change

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        return _coupled(self.segments, self.coupling)

    def init(self, plan: Plan | None) -> Memory:
        return None

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        return follow(self.table, memory, examples=progress.examples, micro_size=self.micro_size, kind="steps")


@dataclass(frozen=True)
class Geometric:
    """The batch size times `growth` every `every` examples, from `first` up to `last`.

        size(n) = round(min(last, first * growth ** (n // every)))        n: examples drawn

    `coupling` as in `Steps`. AdaBatch is `growth=2` every 20 epochs (Devarakonda et al. 2017, arXiv 1712.02029).
    Raises `ArgumentError` where `growth` is below 1.01 or `last` is below `first`.

    >>> [(segment.start, segment.size) for segment in Geometric(32, 100, growth=2, every=500, micro_size=64).table]
    [(0, 32), (500, 64), (1000, 100)]
    """

    first: int
    last: int
    growth: float
    every: int
    micro_size: int
    coupling: Rule = "none"

    def __post_init__(self) -> None:
        for name in ("first", "every", "micro_size"):
            require_count(name, getattr(self, name))
        _require_growth("growth", self.growth)
        _require_at_least("last", self.last, "first", self.first)
        lr_factor(self.coupling, 1.0)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        pairs = [(0, self.first)]
        while pairs[-1][1] < self.last:
            grown = self.first * self.growth ** len(pairs)
            pairs.append((len(pairs) * self.every, round(min(self.last, grown))))
        return _coupled(pairs, self.coupling)

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
    coupling: Rule = "none"
    by: Literal["rung", "example"] = "rung"

    def __post_init__(self) -> None:
        for name in ("first", "over", "micro_size"):
            require_count(name, getattr(self, name))
        _require_at_least("target", self.target, "first", self.first)
        if self.by not in ("rung", "example"):
            raise ArgumentError(
                must("by", "be 'rung' or 'example'", self.by, "a size is one or the other", "by='rung'")
            )
        lr_factor(self.coupling, 1.0)

    @cached_property
    def table(self) -> tuple[Segment, ...]:
        whole = range(self.first, self.target + 1)
        sizes = whole if self.by == "example" else sorted({self.first, *rungs(self.target, self.first)})
        rise = self.target - self.first
        starts = [-(-(size - self.first) * self.over // max(1, rise)) for size in sizes]
        # Where the line is steeper than one per example several sizes begin at once: the largest holds.
        return _coupled(list(dict(zip(starts, sizes, strict=True)).items()), self.coupling)

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
        _require_growth("decay", self.decay)
        _require_at_least("largest", self.largest, "first", self.first)
        starts = [0, *self.boundaries]
        _require_ascending("boundaries", starts, got=self.boundaries, remedy="boundaries=(1_000_000, 2_000_000)")

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


def _coupled(pairs: Sequence[tuple[int, int]], coupling: Rule) -> tuple[Segment, ...]:
    """Segments whose rate follows the size; the first size is where the rate belongs."""
    first = pairs[0][1]
    return tuple(Segment(start, size, lr_factor(coupling, size / first)) for start, size in pairs)


def _reason(old: Memory, new: dict[str, Any], examples: int, kind: str) -> str:
    if old is None or old == new:
        return ""
    changes = [
        f"{words} {mark}{old[name]:g} -> {mark}{new[name]:g}" if mark else f"{words} {old[name]} -> {new[name]}"
        for name, words, mark in (("size", "batch size", ""), ("lr_factor", "learning rate", "x"))
        if old[name] != new[name]
    ] or [f"micro-batch {old['micro_size']} -> {new['micro_size']}"]
    return f"{', '.join(changes)} at {examples:,} examples ({kind})"


def _require_ascending(name: str, starts: Sequence[int], *, got: object, remedy: str) -> None:
    """Whole numbers, the first one 0, each above the one before."""
    whole = all(hasattr(start, "__index__") and not isinstance(start, bool) for start in starts)
    if not whole or not starts or starts[0] != 0 or any(before >= start for before, start in pairwise(starts)):
        because = "every example needs exactly one size, from the first on"
        raise ArgumentError(must(name, "ascend in whole numbers of examples", got, because, remedy))


def _require_growth(name: str, value: float) -> None:
    if not (isinstance(value, int | float) and 1.01 <= value <= 1000):
        raise ArgumentError(
            must(name, "be a number from 1.01 to 1000", value, "the batch grows step by step", f"{name}=2")
        )


def _require_at_least(name: str, value: int, least_name: str, least: int) -> None:
    if require_count(name, value) < least:
        raise ArgumentError(
            must(name, f"be at least {least_name}={least}", value, "the batch grows", f"{name}={4 * least}")
        )
