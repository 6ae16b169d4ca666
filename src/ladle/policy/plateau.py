"""`Plateau`: the batch grows when training stops getting better."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ladle.core.decision import Decision, Progress
from ladle.core.duration import better_is_higher
from ladle.core.errors import ArgumentError, RunError, must, nearest
from ladle.core.spec import require_count
from ladle.core.traits import AnyCoupling, Traits
from ladle.policy.change import Reason
from ladle.policy.coupling import require_coupling
from ladle.policy.course import Course
from ladle.policy.memory import noted, recalled
from ladle.policy.range import Range
from ladle.policy.refuse import require_at_least, require_between, require_growth

if TYPE_CHECKING:
    from ladle.core.plan import Plan


@dataclass(frozen=True)
class Verdicts:
    """Remembers what evaluations said.

    - `best`: value so far; None before the first. `worse`: evaluations since that were no better.
    - `cool`: evaluations that are not counted yet. `seen`: where the last one was made.
    """

    best: float | None = None
    worse: int = 0
    cool: int = 0
    seen: int | None = None

    def judge(self, value: float, seen: int, *, better: bool) -> Verdicts:
        """With one more evaluation at `seen`."""
        cool = max(self.cool - 1, 0)
        if better:
            return Verdicts(value, 0, cool, seen)
        return Verdicts(self.best, self.worse + (self.cool == 0), cool, seen)


@dataclass(frozen=True)
class Judged:
    """Remembers where the size stands, and what evaluations said."""

    course: Course
    verdicts: Verdicts = Verdicts()

    @classmethod
    def recall(cls, memory: Any, sizes: Range, progress: Progress) -> Judged:
        """From any policy's memory, or the JSON of one."""
        if isinstance(memory, cls):
            return memory
        return cls(Course.recall(memory, sizes, progress), recalled(Verdicts, memory))

    def to_json(self) -> dict[str, Any]:
        return {**self.course.to_json(), **noted(self.verdicts)}


@dataclass(frozen=True)
class Plateau:
    """Multiplies the batch by `growth`, up to `largest`, after `patience` evaluations without a better `metric`.

    Where others divide the rate on a plateau, this takes the noise out of the updates by the other way of lowering
    rate / size (Smith et al. 2017, arXiv 1711.00489).

    - `metric`: `valid_...`, judged once for each evaluation (a new position `Progress.evaluated`), or `train_...`,
      judged at every window. `higher`: whether more of it is better; None where its name says so.
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
    higher: bool | None = None

    @property
    def traits(self) -> Traits:
        return Traits((self.metric,), self.first, self.largest, self.coupling, limit="largest", direction="higher")

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

    def init(self, plan: Plan | None) -> Judged:
        return Judged(Course(self.first))

    def decide(self, memory: Any, progress: Progress) -> tuple[Judged, Decision]:
        before = Judged.recall(memory, self.sizes, progress)
        verdicts, size = self._judged(before.verdicts, progress), before.course.present(self.sizes)
        reason = self._reason(before.verdicts.best, verdicts)
        if verdicts.worse >= self.patience and size < self.largest:
            size = min(self.largest, max(size + 1, round(size * self.growth)))
            verdicts = replace(verdicts, worse=0, cool=self.cooldown)
        course, decision = before.course.move(self.sizes, size, progress, reason, self.coupling)
        return Judged(course, verdicts), decision

    def _judged(self, verdicts: Verdicts, progress: Progress) -> Verdicts:
        """`verdicts` after the newest value, if that is one they do not know yet."""
        self._require_measured(progress)
        seen = self._position(progress)
        if seen == verdicts.seen or self.metric not in progress.reading:
            return verdicts
        value, best = progress.reading[self.metric], verdicts.best
        sign = -1 if (better_is_higher(self.metric) if self.higher is None else self.higher) else 1
        better = math.isfinite(value) and (best is None or sign * value < sign * best - self.min_delta)
        return verdicts.judge(value, seen, better=better)

    def _reason(self, best: float | None, verdicts: Verdicts) -> Reason:
        """In words what was `best` before the newest evaluation, in numbers what is after it."""
        times = f"{self.patience} evaluation{'s' * (self.patience > 1)}"
        why = "" if best is None else f"no {self.metric} better than {best:.4g} for {times}"
        inputs = {} if verdicts.best is None else {"best": verdicts.best, "worse": verdicts.worse}
        return Reason("plateau", why, inputs)

    def _position(self, progress: Progress) -> int:
        """Where the newest value was measured: readings of an evaluation stay until the next one, equal or not."""
        at = progress.examples
        return at if self.metric.startswith("train_") or progress.evaluated is None else progress.evaluated

    def _require_measured(self, progress: Progress) -> None:
        kinds = [name for name in progress.reading if name.startswith(self.metric[:6])]
        if kinds and self.metric not in kinds:
            why = "no evaluation measures it"
            raise RunError(must("metric", "be measured", self.metric, why, nearest(self.metric, kinds)))
