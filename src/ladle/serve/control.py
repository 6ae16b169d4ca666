"""`Controller`: how many rows a batch may have, and whether a request can still be answered in time.

    seconds(rows) = fixed + per_row rung(rows)         the line: measured before the port opens, and with every batch
    limit         = the largest rung with seconds(rung) <= budget
    admit         = lag + what is left of the batch at work + batches ahead + own batch <= budget

So the queue, and with it the next batch, is as large as can still be answered in time, and no larger. The budget
begins at `SHARE` of the target. It shrinks by a factor whenever the measured p99 is above the target and grows by a
step otherwise, so that whatever the line does not know of is kept out of the answers' latency as well.

Source: the rule of increase and decrease is Clipper's (NSDI 2017); the line and what to refuse are of this file.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ladle.core.spec import rungs
from ladle.core.speed import Speed

SHARE = 0.7
"""Of the target, for what is predicted; the rest is for what is not: other processes, the network's stack."""

LEAST = 0.35
"""Of the target: the budget shrinks to this at most, and not below two batches of one row."""

JUDGED = 200
"""Answers after which the budget moves."""


class Line:
    """The line through seconds by rung: least squares, each weighted by 1 / seconds^2 of that rung as measured before,
    for errors are in proportion to the time. Newer batches count more. Those from before the port opened count for
    good, as `KNOWN` batches would, so that the slope is known also while all batches are of one rung.

    >>> line = Line({1: 0.011, 2: 0.012, 4: 0.014})
    >>> round(line.seconds(8), 9)
    0.018
    """

    def __init__(self, before: Mapping[int, float]) -> None:
        """`before`: seconds by rung, measured before the port opened."""
        weight = KNOWN / len(before)
        known = [_sums(rows, took, weight / max(took, 1e-6) ** 2) for rows, took in before.items()]
        self._known = np.sum(known, axis=0)
        self._seen = np.zeros(5)
        self._first = self.speed = _solved(self._known)

    def seconds(self, rows: int) -> float:
        """Of a batch of a rung."""
        return self.speed.seconds(rows)

    def add(self, rows: int, seconds: float) -> None:
        """A batch of a rung took so long. One stall says little about the next: it counts as ten times the line."""
        weight = 1 / max(self._first.seconds(rows), 1e-6) ** 2
        self._seen = FADE * self._seen + _sums(rows, min(seconds, 10 * self.seconds(rows)), weight)
        self.speed = _solved(self._known + self._seen)


KNOWN = 4.0
FADE = 0.95
"""What is left of a batch's weight after each later one."""


def _sums(rows: float, seconds: float, weight: float) -> np.ndarray:
    return weight * np.array([1.0, rows, seconds, rows * rows, rows * seconds])


def _solved(sums: np.ndarray) -> Speed:
    one, rows, took, squares, products = sums.tolist()
    spread = squares - rows * rows / one
    slope = max((products - rows * took / one) / spread, 0.0) if spread > 1e-12 * squares else 0.0
    fixed = (took - slope * rows) / one
    # Below zero the line would promise the impossible for few rows: then it goes through the origin.
    return Speed(fixed, slope) if fixed >= 0 else Speed(0.0, took / rows)


@dataclass
class Controller:
    """What is decided about each request and each batch. All times in seconds; one thread asks at a time.

    - `target_seconds`: the p99 to hold. `line`: of a batch, all that the model's thread does. `largest`: rows.
    - `budget`: what may be predicted of a request.
    """

    target_seconds: float
    line: Line
    largest: int
    budget: float = 0.0
    taken: deque[float] = field(default_factory=lambda: deque(maxlen=JUDGED))
    _since: int = 0

    def __post_init__(self) -> None:
        self.budget = self.budget or SHARE * self.target_seconds
        self.rungs = rungs(self.largest)

    def rung(self, rows: int) -> int:
        """The smallest rung that holds `rows`."""
        return next((rung for rung in self.rungs if rung >= rows), self.largest)

    def seconds(self, rows: int) -> float:
        """Of a batch of `rows`, as things go now."""
        return self.line.seconds(self.rung(rows))

    @property
    def limit(self) -> int:
        """Rows that a batch may have now: at least one."""
        return max((rung for rung in self.rungs if self.seconds(rung) <= self.budget), default=1)

    def predicted(self, rows: int, queued: int, left: float) -> float:
        """Until the answer of a request of `rows`, with `queued` rows before it and `left` seconds of work begun."""
        limit = self.limit
        whole, rest = divmod(queued + rows - 1, limit)
        return left + whole * self.seconds(limit) + self.seconds(rest + 1)

    def computed(self, rows: int, seconds: float) -> None:
        """A batch was: the line follows."""
        self.line.add(self.rung(rows), seconds)

    def answered(self, seconds: float) -> None:
        """A request was, so long after it came."""
        self.taken.append(seconds)
        self._since += 1
        if self._since < JUDGED:
            return
        self._since = 0
        if self.p99 > self.target_seconds:
            # Less than the batch at work and one's own would refuse whoever meets anyone, and help nobody.
            alone = min(2 * self.seconds(1), SHARE * self.target_seconds)
            self.budget = max(0.7 * self.budget, LEAST * self.target_seconds, alone)
        else:
            self.budget = min(self.budget + 0.05 * self.target_seconds, SHARE * self.target_seconds)

    @property
    def p99(self) -> float:
        """Of the last `JUDGED` answers; 0 before the first."""
        ordered = sorted(self.taken)
        return ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else 0.0

    def allowance(self, rows: int) -> float:
        """How long a request of a batch of `rows` may have waited when the batch begins. Later is too late for it."""
        return max(self.target_seconds - self.seconds(rows), self.target_seconds / 4)
