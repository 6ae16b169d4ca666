"""`AdaScale`: the rate that fits the sizes of another policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Clock, Decision, Progress
from ladle.core.noise import NoiseScale
from ladle.core.spec import require_count
from ladle.policy.averages import absorb, noise_of
from ladle.policy.change import Memory, decided
from ladle.policy.range import HALF_LIFE, Range
from ladle.policy.reason import numbers, said
from ladle.policy.refuse import require_between

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


def gain(noise: float, base: int, size: int) -> float:
    """How many updates at `base` one at `size` is worth: (noise/base + 1) / (noise/size + 1), between 1 and size/base.

    Below `base` it is as much below 1. Pollux's efficiency is gain * base / size.

    >>> round(gain(800.0, base=128, size=1024), 6), round(gain(800.0, base=128, size=1024) / 8, 6)
    (4.070175, 0.508772)
    """
    return size / base if math.isinf(noise) else (noise / base + 1) / (noise / size + 1)
