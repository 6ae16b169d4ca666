"""`Plateau`: the batch grows when training stops getting better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.duration import better_is_higher
from ladle.core.errors import ArgumentError, RunError, must, nearest
from ladle.core.spec import require_count
from ladle.policy.change import AnyCoupling, Memory, require_coupling
from ladle.policy.move import moved
from ladle.policy.range import Range
from ladle.policy.refuse import require_at_least, require_between, require_growth

if TYPE_CHECKING:
    from ladle.core.plan import Plan


BLANK: dict[str, Any] = {"best": None, "worse": 0, "cool": 0, "seen": None}
"""What it remembers of evaluations before the first."""


@dataclass(frozen=True)
class Plateau:
    """The batch times `growth`, up to `largest`, after `patience` evaluations without a better `metric`.

    Where others divide the rate on a plateau, this takes the noise out of the updates by the other way of lowering
    rate / size (Smith et al. 2017, arXiv 1711.00489).

    - `metric`: `valid_...`, judged once for each evaluation (a new position `evaluated` in the reading), or
      `train_...`, judged at every window. More is better for accuracy, r2 and auc; less for all others.
    - `min_delta`: how much better counts. `cooldown`: evaluations after a growth that are not counted.

    Raises `RunError` where there are metrics but not this one.

    >>> policy = Plateau(64, 1024, micro_size=256, patience=1)
    >>> memory = policy.init(None)
    >>> for examples, loss in ((0, 2.3), (1000, 1.0), (2000, 1.1)):
    ...     memory, decision = policy.decide(memory, Progress(examples, reading={"valid_loss": loss}))
    >>> decision.reason
    'batch size 64 -> 128: no valid_loss better than 1 for 1 evaluation at 2,000 examples (plateau)'
    """

    first: int
    largest: int
    micro_size: int
    growth: float = 2.0
    patience: int = 3
    metric: str = "valid_loss"
    min_delta: float = 0.0
    cooldown: int = 0
    coupling: AnyCoupling = "none"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.metric,)

    def __post_init__(self) -> None:
        for name in ("first", "micro_size", "patience"):
            require_count(name, getattr(self, name))
        require_at_least("largest", self.largest, "first", self.first)
        require_growth("growth", self.growth)
        require_between("min_delta", self.min_delta, 0, 1e9, why="it is how much better counts")
        require_between("cooldown", self.cooldown, 0, 1e9, why="it counts evaluations")
        if not self.metric.startswith(("valid_", "train_")):
            why, remedy = "runs measure these", "metric='valid_loss'"
            raise ArgumentError(must("metric", "begin with valid_ or train_", self.metric, why, remedy))
        require_coupling(self.coupling)

    @cached_property
    def sizes(self) -> Range:
        return Range(self.first, self.largest, self.micro_size)

    def init(self, plan: Plan | None) -> Memory:
        return {"first": self.first, **BLANK}

    def decide(self, memory: Memory, progress: Progress) -> tuple[Memory, Decision]:
        kept = {**BLANK, **self.sizes.recall(memory, progress)}
        size, best = self.sizes.present(kept), kept["best"]
        kept = self._judged(kept, progress)
        inputs = {"best": kept["best"], "worse": kept["worse"]} if kept["best"] is not None else {}
        if kept["worse"] >= self.patience and size < self.largest:
            size = min(self.largest, max(size + 1, round(size * self.growth)))
            kept |= {"worse": 0, "cool": self.cooldown}
        times = f"{self.patience} evaluation{'s' * (self.patience > 1)}"
        why = "" if best is None else f"no {self.metric} better than {best:.4g} for {times}"
        how: dict[str, Any] = {"kind": "plateau", "why": why, "inputs": inputs, "coupling": self.coupling}
        return moved(self.sizes, kept, progress, size, **how)

    def _judged(self, memory: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """`memory` after the newest value, if that is one it has not judged yet."""
        self._require_measured(progress)
        seen = self._position(progress)
        if seen == memory["seen"] or self.metric not in progress.reading:
            return memory
        value = progress.reading[self.metric]
        sign = -1 if better_is_higher(self.metric) else 1
        better = math.isfinite(value) and (
            memory["best"] is None or sign * value < sign * memory["best"] - self.min_delta
        )
        new = {"seen": seen, "cool": max(memory["cool"] - 1, 0)}
        if better:
            return {**memory, **new, "best": value, "worse": 0}
        return {**memory, **new, "worse": memory["worse"] + (memory["cool"] == 0)}

    def _position(self, progress: Progress) -> int:
        """Where the newest value was measured: readings of an evaluation stay until the next one, equal or not."""
        at = progress.examples
        return at if self.metric.startswith("train_") else int(progress.reading.get("evaluated", at))

    def _require_measured(self, progress: Progress) -> None:
        kinds = [name for name in progress.reading if name.startswith(self.metric[:6])]
        if kinds and self.metric not in kinds:
            why = "no evaluation measures it"
            raise RunError(must("metric", "be measured", self.metric, why, nearest(self.metric, kinds)))
