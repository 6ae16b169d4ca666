"""`AdaScale`: the rate that fits the sizes of another policy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Clock, Decision, Progress
from ladle.core.memory import plain
from ladle.core.noise import NoiseScale
from ladle.core.spec import require_count
from ladle.core.traits import Traits, traits_of
from ladle.policy.averages import Averages
from ladle.policy.change import Last, Reason, decided
from ladle.policy.coupling import Rate
from ladle.policy.memory import named
from ladle.policy.range import HALF_LIFE
from ladle.policy.reason import noise_inputs, noise_text
from ladle.policy.refuse import require_between

if TYPE_CHECKING:
    from ladle.core.plan import Plan
    from ladle.core.protocols import Policy


@dataclass(frozen=True)
class Scaled:
    """Remembers the rate in force and its clock, what was measured, and what the policy within remembers.

    - `first`: the size that the rate belongs to. `last`: the last decision; None before the first.
    - `clock`: base examples at position `clocked`, that of the last decision.
    """

    inner: Any
    first: int
    last: Last | None = None
    averages: Averages = field(default_factory=Averages)
    clock: float = 0.0
    clocked: int | None = None

    @classmethod
    def recall(cls, memory: Any, base: int) -> Scaled:
        """From any policy's memory, or the JSON of one."""
        if isinstance(memory, cls):
            return memory
        names = named(memory)
        averages, clock, clocked = Averages.recall(memory), names.get("clock", 0.0), names.get("clocked")
        return cls(names.get("inner"), names.get("first", base), Last.recall(memory), averages, clock, clocked)

    def to_json(self) -> dict[str, Any]:
        parts = {**(self.last.to_json() if self.last else {}), **self.averages.to_json()}
        own = {"first": self.first, "clock": self.clock, "clocked": self.clocked}
        return {"inner": plain(self.inner), **own, **parts}

    @property
    def size(self) -> int:
        """Of the batches that were measured last."""
        return self.last.size if self.last else self.first

    def in_force(self, size: int) -> float | None:
        """The factor of the rate at `size`; None where another size is in force."""
        return self.last.lr_factor if self.last and self.last.size == size else None

    def time(self, examples: int, base: int) -> float:
        """Base examples so far: those of the last window counted as many times as its factor and size say."""
        since = 0 if self.clocked is None else examples - self.clocked
        factor, size = (self.last.lr_factor, self.last.size) if self.last else (1.0, base)
        return self.clock + since * factor * base / size


@dataclass(frozen=True)
class AdaScale:
    """Finds the rate that fits the sizes of another policy: that of `base`, times the gain of the larger batch.

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
    def traits(self) -> Traits:
        inner = traits_of(self.inner)
        needs = ("noise", *(need for need in inner.needs if need != "noise"))
        return replace(inner, needs=needs, rate_size=self.base, limit="", direction="", inner="inner")

    def __post_init__(self) -> None:
        require_count("base", self.base)
        require_between("still", self.still, 0, 1, why="it is a relative change")
        require_between("half_life", self.half_life, 1, 1e12, why="it counts measured updates")

    def init(self, plan: Plan | None) -> Scaled:
        return Scaled(self.inner.init(plan), self.base)

    def decide(self, memory: Any, progress: Progress) -> tuple[Scaled, Decision]:
        kept = Scaled.recall(memory, self.base)
        averages = kept.averages.absorb(progress, kept.size, half_life=self.half_life)
        inner, chosen = self.inner.decide(kept.inner, progress)
        noise, size, time = averages.noise(), chosen.spec.size, kept.time(progress.examples, self.base)
        factor = self._factor(noise, size, kept.in_force(size))
        inputs = {**chosen.inputs, **noise_inputs(noise), "gain": factor, "scale_invariant_updates": time / self.base}
        last, decision = decided(
            kept.last,
            chosen.spec,
            Rate(factor, chosen.hyper),
            examples=progress.examples,
            reason=Reason("adascale", noise_text(noise), inputs),
            stop=chosen.stop,
        )
        clock = Clock(time - factor * self.base / size * progress.examples, factor * self.base / size)
        after = Scaled(inner, kept.first, last, averages, time, progress.examples)
        return after, replace(decision, clock=clock, reset=chosen.reset)

    def _factor(self, noise: NoiseScale, size: int, in_force: float | None) -> float:
        """The gain; or the factor in force, where there is one and what is known does not speak against it."""
        if noise.verdict == "unresolved":
            return 1.0 if in_force is None else in_force
        phi = noise.value if noise.verdict == "resolved" else noise.low
        low, new, high = (gain(end, self.base, size) for end in (noise.low, phi, noise.high))
        if in_force is None:
            return new
        return in_force if low <= in_force <= high or abs(new / in_force - 1) <= self.still else new


def gain(noise: float, base: int, size: int) -> float:
    """Says how many updates at `base` one at `size` is worth: (noise/base + 1) / (noise/size + 1), from 1 to size/base.

    Below `base` it is as much below 1. Pollux's efficiency is gain * base / size.

    >>> round(gain(800.0, base=128, size=1024), 6), round(gain(800.0, base=128, size=1024) / 8, 6)
    (4.070175, 0.508772)
    """
    return size / base if math.isinf(noise) else (noise / base + 1) / (noise / size + 1)
