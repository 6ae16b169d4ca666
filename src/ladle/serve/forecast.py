"""`Forecast`: what a server will do, measured before its port opens: batch, latency, and how many requests a second.

The real server is asked over loopback by 1, 2, 4, ... connections at once, from a process beside it, until it no longer
holds its target or grows no faster. The capacity is `SAFE` of the largest rate that it held: connections that wait for
their answers come evenly, and the world's requests come in bunches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ladle.core.speed import Speed
from ladle.serve.control import SHARE, Controller, Line

SAFE = 0.6
"""Of the largest rate that was held, so that requests at random moments hold the target too."""

FASTER = 1.03
"""What a doubling of the connections must bring; after two that do not, no more are tried."""

CONNECTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Load:
    """What was measured with so many connections at once: answers a second, median and p99, the share of refusals."""

    connections: int
    rate: float
    p50_seconds: float
    p99_seconds: float
    refused: float

    def explain(self) -> str:
        """In a line."""
        times = f"p50 {self.p50_seconds * 1e3:.3g} ms, p99 {self.p99_seconds * 1e3:.3g} ms"
        refused = f", {self.refused:.0%} refused" if self.refused else ""
        return f"asked by  {self.connections:3} at once: {self.rate:6,.0f} answers/s, {times}{refused} (measured)"


@dataclass(frozen=True)
class Forecast:
    """Size, latency and capacity of a server. `capacity`: requests of one row a second; None where it was not
    measured."""

    target_seconds: float
    line: Speed
    limit: int
    capacity: float | None
    loads: tuple[Load, ...]

    @classmethod
    def of(cls, target_seconds: float, line: Line, largest: int, ask: Callable[[int], Load] | None = None) -> Forecast:
        """From a measured line, and `ask`, which measures with a number of connections.

        >>> ask = lambda n: Load(n, min(n, 8) * 100.0, 1e-3, 1e-3 * n, 0)
        >>> made = Forecast.of(0.02, Line({1: 1e-3, 32: 4e-3}), 32, ask)
        >>> [load.connections for load in made.loads], made.capacity
        ([1, 2, 4, 8, 16], 480.0)
        """
        loads = tuple(_ramp(target_seconds, ask)) if ask is not None else ()
        held = [load.rate for load in loads if _holds(load, target_seconds)]
        limit = Controller(target_seconds, line, largest).limit
        return cls(target_seconds, line.speed, limit, SAFE * max(held, default=0.0) if loads else None, loads)

    def explain(self) -> str:
        """The plan in words, a line each."""
        line, limit = self.line, self.limit
        rows = f"{limit:,} row" + ("s" if limit > 1 else "")
        fixed, each = f"{line.fixed_seconds * 1e3:.3g} ms a batch", f"{line.per_example_seconds * 1e6:.3g} us a row"
        many = "not measured"
        if self.capacity == 0:
            many = f"none: even one request at a time does not hold {SHARE:g} of the target here and now"
        elif self.capacity is not None:
            many = f"{self.capacity:,.0f} requests of one row a second: {SAFE:.0%} of the most that held"
        return "\n".join(
            [
                f"target    p99 {self.target_seconds * 1e3:.4g} ms",
                f"batch     what is queued, at most {rows}, in {line.seconds(limit) * 1e3:.3g} ms",
                f"line      {fixed}, {each} (measured)",
                *(load.explain() for load in self.loads),
                f"capacity  {many}; what is too much gets 503 and Retry-After",
            ]
        )


def _ramp(target_seconds: float, ask: Callable[[int], Load]) -> Iterator[Load]:
    best, idle = 0.0, 0
    for connections in CONNECTIONS:
        load = ask(connections)
        yield load
        idle = idle + 1 if load.rate < FASTER * best else 0
        if not _holds(load, target_seconds) or idle == 2:
            return
        best = max(best, load.rate)


def _holds(load: Load, target_seconds: float) -> bool:
    return load.refused <= 0.01 and load.p99_seconds <= SHARE * target_seconds
