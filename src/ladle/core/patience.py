"""`Patience`: how long a step may take before it counts as one that hangs, from how long those before it took.

limit = max(LEAST, TIMES * median over windows of (longest step of the window * growth since))
growth = max(1, examples of this window / of that one, its batch size / that one's)
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

STUCK = "LADLE_STUCK_SECONDS"
"""Environment variable: nothing hangs before so many seconds. `LEAST` where it is not set."""

LEAST = 60.0
FIRST = 7200.0
"""Seconds of a step of the first window, before which nothing is known."""

TIMES = 20.0
KEPT = 32
"""Windows that the median is of: the newest."""


class Took(NamedTuple):
    """The longest step of a window, in seconds, and the window: its examples, and those of a batch.

    A step is what one call of a program does: an update, or all updates of a window.
    """

    seconds: float
    examples: int
    size: int


@dataclass
class Patience:
    """What steps of the newest windows took.

    >>> patience = Patience()
    >>> patience.limit(100, 10)
    7200.0
    >>> patience.note(Took(50.0, 100, 10))
    >>> patience.limit(100, 10), patience.limit(50, 10), patience.limit(100, 30)
    (1000.0, 1000.0, 3000.0)
    """

    kept: deque[Took] = field(default_factory=lambda: deque(maxlen=KEPT))

    def note(self, took: Took) -> None:
        self.kept.append(took)

    def limit(self, examples: int, size: int) -> float:
        """Seconds that a step may take in a window of so many examples, in batches of `size`."""
        least = float(os.environ.get(STUCK, LEAST))
        if not self.kept:
            return max(FIRST, least)
        grown = (one.seconds * max(1.0, examples / one.examples, size / one.size) for one in self.kept)
        return max(least, TIMES * median(grown))
