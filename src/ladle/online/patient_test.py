"""Waiting in pieces: all that comes is given, an end is seen, and who is asked to stop does."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from ladle.feed.stream.iterator import IteratorStream
from ladle.online import patient
from ladle.online.patient import Patient


@dataclass
class Slow:
    """One event for each reading, after the whole wait."""

    waits: list[float] = field(default_factory=list)

    def start(self) -> int:
        return 0

    def read(self, position: int, count: int, wait_seconds: float) -> tuple[list[Any], int]:
        self.waits.append(wait_seconds)
        time.sleep(min(wait_seconds, 0.01))
        return [position], position + 1


def test_it_stops_where_it_is_asked_to(monkeypatch):
    monkeypatch.setattr(patient, "PIECE_SECONDS", 0.01)
    slow = Slow()
    events, after = Patient(slow, lambda: len(slow.waits) == 3).read(0, 10, math.inf)
    assert events == [0, 1, 2] and after == 3


def test_an_iterator_that_is_short_has_ended():
    stream = IteratorStream(range(5))
    waited = Patient(stream, lambda: False)
    assert waited.read(waited.start(), 10, math.inf) == (list(range(5)), {"taken": 5})
    assert waited.read({"taken": 5}, 10, math.inf)[0] == []


def test_what_a_stream_says_of_its_way_is_passed_on():
    @dataclass
    class Leaving(Slow):
        def sums(self, before: int, after: int) -> dict[str, float]:
            return {"left_out": float(after - before)}

    assert Patient(Leaving(), lambda: False).sums(2, 5) == {"left_out": 3.0}
    assert Patient(Slow(), lambda: False).sums(2, 5) == {}
