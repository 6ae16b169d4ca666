"""`Controller`: how many rows a batch may have, and whether a request can still be answered in time.

    seconds(rows) = pace (fixed + per_row rung(rows))        the line, measured before the port opens; pace, while serving
    limit         = the largest rung with 2 seconds(rung) <= budget
    admit         = lag + what is left of the batch at work + batches ahead + own batch <= budget

Twice, because a request that comes while a batch has just begun waits for that one and then for its own. The budget
begins at `SHARE` of the target. It shrinks by a factor whenever the measured p99 is above the target and grows by a
step otherwise, so that whatever the line does not know of is kept out of the answers' latency as well.

Source: the rule of increase and decrease is Clipper's (NSDI 2017); the line and what to refuse are of this file.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from ladle.core.spec import rungs
from ladle.core.speed import Speed

SHARE = 0.7
"""Of the target, for what is predicted; the rest is for what is not: other processes, the network's stack."""

LEAST = 0.2
"""Of the target: the budget shrinks to this at most."""

JUDGED = 200
"""Answers after which the budget moves."""


def line_of(seconds: Mapping[int, float]) -> Speed:
    """The line through seconds by rung, each rung weighted by 1 / its seconds: errors are in proportion to the time.

    >>> line_of({1: 0.011, 2: 0.012, 4: 0.014})
    Speed(fixed_seconds=0.01, per_example_seconds=0.001)
    """
    weights = [(1 / took**2, rows, took) for rows, took in seconds.items()]
    total = sum(weight for weight, _, _ in weights)
    mean_rows = sum(weight * rows for weight, rows, _ in weights) / total
    mean_took = sum(weight * took for weight, _, took in weights) / total
    spread = sum(weight * (rows - mean_rows) ** 2 for weight, rows, _ in weights)
    together = sum(weight * (rows - mean_rows) * (took - mean_took) for weight, rows, took in weights)
    slope = max(together / spread, 0.0) if spread else 0.0
    return Speed(round(max(mean_took - slope * mean_rows, 0.0), 12), round(slope, 12))


@dataclass
class Controller:
    """What is decided about each request and each batch. All times in seconds; one thread asks at a time.

    - `target_seconds`: the p99 to hold. `line`: of a batch, all that the model's thread does. `largest`: rows.
    - `pace`: how much slower batches are now than the line says. `budget`: what may be predicted of a request.
    """

    target_seconds: float
    line: Speed
    largest: int
    pace: float = 1.0
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
        return self.pace * self.line.seconds(self.rung(rows))

    @property
    def limit(self) -> int:
        """Rows that a batch may have now: at least one."""
        return max((rung for rung in self.rungs if 2 * self.seconds(rung) <= self.budget), default=1)

    def predicted(self, rows: int, queued: int, left: float) -> float:
        """Until the answer of a request of `rows`, with `queued` rows before it and `left` seconds of work begun."""
        limit = self.limit
        whole, rest = divmod(queued + rows - 1, limit)
        return left + whole * self.seconds(limit) + self.seconds(rest + 1)

    def computed(self, rows: int, seconds: float) -> None:
        """A batch was: the pace follows, at once where it is slower, slowly where it is faster."""
        ratio = seconds / max(self.line.seconds(self.rung(rows)), 1e-9)
        share = 0.2 if ratio > self.pace else 0.05
        # One stall of the machine says little about the next batch, so a single ratio counts for ten at most.
        self.pace += share * (min(ratio, 10 * self.pace) - self.pace)

    def answered(self, seconds: float) -> None:
        """A request was, so long after it came."""
        self.taken.append(seconds)
        self._since += 1
        if self._since < JUDGED:
            return
        self._since = 0
        if self.p99 > self.target_seconds:
            self.budget = max(0.7 * self.budget, LEAST * self.target_seconds)
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
