"""What policies that measure share: which sizes they may take, what they remember, and when the size moves.

    remember     sums of the gradient moments of all windows, older ones fading; divided once, in `estimate`
    want         each policy's own formula: a size, with the interval that the measurement leaves it
    move         only where the interval says that the present size is wrong, by more than `band`, or by band^2 to go
                 back the way it came; to a size on the grid

So a size does not flap: measurement noise alone stays inside the interval, and a wanted size between two of the grid
stays inside the band. Where |G|^2 cannot be told from zero, the wanted size is known from below only, and the batch
grows up to that bound and no further.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale, estimate
from ladle.core.spec import BatchSpec, require_count, rung_for, rungs
from ladle.policy.change import AnyCoupling, Memory, coupled, decided

if TYPE_CHECKING:
    from ladle.core.plan import Plan

BAND = 1.1 * math.sqrt(2)
"""A size on a grid of powers of two is the nearest one up to a ratio of sqrt(2); a tenth more, and it moves."""

HALF_LIFE = 32.0
"""Measured updates until what was measured counts half."""


@dataclass(frozen=True)
class Range:
    """Which sizes an adaptive policy may take, and how it moves between them.

    - `smallest`, `largest`: bounds, both allowed. Between them stand the powers of two.
    - `micro_size`: most rows that fit at once.
    - `first`: where it begins; by default at the plan's size, brought into the bounds, or else at `smallest`.
    - `most`: the largest factor of one change. `every`: examples that a size is kept at least; 0 for one window.
    - `band`: ratio of wanted to present size below which nothing moves; its square, to move back.
    - `half_life`: measured updates until a measurement counts half. `confidence`: of the interval.

    Raises `ArgumentError` where these contradict each other.

    >>> Range(48, 500, micro_size=256).grid
    (48, 64, 128, 256, 500)
    """

    smallest: int
    largest: int
    micro_size: int
    first: int | None = None
    most: float = 2.0
    every: int = 0
    band: float = BAND
    half_life: float = HALF_LIFE
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("smallest", "micro_size"):
            require_count(name, getattr(self, name))
        if require_count("largest", self.largest) < self.smallest:
            why, remedy = "a size has to lie between them", f"largest={4 * self.smallest}"
            raise ArgumentError(must("largest", f"be at least smallest={self.smallest}", self.largest, why, remedy))
        if self.first is not None and not self.smallest <= require_count("first", self.first) <= self.largest:
            allowed, why = f"{self.smallest} to {self.largest}", "the run begins with it"
            raise ArgumentError(must("first", f"lie in {allowed}", self.first, why, f"first={self.smallest}"))
        require_between("most", self.most, 2, 1e6, why="the sizes allowed are up to a factor of 2 apart")
        require_between("band", self.band, 1, 100, why="it is a ratio of sizes")
        require_between("half_life", self.half_life, 1, 1e12, why="it counts measured updates")
        require_between("every", self.every, 0, 10**18, why="it counts examples")

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """All sizes it moves between, ascending."""
        return tuple(sorted({self.smallest, *rungs(self.largest, self.smallest)}))

    def begin(self, plan: Plan | None) -> dict[str, Any]:
        """The memory before the first decision: where to begin."""
        wanted = self.smallest if plan is None else plan.size
        return {"first": self.first or min(max(wanted, self.smallest), self.largest)}

    def recall(self, memory: Memory, progress: Progress) -> dict[str, Any]:
        """`memory` with all that a decision needs, also where it is None or another policy's.

        What does not say where it began goes on from the last size that was used, where the rate then belongs.
        """
        last = progress.reading.get("size")
        begun = self.begin(None) if last is None else {"first": int(last)}
        return {**begun, **(memory or {})}

    def present(self, memory: Mapping[str, Any]) -> int:
        """The size of the last decision, or the first one; inside the bounds."""
        return min(max(memory.get("size", memory["first"]), self.smallest), self.largest)

    def spec(self, size: int) -> BatchSpec:
        """`size` and its cut: the smallest rung that holds it, or as many rows as fit."""
        return BatchSpec(size, rung_for(size, self.micro_size))

    def toward(self, present: int, wanted: float, *, up: bool = False) -> int:
        """The size of the grid nearest to `wanted` by ratio, at most `most` times away; the next above it if `up`.

        >>> sizes = Range(16, 1024, micro_size=64)
        >>> sizes.toward(64, 100.0), sizes.toward(64, 1000.0), sizes.toward(64, 20.0)
        (128, 128, 32)
        """
        goal = min(max(wanted, self.smallest), self.largest)
        near = self._at_least(goal) if up else min(self.grid, key=lambda size: abs(math.log(size / goal)))
        reach = [size for size in (*self.grid, present) if present / self.most <= size <= present * self.most]
        return min(reach, key=lambda size: abs(math.log(size / near)))

    def below(self, present: int, wanted: float) -> int:
        """The largest size of the grid that is not above `wanted`, at most `most` times `present`, never below it."""
        limit = min(wanted, present * self.most, self.largest)
        index = bisect_right(self.grid, limit)
        return max(present, self.grid[index - 1] if index else present)

    def _at_least(self, goal: float) -> int:
        return next(size for size in self.grid if size >= goal)


@dataclass(frozen=True)
class Wanted:
    """The size that a formula asks for, with the interval of its measurement.

    - `value`: nan where nothing is known. `low`, `high`: an infinite `high` means "at least `low`".

    >>> Wanted.of(NoiseScale(300.0, 200.0, 450.0, "resolved"), 0.5)
    Wanted(value=150.0, low=100.0, high=225.0)
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, noise: NoiseScale, factor: float = 1.0, plus: float = 0.0) -> Wanted:
        """factor (B_noise + plus)."""
        return cls(*(factor * (end + plus) for end in (noise.value, noise.low, noise.high)))

    @property
    def one_sided(self) -> bool:
        return math.isinf(self.high)


def absorb(sizes: Range, memory: Memory, progress: Progress, *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """`memory` with the last window in it: its moments, and readings named in `also` weighted by measured updates.

    Old sums fade by 0.5 ** (updates measured in the window / half_life), so means are exponential averages that are
    right from the first window on (nothing to debias), and ratios are of averages. After a growth they fade by the
    ratio of sizes as well: an update then says that much more. A window that was absorbed before, or measured nothing,
    changes nothing.
    """
    kept = sizes.recall(memory, progress)
    new = progress.moments()
    values = {field.name: getattr(new, field.name) for field in fields(Moments)}
    values |= {name: progress.reading.get(name, math.nan) * new.count for name in also}
    finite = all(math.isfinite(value) for value in values.values())
    if new.count > 0 and finite and progress.examples > kept.get("measured", -1):
        fade, old = 0.5 ** (new.count / sizes.half_life), kept.get("sums", {})
        old = old if old.keys() == values.keys() else {}
        size = sizes.present(kept)
        fade *= min(1.0, kept.get("at", size) / size)
        kept["at"] = size
        kept["sums"] = {name: fade * old.get(name, 0.0) + value for name, value in values.items()}
        kept["measured"] = progress.examples
    return kept


def moments_of(memory: Mapping[str, Any]) -> Moments:
    """The faded sums."""
    sums = memory.get("sums", {})
    return Moments(**{field.name: sums.get(field.name, 0.0) for field in fields(Moments)})


def noise_of(sizes: Range, memory: Mapping[str, Any]) -> NoiseScale:
    """The noise scale of the faded sums. Their weight counts as their number, which is on the careful side."""
    return estimate(moments_of(memory), confidence=sizes.confidence)


def mean_of(memory: Mapping[str, Any], name: str) -> float:
    """The faded mean of a reading that `absorb` was told of; nan where there is none."""
    sums = memory.get("sums", {})
    return sums[name] / sums["count"] if name in sums else math.nan


def next_size(sizes: Range, present: int, wanted: Wanted, *, at_least: bool = False, went: int = 0) -> int:
    """Where to go from `present`: stay, unless the interval and the band both say that it is the wrong size.

    `went`: direction of the last change, 1 or -1; back again takes the square of the band. Without that, a size wanted
    half way between two of the grid would go to and fro with one part in ten of noise.

    `at_least`: the formula is a test that the batch must pass: the batch only grows, as soon as the whole interval is
    above it, to the next size that passes. Without an upper end it grows to the lower one at most.

    >>> sizes = Range(16, 1024, micro_size=64)
    >>> next_size(sizes, 64, Wanted(310, 240, 420)), next_size(sizes, 64, Wanted(310, 60, 900))
    (128, 64)
    >>> next_size(sizes, 64, Wanted(math.inf, 100, math.inf)), next_size(sizes, 64, Wanted(math.inf, 200, math.inf))
    (64, 128)
    """
    if wanted.one_sided:
        return sizes.below(present, wanted.low)
    if at_least:
        return sizes.toward(present, wanted.value, up=True) if wanted.low > present else present
    up, down = (sizes.band ** (2 if went == back else 1) for back in (-1, 1))
    grows = wanted.value > up * present and wanted.low > present
    shrinks = wanted.value * down < present and wanted.high < present
    if grows:  # Beyond one doubling, only as far as the whole interval is.
        return sizes.toward(present, min(wanted.value, max(wanted.low, 2 * present)))
    return sizes.toward(present, max(wanted.value, min(wanted.high, present / 2))) if shrinks else present


def follow_wanted(
    sizes: Range,
    memory: Memory,
    progress: Progress,
    wanted: Wanted,
    *,
    kind: str,
    why: str,
    coupling: AnyCoupling = "none",
    at_least: bool = False,
    inputs: Mapping[str, float] | None = None,
) -> tuple[dict[str, Any], Decision]:
    """The decision that follows from a wanted size, until the next window.

    `why`: the measurement in words, for the reason; `inputs`: the numbers behind it, for the record.
    """
    kept = sizes.recall(memory, progress)
    present = sizes.present(kept)
    size, how = present, {"at_least": at_least, "went": kept.get("went", 0)}
    if may_move(sizes, kept, progress):
        size = next_size(sizes, present, wanted, **how)
    return moved(sizes, kept, progress, size, kind=kind, why=why, coupling=coupling, inputs=inputs)


def may_move(sizes: Range, memory: Mapping[str, Any], progress: Progress) -> bool:
    """Whether the size may change here: once in a place, and no sooner than `every` examples after the last change."""
    return progress.examples > memory.get("asked", progress.examples) and (
        progress.examples - memory.get("changed", 0) >= sizes.every
    )


def moved(
    sizes: Range,
    memory: dict[str, Any],
    progress: Progress,
    size: int,
    *,
    kind: str,
    why: str,
    coupling: AnyCoupling = "none",
    inputs: Mapping[str, float] | None = None,
) -> tuple[dict[str, Any], Decision]:
    """The decision for `size`, with its rate, remembering where the size last changed."""
    memory = {**memory, "asked": progress.examples}
    if size != memory.get("size", size):
        memory |= {"changed": progress.examples, "went": 1 if size > memory["size"] else -1}
    known = {name: float(value) for name, value in (inputs or {}).items() if math.isfinite(value)}
    rate = coupled(coupling, memory["first"], size)
    return decided(memory, sizes.spec(size), rate, examples=progress.examples, kind=kind, why=why, inputs=known)


def said(noise: NoiseScale) -> str:
    """The noise scale in words, as reasons have it.

    >>> said(NoiseScale(310.0, 240.0, 420.0, "resolved"))
    'noise scale 310 (240 to 420)'
    """
    if noise.verdict == "resolved":
        return f"noise scale {noise.value:.3g} ({noise.low:.3g} to {noise.high:.3g})"
    return f"noise scale at least {noise.low:.3g}" if noise.verdict == "lower bound only" else "noise scale unknown"


def numbers(noise: NoiseScale) -> dict[str, float]:
    """What a decision records of a noise scale; nothing of what is not known."""
    if not noise.updates:
        return {}
    known = {"noise_scale": noise.value, "noise_scale_low": noise.low, "noise_scale_high": noise.high}
    known |= {"gradient_sq": noise.gradient_sq, "trace": noise.trace, "measured_updates": noise.updates}
    return {name: value for name, value in known.items() if math.isfinite(value)}


def require_range(sizes: Any) -> None:
    """Refuse bounds that are no `Range`, which alone knows the sizes between them."""
    if not isinstance(sizes, Range):
        why, remedy = "the policy moves between sizes on its grid", "sizes=Range(32, 1024, micro_size=256)"
        raise ArgumentError(must("sizes", "be a ladle.policy.Range", sizes, why, remedy))


def require_between(name: str, value: Any, low: float, high: float, *, why: str, above: bool = False) -> None:
    """Refuse a number outside [low, high], or (low, high] if `above`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high or (above and value == low):
        be = f"be above {low:g} and at most {high:g}" if above else f"lie in {low:g} to {high:g}"
        raise ArgumentError(must(name, be, value, why, f"{name}={min(high, max(2 * low, 0.5)):g}"))
