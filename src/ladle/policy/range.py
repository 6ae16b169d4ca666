"""`Range`: which sizes an adaptive policy may take, and how it moves between them."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import BatchSpec, require_count, rung_for, rungs
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan


BAND = 1.1 * math.sqrt(2)
"""A size on a grid of powers of two is the nearest one up to a ratio of sqrt(2); a tenth more, and it moves."""

HALF_LIFE = 32.0
"""Measured updates until what was measured counts half."""

CONFIDENCE = 0.95
"""Of the intervals that sizes move by."""


@dataclass(frozen=True)
class Range:
    """Says which sizes an adaptive policy may take, and how it moves between them.

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
    confidence: float = CONFIDENCE

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

    def begin(self, plan: Plan | None) -> int:
        """The size before the first decision."""
        return self.first or self.clip(self.smallest if plan is None else plan.size)

    def ending(self, size: int) -> Range:
        """The same range with `size` as its largest, where it lies inside; else this one."""
        if not self.smallest <= size < self.largest:
            return self
        return replace(self, largest=size, first=self.first and min(self.first, size))

    def clip(self, size: int) -> int:
        """`size`, brought into the bounds."""
        return min(max(size, self.smallest), self.largest)

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


def require_range(sizes: Any) -> None:
    """Refuse bounds that are no `Range`, which alone knows the sizes between them."""
    if not isinstance(sizes, Range):
        why, remedy = "the policy moves between sizes on its grid", "sizes=Range(32, 1024, micro_size=256)"
        raise ArgumentError(must("sizes", "be a ladle.policy.Range", sizes, why, remedy))
