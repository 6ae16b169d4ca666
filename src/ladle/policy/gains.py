"""What a larger batch gains: `AdaScale` has the rate that fits a size, `Goodput` the size itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ladle.core.decision import Clock, Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.noise import NoiseScale
from ladle.core.spec import require_count
from ladle.policy.adaptive import (
    HALF_LIFE,
    Range,
    absorb,
    may_move,
    moved,
    noise_of,
    numbers,
    require_between,
    require_range,
    said,
)
from ladle.policy.change import AnyCoupling, Memory, decided, require_coupling
from ladle.policy.timing import Line, line_of, timed

if TYPE_CHECKING:
    from ladle.core.plan import Plan
    from ladle.core.protocols import Policy


@dataclass(frozen=True)
class AdaScale:
    """The rate that fits the sizes of another policy: that of `base`, times the gain of the larger batch.

        S = size / base
        r = (v + q) / (v / S + q),  v = tr(Sigma) / base,  q = |G|^2        1 <= r <= S

    Johnson, Agrawal, Gu and Guestrin 2020 (arXiv 2007.05105): linear scaling where noise rules, none where it does not.
    Where |G|^2 is known from above only, the gain is the smallest that the interval allows; 1 before anything is known.
    It moves where the interval of the gain no longer holds the one in force, by more than `still`: measurement noise
    alone moves nothing.

    An update counts r updates at `base`, r base examples, and by that clock the run goes: a learning-rate schedule is
    read there, and epochs and examples that end the run are those of a run at `base`. So a run of 30 epochs takes more
    of them, in fewer updates, and its schedule ends with it (the paper's scale-invariant iterations).

    - `inner`: the policy that sets the size; its own rate factor is not used. `base`: the size the rate was tuned at.
    - `still`: relative change of the gain below which the rate is left alone.
    - `half_life`: measured updates until a measurement counts half.

    >>> from ladle.policy.constant import Constant
    >>> policy = AdaScale(Constant(1024, 256), base=128)
    >>> policy.decide(policy.init(None), Progress())[1].lr_factor
    1.0
    """

    inner: Policy
    base: int
    still: float = 0.1
    half_life: float = HALF_LIFE

    @property
    def needs(self) -> tuple[str, ...]:
        return ("noise", *(need for need in getattr(self.inner, "needs", ()) if need != "noise"))

    @property
    def rate_size(self) -> int:
        """The size that the run's learning rate belongs to, where it is not the first one."""
        return self.base

    def __post_init__(self) -> None:
        require_count("base", self.base)
        require_between("still", self.still, 0, 1, why="it is a relative change")
        require_between("half_life", self.half_life, 1, 1e12, why="it counts measured updates")

    def init(self, plan: Plan | None) -> Memory:
        return {"inner": self.inner.init(plan), "first": self.base, "clock": 0.0}

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        kept = {"inner": None, "first": self.base, "clock": 0.0, **(memory or {})}
        meter = Range(1, 2**40, self.base, half_life=self.half_life)
        kept = absorb(meter, kept, progress)
        kept["inner"], chosen = self.inner.decide(kept["inner"], progress)
        noise, size = noise_of(meter, kept), chosen.spec.size
        clock = self._clock(kept, progress.examples)
        factor = self._rate(noise, size, kept)
        now = Clock(clock - factor * self.base / size * progress.examples, factor * self.base / size)
        kept |= {"clock": clock, "clocked": progress.examples}
        inputs = {**chosen.inputs, **numbers(noise), "gain": factor, "scale_invariant_updates": clock / self.base}
        how: dict[str, Any] = {"kind": "adascale", "why": said(noise), "inputs": inputs, "stop": chosen.stop}
        kept, decision = decided(kept, chosen.spec, (factor, chosen.hyper), examples=progress.examples, **how)
        return kept, replace(decision, clock=now)

    def _clock(self, memory: Mapping[str, Any], examples: int) -> float:
        """Base examples so far: those of the last window counted as many times as its factor and size say."""
        since = examples - memory.get("clocked", examples)
        return memory["clock"] + since * memory.get("lr_factor", 1.0) * self.base / memory.get("size", self.base)

    def _rate(self, noise: NoiseScale, size: int, memory: Mapping[str, Any]) -> float:
        """The gain; or the factor in force, where the size is the same and what is known does not speak against it."""
        if noise.verdict == "unresolved":
            return memory["lr_factor"] if memory.get("size") == size else 1.0
        phi = noise.low if noise.verdict == "lower bound only" else noise.value
        low, new, high = (gain(end, self.base, size) for end in (noise.low, phi, noise.high))
        old = memory["lr_factor"] if memory.get("size") == size else math.nan
        return old if low <= old <= high or abs(new / old - 1) <= self.still else new


@dataclass(frozen=True)
class Goodput:
    """The size with the most progress a second.

        goodput(B) = throughput(B) * efficiency(B) = B / (fixed + per_example B) * (phi + M0) / (phi + B)

    phi is the noise scale; M0 only scales the unit. The best B of all is sqrt(phi * fixed / per_example). Moves only
    where the goodput is at least `gain` better, `most` at a time (Qiao et al. 2021, Pollux; arXiv 2008.12260).

    - `fixed_seconds`, `per_example_seconds`: of an update, as a plan measures them. Left out, they are learned from the
      windows: the run then begins with a window each at two sizes.

    >>> policy = Goodput(Range(32, 4096, micro_size=256), fixed_seconds=0.02, per_example_seconds=1e-4)
    >>> policy.best(64, Line(0.02, 1e-4), 800.0), policy.best(512, Line(0.02, 1e-4), 800.0)
    (128, 512)
    """

    sizes: Range
    fixed_seconds: float | None = None
    per_example_seconds: float | None = None
    gain: float = 0.05
    coupling: AnyCoupling = "none"

    needs: ClassVar = ("noise", "seconds")

    def __post_init__(self) -> None:
        require_range(self.sizes)
        require_between("gain", self.gain, 0, 10, why="it is a share of the goodput")
        given = [value for value in (self.fixed_seconds, self.per_example_seconds) if value is not None]
        if len(given) == 1:
            why, remedy = "a line has two numbers", "per_example_seconds=1e-4, or neither"
            raise ArgumentError(must("fixed_seconds", "come with per_example_seconds", given[0], why, remedy))
        for value in given:
            require_between("seconds", value, 0, 1e6, why="an update takes time", above=True)
        require_coupling(self.coupling)

    def init(self, plan: Plan | None) -> Memory:
        return self.sizes.begin(plan)

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        memory = timed(absorb(self.sizes, memory, progress), progress)
        present, noise = self.sizes.present(memory), noise_of(self.sizes, memory)
        line, inputs = self._line(memory), numbers(noise)
        size, why = present, "seconds of a second size"
        if may_move(self.sizes, memory, progress) and noise.low > 0:
            size = self._next(present, line, noise)
        if line is not None:
            inputs |= {"fixed_seconds": line.fixed_seconds, "per_example_seconds": line.per_example_seconds}
            inputs["goodput_ratio"] = goodput(size, line, noise.low) / goodput(present, line, noise.low)
            why = f"{said(noise)}, an update takes {line.fixed_seconds:.3g} + {line.per_example_seconds:.3g} B seconds"
        how: dict[str, Any] = {"kind": "goodput", "why": why, "inputs": inputs, "coupling": self.coupling}
        return moved(self.sizes, memory, progress, size, **how)

    def best(self, present: int, line: Line, noise: float) -> int:
        """The size of the grid, within `most` of `present`, with the largest goodput if that is `gain` better."""
        most = self.sizes.most
        reach = [size for size in self.sizes.grid if present / most <= size <= present * most]
        best = max(reach, key=lambda size: goodput(size, line, noise), default=present)
        better = goodput(best, line, noise) >= (1 + self.gain) * goodput(present, line, noise)
        return best if better else present

    def _line(self, memory: Mapping[str, Any]) -> Line | None:
        if self.fixed_seconds is None or self.per_example_seconds is None:
            return line_of(memory)
        return Line(self.fixed_seconds, self.per_example_seconds)

    def _next(self, present: int, line: Line | None, noise: NoiseScale) -> int:
        if line is None:  # No second size was timed yet.
            other = self.sizes.toward(present, 2 * present, up=True)
            return other if other != present else self.sizes.toward(present, present / 2)
        phi = noise.value if noise.verdict == "resolved" else noise.low
        better = self.best(present, line, phi)
        # A noise scale known from below says when to grow, not when to shrink.
        return better if noise.verdict == "resolved" else max(better, present)


def gain(noise: float, base: int, size: int) -> float:
    """How many updates at `base` one at `size` is worth: (noise/base + 1) / (noise/size + 1), between 1 and size/base.

    Below `base` it is as much below 1. Pollux's efficiency is gain * base / size.

    >>> round(gain(800.0, base=128, size=1024), 6), round(gain(800.0, base=128, size=1024) / 8, 6)
    (4.070175, 0.508772)
    """
    return size / base if math.isinf(noise) else (noise / base + 1) / (noise / size + 1)


def goodput(size: float, line: Line, noise: float) -> float:
    """Examples a second times what each is worth, (1 + 1/noise) / (1 + size/noise) of the first; 0 noise counts as 1.

    >>> goodput(400, Line(0.02, 1e-4), 800.0) > goodput(410, Line(0.02, 1e-4), 800.0)
    True
    """
    noise = max(noise, 1.0)
    return line.throughput(size) / (1 + size / noise)
