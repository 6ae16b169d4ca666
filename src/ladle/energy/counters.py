"""Energy by the difference of counters that only ever grow: what makers build into processors and accelerators."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ladle.core.consumption import Consumption
from ladle.energy.clock import now, running

KWH = 3.6e6
"""Joules in a kilowatt-hour."""


WATCH_SECONDS = 30.0
"""A counter is looked at so often, lest it wrap round twice unseen: RAPL's smallest do after minutes at full power."""


@dataclass(frozen=True)
class Counter:
    """`joules()` since some moment in the past; `name` for people. `wraps_at`: joules at which it begins anew."""

    name: str
    joules: Callable[[], float]
    wraps_at: float | None = None

    def since(self, before: float, after: float) -> float:
        """Joules between two readings, the counter wrapping round at most once.

        >>> Counter("", lambda: 0.0, wraps_at=100.0).since(90.0, 20.0)
        30.0
        """
        return after - before + (self.wraps_at if self.wraps_at and after < before else 0.0)


@dataclass(frozen=True)
class Grid:
    """Carbon of a country's electricity: kilograms of CO2 equivalent a kilowatt-hour, and what that rests on."""

    kg_per_kwh: float
    assumption: str

    def kg(self, joules: float) -> float:
        """
        >>> Grid(0.035, "hydro and nuclear").kg(3.6e6)
        0.035
        """
        return joules / KWH * self.kg_per_kwh


@dataclass
class CounterMeter:
    """Implements `ladle.core.protocols.Meter` over counters. They count the whole device, whoever used it.

    - `counters`: at least one. `method`: which, in words. `grid`: for carbon; None for none.
    - `least_seconds`: counters are renewed about every 0.1 s, so a second is read to 10 % at worst.

    A difference that is not positive is no measurement: the counter stood still, or began anew. Nor is anything where a
    counter could not be read, at the start, on the way or at the end; the work goes on, and `stop` says why.
    """

    counters: Sequence[Counter]
    method: str
    grid: Grid | None = None
    least_seconds: float = 1.0
    measures: bool = field(default=True, init=False)
    _since: tuple[float, float] | None = field(default=None, init=False, repr=False)
    _last: list[float] = field(default_factory=list, init=False, repr=False)
    _joules: float = field(default=0.0, init=False, repr=False)
    _failed: str = field(default="", init=False, repr=False)
    _reading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _watch: threading.Thread | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        self._joules, self._failed = 0.0, ""
        self._last = self._read()
        self._ended.clear()
        self._watch = threading.Thread(target=self._watching, name="ladle-energy", daemon=True)
        self._watch.start()
        self._since = now()

    def stop(self) -> Consumption:
        (clock, busy), (begun, idle) = now(), running(self._since)
        seconds, cpu_seconds = clock - begun, busy - idle
        self._ended.set()
        assert self._watch is not None
        self._watch.join()
        self._advance()
        self._since, joules = None, self._joules
        if self._failed:
            return Consumption(seconds, cpu_seconds, method=f"{self.method}: they could not be read: {self._failed}")
        if joules <= 0:
            return Consumption(seconds, cpu_seconds, method=f"{self.method}: the counters did not move")
        assumed, kg = ((self.grid.assumption,), self.grid.kg(joules)) if self.grid else ((), None)
        return Consumption(seconds, cpu_seconds, joules, "measured", self.method, assumed, kg)

    def so_far(self) -> float | None:
        """Read the joules since `start`, while the work goes on; None where they are no measurement."""
        running(self._since)
        self._advance()
        return self._joules if not self._failed and self._joules > 0 else None

    def _watching(self) -> None:
        while not self._ended.wait(WATCH_SECONDS):
            self._advance()

    def _advance(self) -> None:
        """Add what every counter counted since it was last read. One thread at a time: none is counted twice."""
        with self._reading:
            after = self._read()
            if self._failed:
                return
            self._joules += sum(c.since(*pair) for c, *pair in zip(self.counters, self._last, after, strict=True))
            self._last = after

    def _read(self) -> list[float]:
        """All counters; none, once one of them failed. Files, drivers and daemons fail in ways of their own."""
        try:
            return [] if self._failed else [counter.joules() for counter in self.counters]
        except Exception as error:
            self._failed = first_line(error)
            return []


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or else its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
