"""`Times`: seconds of an update at the sizes a run has had, learned while training, and the line through them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ladle.core.decision import Progress
from ladle.core.speed import Speed
from ladle.policy.change import Last
from ladle.policy.memory import named

FADE = 0.5
"""What an older window of the same size counts in the mean of its seconds."""


class Spent(NamedTuple):
    """Sums of windows, older ones fading."""

    updates: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Times:
    """Remembers how long updates took, by size.

    - `updates`, `seconds`: of the run, at the end of the last window. `sizes`: what was spent at each size.
    """

    updates: int = 0
    seconds: float = 0.0
    sizes: Mapping[int, Spent] = field(default_factory=dict)

    @classmethod
    def recall(cls, memory: Any) -> Times:
        """The times in any policy's memory, or in the JSON of one."""
        names = named(memory)
        sizes = {int(size): Spent(*spent) for size, spent in names.get("times", {}).items()}
        return cls(names.get("updates", 0), names.get("seconds", 0.0), sizes)

    def to_json(self) -> dict[str, Any]:
        times = {str(size): list(spent) for size, spent in self.sizes.items()}
        return {"updates": self.updates, "seconds": self.seconds, **({"times": times} if times else {})}

    def absorb(self, last: Last | None, progress: Progress) -> Times:
        """With the last window in them, under the size that it ran at.

        Seconds of a run hold training alone: neither compiling nor evaluating.
        """
        updates, seconds = progress.updates - self.updates, progress.seconds - self.seconds
        sizes = self.sizes
        if last is not None and updates > 0 and seconds > 0:
            old = sizes.get(last.size, Spent())
            sizes = {**sizes, last.size: Spent(FADE * old.updates + updates, FADE * old.seconds + seconds)}
        return Times(progress.updates, progress.seconds, sizes)

    def speed(self) -> Speed | None:
        """The line through the mean seconds of all sizes seen, least squares of the relative error; None below two.

        Neither part is allowed below zero.

        >>> speed = Times(sizes={10: Spent(4.0, 0.084), 100: Spent(2.0, 0.06)}).speed()
        >>> round(speed.fixed_seconds, 6), round(speed.per_example_seconds, 6)
        (0.02, 0.0001)
        """
        if len(self.sizes) < 2:
            return None
        times = [(float(size), spent.seconds / spent.updates) for size, spent in self.sizes.items()]
        # Minimises sum of (fixed x + per_example y - 1)^2, x = 1/seconds, y = size/seconds.
        pairs = [(1 / seconds, size / seconds) for size, seconds in times]
        xx, xy, yy = (math.fsum(a[i] * a[j] for a in pairs) for i, j in ((0, 0), (0, 1), (1, 1)))
        x, y = (math.fsum(a[i] for a in pairs) for i in (0, 1))
        det = xx * yy - xy * xy
        fixed, per_example = (x * yy - y * xy) / det, (y * xx - x * xy) / det
        if fixed < 0:
            return Speed(0.0, y / yy)
        return Speed(fixed, per_example) if per_example >= 0 else Speed(x / xx, 0.0)
