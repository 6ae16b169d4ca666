"""`Course`: where a policy that moves its size stands, when it may move, and the decision for where it goes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ladle.core.decision import Decision, Progress
from ladle.core.traits import AnyCoupling
from ladle.policy.change import Last, Reason, decided
from ladle.policy.coupling import coupled
from ladle.policy.memory import named, noted
from ladle.policy.range import Range


@dataclass(frozen=True)
class Course:
    """Remembers where a policy began and what it decided last.

    - `first`: the size it began with, where its rate belongs. `last`: its last decision; None before the first.
    - `asked`: position of that decision. `changed`: where the size last changed. `went`: 1 up, -1 down, 0 never.
    """

    first: int
    last: Last | None = None
    asked: int | None = None
    changed: int = 0
    went: int = 0

    @classmethod
    def recall(cls, memory: Any, sizes: Range, progress: Progress) -> Course:
        """The course in any policy's memory, or in the JSON of one.

        What does not say where it began goes on from the last size that was used, where the rate then belongs.
        """
        if isinstance(memory, cls):
            return memory
        names, used = named(memory), progress.size
        first = names.get("first", sizes.begin(None) if used is None else used)
        last = Last.recall(memory)
        return cls(first, last, names.get("asked"), names.get("changed", 0), names.get("went", 0))

    def to_json(self) -> dict[str, Any]:
        return {**noted(replace(self, last=None)), **(self.last.to_json() if self.last else {})}

    def present(self, sizes: Range) -> int:
        """The size of the last decision, or the first one; inside the bounds."""
        return sizes.clip(self.last.size if self.last else self.first)

    def may_move(self, sizes: Range, progress: Progress) -> bool:
        """Whether the size may change here: once in a place, and `every` examples after the last time at least."""
        if self.asked is None or progress.examples <= self.asked:
            return False
        return progress.examples - self.changed >= sizes.every

    def move(
        self, sizes: Range, size: int, progress: Progress, reason: Reason, coupling: AnyCoupling = "none"
    ) -> tuple[Course, Decision]:
        """The course after the decision for `size`, and that decision, with its rate, until the next window."""
        inputs = {name: float(value) for name, value in reason.inputs.items() if math.isfinite(value)}
        last, decision = decided(
            self.last,
            sizes.spec(size),
            coupled(coupling, self.first, size),
            examples=progress.examples,
            reason=replace(reason, inputs=inputs),
        )
        after = replace(self, last=last, asked=progress.examples)
        if self.last is not None and size != self.last.size:
            after = replace(after, changed=progress.examples, went=1 if size > self.last.size else -1)
        return after, decision
