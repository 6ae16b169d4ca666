"""`Forecast`: what a server will do, said before its port opens: batch, latency, and how many requests a second.

Requests of one row come at random (Poisson) and are played through the controller itself, on one processor that reads
requests, computes batches and writes answers in turn:

    seconds(batch) = fixed + per_row rung(rows) + front rows

The capacity is the largest rate at which at most `REFUSED` of the requests are refused, and at which refusing as many
again leaves time for the answers:  rate (front + refuse + seconds(limit) / limit) <= 1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ladle.core.speed import Speed
from ladle.serve.control import Controller

REFUSED = 0.01
"""Of the requests, at capacity."""

PLAYED = 3000
"""Requests in one trial."""

LOADS = (0.25, 0.5, 1.0)
"""Shares of the capacity whose latencies are told."""


@dataclass(frozen=True)
class Front:
    """What a request costs around the model, in seconds of the event loop.

    - `answered`: one that is answered. `refused`: one that is not. `idle`: from a client's first byte to its answer
      where nobody else asks, by the clock.
    """

    answered: float
    refused: float
    idle: float


@dataclass(frozen=True)
class Load:
    """At `rate` requests a second: median and p99 of those that are answered, and the share that is refused."""

    rate: float
    p50_seconds: float
    p99_seconds: float
    refused: float


@dataclass(frozen=True)
class Forecast:
    """Size, latency and capacity of a server, as `ladle serve --plan` tells them."""

    target_seconds: float
    line: Speed
    largest: int
    limit: int
    front: Front
    capacity: float
    loads: tuple[Load, ...]

    @classmethod
    def of(cls, target_seconds: float, line: Speed, largest: int, front: Front) -> Forecast:
        """From a measured line and a measured front.

        >>> made = Forecast.of(0.02, Speed(1e-3, 1e-4), 32, Front(1e-4, 1e-4, 2e-3))
        >>> made.limit, 2000 < made.capacity < 1 / (2e-4 + 1e-4)
        (32, True)
        """
        limit = Controller(target_seconds, line, largest).limit
        most = 1 / (front.answered + front.refused + line.seconds(limit) / limit)
        low, high = 0.0, most
        if played(target_seconds, line, largest, front, most).refused > REFUSED:
            while high - low > 0.02 * most:
                middle = (low + high) / 2
                refused = played(target_seconds, line, largest, front, middle).refused
                low, high = (middle, high) if refused <= REFUSED else (low, middle)
            most = low
        loads = tuple(played(target_seconds, line, largest, front, share * most) for share in LOADS) if most else ()
        return cls(target_seconds, line, largest, limit, front, most, loads)

    def explain(self) -> str:
        """The plan in words, a line each."""
        line, front = self.line, self.front
        rows = f"{self.limit:,} row" + ("s" if self.limit > 1 else "")
        worst = 2 * line.seconds(self.limit)
        lines = [
            f"target    p99 {self.target_seconds * 1e3:.4g} ms",
            f"batch     at most {rows}: a request waits for one batch and then for its own, {worst * 1e3:.3g} ms",
            f"line      {line.fixed_seconds * 1e3:.3g} ms a batch, {line.per_example_seconds * 1e6:.3g} us a row (measured)",
            f"front     {front.answered * 1e6:.0f} us to read and write a request, {front.refused * 1e6:.0f} us to refuse "
            "one (measured)",
            f"alone     {front.idle * 1e3:.3g} ms from request to answer (measured)",
            f"capacity  {self.capacity:,.0f} requests of one row a second; more are answered 503 (predicted)",
        ]
        lines += [
            f"at {load.rate:7,.0f}/s  p50 {load.p50_seconds * 1e3:.3g} ms, p99 {load.p99_seconds * 1e3:.3g} ms (predicted)"
            for load in self.loads
        ]
        return "\n".join(lines)


def played(target_seconds: float, line: Speed, largest: int, front: Front, rate: float) -> Load:
    """`PLAYED` random requests at `rate` through the controller; the same ones for every call."""
    control = Controller(target_seconds, line, largest)
    came = np.cumsum(np.random.default_rng(0).exponential(1 / rate, PLAYED)).tolist()
    waiting: deque[float] = deque()
    free, rows, refused = 0.0, 0, 0
    took: list[float] = []
    around = max(front.idle - control.seconds(1) - front.answered, 0.0)
    for time in [*came, float("inf")]:
        while waiting and free <= time:
            rows = min(control.limit, len(waiting))
            begun = max(free, waiting[0])
            free = begun + control.seconds(rows) + front.answered * rows
            took += [free - waiting.popleft() + around for _ in range(rows)]
        if time == float("inf"):
            break
        left = max(free - time, 0.0)
        if left + front.answered * len(waiting) + control.predicted(1, len(waiting), 0.0) > control.budget and left:
            refused += 1
            free += front.refused
        else:
            waiting.append(time)
            free = max(free, time)
    p50, p99 = np.quantile(took, [0.5, 0.99]).tolist()
    return Load(rate, p50, p99, refused / PLAYED)
