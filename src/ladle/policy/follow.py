"""What policies share whose size follows a measurement: what they remember, and the decision from a wanted size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ladle.core.decision import Decision, Progress
from ladle.core.noise import NoiseScale
from ladle.core.plan import Plan
from ladle.core.traits import AnyCoupling
from ladle.policy.averages import Averages
from ladle.policy.change import Reason
from ladle.policy.course import Course
from ladle.policy.move import Wanted, next_size
from ladle.policy.range import Range


@dataclass(frozen=True)
class Following:
    """Remembers where the size stands, and what was measured."""

    course: Course
    averages: Averages = field(default_factory=Averages)

    @classmethod
    def begin(cls, sizes: Range, plan: Plan | None) -> Following:
        """Before the first decision: where to begin."""
        return cls(Course(sizes.begin(plan)))

    @classmethod
    def recall(cls, memory: Any, sizes: Range, progress: Progress) -> Following:
        """From any policy's memory, or the JSON of one."""
        if isinstance(memory, cls):
            return memory
        return cls(Course.recall(memory, sizes, progress), Averages.recall(memory))

    def to_json(self) -> dict[str, Any]:
        return {**self.course.to_json(), **self.averages.to_json()}

    def noise(self, sizes: Range) -> NoiseScale:
        return self.averages.noise(sizes.confidence)

    def follow(
        self,
        sizes: Range,
        wanted: Wanted,
        progress: Progress,
        reason: Reason,
        coupling: AnyCoupling = "none",
        *,
        at_least: bool = False,
    ) -> tuple[Following, Decision]:
        """What is remembered after the decision that follows from a wanted size, and that decision."""
        course = self.course
        size = course.present(sizes)
        if course.may_move(sizes, progress):
            size = next_size(sizes, size, wanted, at_least=at_least, went=course.went)
        course, decision = course.move(sizes, size, progress, reason, coupling)
        return replace(self, course=course), decision


def watch(memory: Any, sizes: Range, progress: Progress, *, also: tuple[str, ...] = ()) -> Following:
    """What is remembered with the last window in it: how every decision that follows a measurement begins.

    `also`: readings to average beside the gradient moments.
    """
    kept = Following.recall(memory, sizes, progress)
    size = kept.course.present(sizes)
    return replace(kept, averages=kept.averages.absorb(progress, size, half_life=sizes.half_life, also=also))
