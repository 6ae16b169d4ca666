"""What the noise scale of a host's run says of its batch size, and how a policy moves it by accumulation alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from ladle.core.carry import Carry
from ladle.core.cursor import Cursor
from ladle.core.decision import Decision, Progress
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import PREFIX, Moments
from ladle.core.noise import NoiseScale, estimate
from ladle.core.plan import Plan
from ladle.core.protocols import Policy
from ladle.core.scaling.rules import MOVES, lr_factor
from ladle.core.traits import traits_of

ENOUGH = 64
"""Measured updates that an advice rests on, where there were so many."""

NOTHING = "no update had two gradients to compare: {}"
NEARLY = "The batch of {size:,} is well below it: twice the batch takes little more than half of the updates."
BEYOND = "The batch of {size:,} is well above it: half the batch takes few more updates, and fewer examples."
NEAR = "The batch of {size:,} is near it."
UNKNOWN = "{size:,} may be below it or above it: more updates have to be measured."


@dataclass(frozen=True)
class Advice:
    """What was measured of a run at `size`, in words and numbers.

    - `noise`: of the examples that an update draws, with interval and verdict. `size`: that the run has now.
    - `best`: the size with the least time to a target, sqrt(noise knee), where a plan has told the knee of the speed;
      nan without. `missing`: why nothing was measured.

    >>> from ladle.core.noise import NoiseScale
    >>> print(Advice(NoiseScale(900.0, 700.0, 1200.0, "resolved", updates=9), 600))
    Noise scale 900 examples (700 to 1,200). The batch of 600 is near it.
    """

    noise: NoiseScale
    size: int
    best: float = math.nan
    missing: str = ""

    @classmethod
    def of(cls, moments: Moments, size: int, plan: Plan | None = None, missing: str = "") -> Advice:
        """From the moments of a run, and the knee of a plan for the same machine."""
        noise = estimate(moments)
        knee = plan.number("knee") if plan is not None else None
        best = math.sqrt(noise.value * knee.value) if knee is not None and noise.value > 0 else math.nan
        return cls(noise, size, best, missing if moments.count < 1 else "")

    def __str__(self) -> str:
        if self.noise.updates < 1:
            return "Noise scale not measured" + (": " + NOTHING.format(self.missing) if self.missing else "") + "."
        if self.noise.low <= 0:
            return f"Noise scale not resolved by {self.noise.updates:,.0f} measured updates. " + UNKNOWN.format(
                size=self.size
            )
        ends = f"{self.noise.low:,.0f} to {self.noise.high:,.0f}" if math.isfinite(self.noise.high) else ""
        least = f"at least {self.noise.low:,.0f} examples ({self.noise.verdict})"
        known = f"{self.noise.value:,.0f} examples ({ends})" if ends else least
        said = f"Noise scale {known}. {self._beside().format(size=self.size)}"
        if not math.isfinite(self.best) or not ends:
            return said
        return f"{said} By the plan's speed, {self.best:,.0f} examples reach a target soonest."

    def _beside(self) -> str:
        low, high = self.noise.low, self.noise.high
        if 2 * self.size < low:
            return NEARLY
        if self.size > 2 * high:
            return BEYOND
        return NEAR if high < math.inf else UNKNOWN

    def numbers(self) -> dict[str, float]:
        """For a logger: the noise scale with its interval, and the size; nothing that is not known."""
        told = {
            "noise_scale": self.noise.value,
            "noise_scale_low": self.noise.low,
            "noise_scale_high": self.noise.high,
            "best_size": self.best,
            "batch_size": float(self.size),
        }
        return {"ladle/" + name: value for name, value in told.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Move:
    """What a host puts in force: `steps` of accumulation, which make batches of `size`, at `factor` times its rate."""

    steps: int
    size: int
    factor: float
    reason: str


class Recent:
    """Moments of the last windows, as many as hold `ENOUGH` updates: noise scales grow, so old ones say little."""

    def __init__(self) -> None:
        """Nothing was measured."""
        self.windows: list[Moments] = []
        self._since = Moments()

    def add(self, window: Moments) -> Moments:
        """With one more, the moments of all that count."""
        self.windows.append(window)
        self._since = self._since.merge(window)
        while sum(one.count for one in self.windows[1:]) >= ENOUGH:
            del self.windows[0]
        return reduce(Moments.merge, self.windows)

    def untold(self) -> Moments:
        """What was added since this was last asked: what a policy is told at the end of an epoch."""
        since, self._since = self._since, Moments()
        return since

    def state(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"windows": [vars(one) for one in self.windows], "since": vars(self._since)}

    def load(self, state: Mapping[str, Any]) -> None:
        """What `state` wrote."""
        self.windows = [Moments(**one) for one in state["windows"]]
        self._since = Moments(**state["since"])


class Steer:
    """A policy, asked at a host's ends of epochs. Sizes are `unit` examples times whole steps of accumulation.

    - `unit`: rows of a micro-batch over all processes. `least`: fewest steps that the host can go down to.

    A size between two steps becomes the one below, with the rate for that. Raises `ArgumentError` for a policy that
    moves the optimiser's constants, asks for what is not measured, or has sizes below the fewest steps.
    """

    def __init__(self, policy: Policy, plan: Plan | None, unit: int, least: int = 1) -> None:
        traits = traits_of(policy)
        self.policy, self.unit, self.least = policy, unit, least
        self._coupling = traits.coupling
        require_steerable(traits, type(policy).__name__)
        if traits.largest is not None and traits.largest < unit * least:
            why = f"a micro-batch has {unit:,} examples and an update {least} of them at least"
            raise ArgumentError(
                must("policy", "reach a size of the host", traits.largest, why, f"largest={4 * unit * least}")
            )
        self.memory: Any = policy.init(plan)
        self.progress = Progress()

    def __call__(self, progress: Progress | None = None) -> Move:
        """What comes next, after `progress`; the first time, what to begin with."""
        self.progress = self.progress if progress is None else progress
        self.memory, decision = self.policy.decide(self.memory, self.progress)
        steps = max(decision.spec.size // self.unit, self.least)
        if self.least > 1:
            steps -= steps % self.least
        return Move(steps, steps * self.unit, self._factor(decision, steps * self.unit), decision.reason)

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return Carry(None, Cursor(self.progress.examples), self.memory, self.progress).facts()

    def load(self, state: Mapping[str, Any]) -> None:
        carry = Carry.from_facts(None, dict(state))
        self.memory, self.progress = carry.memory, carry.progress

    def _factor(self, decision: Decision, size: int) -> float:
        """The rate's factor at a size that is not quite the decided one."""
        if size == decision.spec.size:
            return decision.lr_factor
        coupling: Any = self._coupling
        if isinstance(self._coupling, str):
            return decision.lr_factor * lr_factor(coupling, size / decision.spec.size)
        return decision.lr_factor * coupling.at(size)[0] / coupling.at(decision.spec.size)[0]


def require_steerable(traits: Any, name: str) -> None:
    """Refuse a policy that a host could follow by half only."""
    if asked := [need for need in traits.needs if need not in ("noise", "seconds")]:
        why = "between epochs of a host the noise scale and the time are measured"
        raise ArgumentError(must("policy", "go by what is measured", f"{name}, {asked[0]}", why, "NoiseFollow"))
    coupling = traits.coupling
    moved = MOVES.get(coupling, ()) if isinstance(coupling, str) else coupling.at(traits.largest or 1)[1]
    if moved:
        why = f"{', '.join(moved)} of the host's optimiser stay as they are"
        raise ArgumentError(must("policy", "couple the rate alone", coupling, why, "coupling='square root'"))


def progress_of(
    before: Progress, moments: Moments, *, examples: int, updates: int, epoch: float, seconds: float, size: int
) -> Progress:
    """What a policy is told of a window that ended."""
    noise = estimate(moments)
    reading = {PREFIX + name: value for name, value in vars(moments).items()}
    reading |= {"noise_scale": noise.value, "noise_scale_low": noise.low, "noise_scale_high": noise.high}
    if seconds > before.seconds:
        reading["examples_per_second"] = (examples - before.examples) / (seconds - before.seconds)
    told = {"examples": examples, "updates": updates, "epoch": epoch, "seconds": seconds, "reading": reading}
    return replace(before, **told, size=size)
