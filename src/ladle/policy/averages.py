"""`Averages`: what policies remember of the gradient: sums of the moments of all windows, older ones fading.

Sums are divided once, in `estimate`: a ratio is one of averages, never an average of ratios.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ladle.core.decision import Progress
from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale, estimate
from ladle.policy.memory import named
from ladle.policy.range import CONFIDENCE, HALF_LIFE

MOMENTS = tuple(field.name for field in fields(Moments))


@dataclass(frozen=True)
class Averages:
    """Remembers faded sums of what windows measured.

    - `moments`: of the gradient. `others`: sums of other readings, each weighted by the measured updates of its window.
    - `measured`: position at the end of the last window in them; None before the first. `size`: of its batches.
    """

    moments: Moments = field(default_factory=Moments)
    others: Mapping[str, float] = field(default_factory=dict)
    measured: int | None = None
    size: int | None = None

    @classmethod
    def recall(cls, memory: Any) -> Averages:
        """The sums in any policy's memory, or in the JSON of one; none where they are of other moments than today's."""
        names = named(memory)
        sums = names.get("sums", {})
        if not sums.keys() >= set(MOMENTS):
            return cls()
        moments = Moments(**{name: sums[name] for name in MOMENTS})
        others = {name: value for name, value in sums.items() if name not in MOMENTS}
        return cls(moments, others, names.get("measured"), names.get("at"))

    def to_json(self) -> dict[str, Any]:
        if self.measured is None:
            return {}
        return {"sums": {**vars(self.moments), **self.others}, "measured": self.measured, "at": self.size}

    def absorb(
        self, progress: Progress, size: int, *, half_life: float = HALF_LIFE, also: tuple[str, ...] = ()
    ) -> Averages:
        """With the last window in them, of batches of `size`: its moments, and the readings named in `also`.

        Old sums fade by 0.5 ** (updates measured in the window / half_life), so means are exponential averages that
        are right from the first window on (nothing to debias). After a growth they fade by the ratio of sizes as well:
        an update then says that much more. A window that was absorbed before, or measured nothing, changes nothing.
        """
        new = progress.moments()
        others = {name: progress.reading.get(name, math.nan) * new.count for name in also}
        finite = all(math.isfinite(value) for value in (*vars(new).values(), *others.values()))
        if new.count <= 0 or not finite or (self.measured is not None and progress.examples <= self.measured):
            return self
        old = self if self.others.keys() == others.keys() else Averages(size=self.size)
        fade = 0.5 ** (new.count / half_life) * min(1.0, (self.size or size) / size)
        sums = {name: fade * getattr(old.moments, name) + getattr(new, name) for name in MOMENTS}
        others = {name: fade * old.others.get(name, 0.0) + value for name, value in others.items()}
        return Averages(Moments(**sums), others, progress.examples, size)

    def noise(self, confidence: float = CONFIDENCE) -> NoiseScale:
        """The noise scale of the sums. Their weight counts as their number, which is on the careful side."""
        return estimate(self.moments, confidence=confidence, guarded=False)

    def mean(self, name: str) -> float:
        """The mean of another reading; nan where there is none."""
        return self.others[name] / self.moments.count if name in self.others else math.nan
