"""Stalls of a machine, by a clock that is only counted: they refuse nobody who would have been answered in time."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from ladle.serve import desk as desks
from ladle.serve.bodies import json_answer
from ladle.serve.control import Controller, Line
from ladle.serve.desk import Desk, Ticket
from ladle.serve.numbers import Numbers
from ladle.serve.served import Refused

BATCH, STALL, TICK, LARGEST = 2.6e-3, 30e-3, 5e-3, 64


class Machine:
    """A desk on a machine whose model, whose event loop or both do nothing for `STALL`, once a second."""

    def __init__(self, rate: float, seconds: int, target: float, stalled: str) -> None:
        """`rate`: requests a second, at random moments."""
        rng = np.random.default_rng(0)
        self.now, self.end, self.work = 0.0, np.inf, []
        self.target, self.stalled = target, stalled
        self.stalls = np.arange(seconds) + 0.9 * rng.random(seconds)
        self.came = np.cumsum(rng.exponential(1 / rate, int(rate * seconds))).tolist()
        self.desk = Desk(None, Controller(target, Line({1: BATCH, LARGEST: BATCH}), LARGEST), Numbers())  # type: ignore[arg-type]
        self.desk._loop = SimpleNamespace(call_soon_threadsafe=lambda what, *given: what(*given))  # type: ignore[assignment]

    def awake(self, at: float) -> float:
        """When the event loop does what is due `at` a moment."""
        here = self.stalls[(self.stalls <= at) & (at < self.stalls + STALL)]
        return here[0] + STALL if here.size and "loop" in self.stalled else at

    def begin(self) -> None:
        self.work, self.end = [], np.inf
        while self.desk.queued and not self.work:
            self.work = self.desk._take() or []
        if self.work:
            inside = ((self.now - STALL < self.stalls) & (self.stalls < self.now + BATCH)).any()
            self.end = self.now + BATCH + (STALL if inside and "model" in self.stalled else 0.0)

    def until(self, moment: float) -> None:
        while self.end <= moment:
            self.now = self.end
            rows, self.desk._at_work = self.desk._at_work, 0
            self.desk._deliver(self.work, [b""] * len(self.work), rows, self.now - self.desk._begun)
            self.begin()
        self.now = moment

    def refused(self) -> int:
        """Requests that were refused and would have been answered within the target."""
        futures = asyncio.new_event_loop()
        ticks = [0.0]
        while ticks[-1] < self.came[-1]:
            ticks.append(self.awake(ticks[-1] + TICK))
        wrong = 0
        events = [(self.awake(came), came, True) for came in self.came]
        events += [(woke, before + TICK, False) for before, woke in pairwise(ticks)]
        for read, came, request in sorted(events):
            self.until(read)
            if not request:
                self.desk.woken(read - came, TICK)
                continue
            try:
                self.desk.require_room()
            except Refused:
                left = self.end - read if self.work else 0.0
                wrong += read - came + left + (self.desk.queued // LARGEST + 1) * BATCH <= self.target
                continue
            future = futures.create_future()
            future.add_done_callback(lambda done: done.exception())
            self.desk.accept(Ticket(None, 1, json_answer, future, came=read))
            if not self.work:
                self.begin()
        # Callbacks retrieve what was refused too late.
        futures.call_soon(futures.stop)
        futures.run_forever()
        futures.close()
        return wrong


@pytest.mark.parametrize("stalled", ["model", "loop", "model and loop"])
@pytest.mark.parametrize(("target", "rate", "at_most"), [(20e-3, 19, 0), (20e-3, 200, 0), (10e-3, 19, 8)])
def test_a_single_stall_refuses_nobody_who_would_have_been_answered_in_time(
    stalled: str, target: float, rate: float, at_most: int, monkeypatch: pytest.MonkeyPatch
):
    """5 % of what one batch a request allows is 19 a second; 50 seconds."""
    machine = Machine(rate, 50, target, stalled)
    monkeypatch.setattr(desks, "time", SimpleNamespace(perf_counter=lambda: machine.now))
    assert machine.refused() <= at_most


def test_a_loop_that_is_late_twice_in_a_row_is_behind_until_it_has_caught_up():
    desk = Machine(19, 1, 20e-3, "").desk
    lags = []
    for late in (0.03, 0.0, 0.0, 0.03, 0.04, 0.001, 0.0, 0.0):
        desk.woken(late, TICK)
        lags.append(desk.lag)
    assert lags == [0.0, 0.0, 0.0, 0.0, 0.04, 0.02, 0.0, 0.0]
