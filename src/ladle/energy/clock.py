"""The time of a piece of work, by the clock and by the processor. Where no energy is known, that is all there is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ladle.core.consumption import Consumption
from ladle.core.errors import ArgumentError, must


def running(since: tuple[float, float] | None) -> tuple[float, float]:
    """`since`, of a meter that was started. Raises `ArgumentError` for one that was not."""
    if since is None:
        raise ArgumentError(must("meter", "be started", "stopped", "nothing was counted", "start() first"))
    return since


def now() -> tuple[float, float]:
    """The clock, and the processor time of this process with all its threads, in seconds."""
    return time.perf_counter(), time.process_time()


@dataclass
class ClockMeter:
    """Implements `ladle.core.protocols.Meter` with no energy: seconds and CPU-seconds. `why`: no counter was found.

    >>> meter = ClockMeter("no counters")
    >>> meter.start()
    >>> used = meter.stop()
    >>> used.joules is None, used.seconds >= 0, used.method
    (True, True, 'no counters')
    """

    why: str = ""
    measures: bool = field(default=False, init=False)
    least_seconds: float = field(default=0.0, init=False)
    _since: tuple[float, float] | None = field(default=None, init=False, repr=False)

    def start(self) -> None:
        self._since = now()

    def stop(self) -> Consumption:
        (clock, busy), (begun, idle) = now(), running(self._since)
        self._since = None
        return Consumption(clock - begun, busy - idle, method=self.why)
