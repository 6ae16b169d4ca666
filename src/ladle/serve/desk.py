"""`Desk`: where accepted requests wait, and the thread that answers them. It takes what is there and never waits.

The event loop calls `accept`; the thread takes up to the controller's limit of rows, computes them as one batch of a
rung's shape, and hands all answers back to the loop at once.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.errors import LadleError
from ladle.serve.control import Controller
from ladle.serve.numbers import Numbers
from ladle.serve.served import Answer, Refused, Served, joined

LATE = "it waited too long behind others: an answer would have come after the time that was promised"
REPLACED = "a newer request took its place, as this server was asked to do"


@dataclass(eq=False)
class Ticket:
    """A request that was accepted. `write`: makes its body from its answer, in the model's thread."""

    inputs: Any
    rows: int
    write: Callable[[Answer], bytes]
    future: asyncio.Future[bytes]
    came: float = field(default_factory=time.perf_counter)
    """When it can have come: while the event loop is behind, that is before it was read."""


class Desk:
    """Accepted requests and the thread that answers them, for one model.

    - `newest`: at most one request waits; a newer one takes its place.
    - `lag`: how far the event loop is behind, in seconds.
    """

    def __init__(self, served: Served, control: Controller, numbers: Numbers, *, newest: bool = False) -> None:
        """Nothing runs before `open`."""
        self.served, self.control, self.numbers, self.newest = served, control, numbers, newest
        self.lag, self._late = 0.0, 0.0
        self._waiting: deque[Ticket] = deque()
        self._queued, self._at_work, self._begun = 0, 0, 0.0
        self._there = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer; answers are delivered in `loop`."""
        self._loop = loop
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer what was accepted, then stop."""
        with self._there:
            self._closing = True
            self._there.notify()
        if self._thread is not None:
            self._thread.join()

    @property
    def queued(self) -> int:
        """Rows that wait."""
        return self._queued

    @property
    def works(self) -> bool:
        """Whether the model's thread is alive and takes requests."""
        return self._thread is not None and self._thread.is_alive() and not self._closing

    def woken(self, late: float, every: float) -> None:
        """The event loop, asked to wake `every` so many seconds, was `late` this time.

        One late turn is a stall that is over, and says nothing of the requests to come. Two in a row are a loop behind.
        """
        behind = self._late > every
        self.lag = max(late, self.lag / 2) if behind else min(late, self._late)
        self._late = late

    def require_room(self, rows: int = 1) -> None:
        """Refuse a request of `rows` that could not be answered in time: 503 with `Retry-After`.

        One that finds nobody before it is always taken, unless the event loop itself is behind.
        """
        if self._closing:
            raise Refused(503, "the server is stopping", {"retry-after": "5"}, "stopping")
        if self.newest:
            return
        queued, idle = self._queued, not self._at_work
        left = 0.0 if idle else max(self.control.seconds(self._at_work) - (time.perf_counter() - self._begun), 0.0)
        predicted = self.lag + self.control.predicted(rows, queued, left)
        if predicted > self.control.budget and (queued or not idle or self.lag > self.control.budget):
            # Whole seconds are the header's unit, and the queue is empty long before.
            sentence = f"an answer would take {predicted * 1e3:.0f} ms; this server holds its promised time by refusing"
            raise Refused(503, sentence, {"retry-after": str(max(1, round(predicted)))}, "full")

    def accept(self, ticket: Ticket) -> None:
        """Queue a request. Its future gets the body of its answer, or `Refused`."""
        ticket.came -= self.lag
        with self._there:
            replaced = list(self._waiting) if self.newest else []
            if replaced:
                self._waiting.clear()
                self._queued = 0
            self._waiting.append(ticket)
            self._queued += ticket.rows
            self._there.notify()
        for old in replaced:
            _settle(old, Refused(503, REPLACED, why="replaced"))

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            if not taken:
                continue
            answers = answered(self.served, self.control.rung(self._at_work), taken)
            seconds = time.perf_counter() - self._begun
            with self._there:
                rows, self._at_work = self._at_work, 0
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._deliver, taken, answers, rows, seconds)

    def _take(self) -> list[Ticket] | None:
        """What is queued, up to the limit of rows; None at the end."""
        with self._there:
            while not self._waiting:
                if self._closing:
                    return None
                self._there.wait()
            now, limit, taken, late, rows = time.perf_counter(), self.control.limit, [], [], 0
            allowance = self.control.allowance(min(self._queued, limit))
            while self._waiting and (not taken or rows + self._waiting[0].rows <= limit):
                ticket = self._waiting.popleft()
                self._queued -= ticket.rows
                if now - ticket.came > allowance and not self._closing and not self.newest:
                    late.append(ticket)
                else:
                    taken.append(ticket)
                    rows += ticket.rows
            self._at_work, self._begun = rows, now
        if late:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_settle_late, late)
        return taken

    def _deliver(self, taken: Sequence[Ticket], answers: Sequence[bytes | Refused], rows: int, seconds: float) -> None:
        """In the loop: hand out a batch's answers, and tell the controller what they took."""
        self.control.computed(rows, seconds)
        self.numbers.batch(rows, self.control.rung(rows), seconds)
        now = time.perf_counter()
        for ticket, answer in zip(taken, answers, strict=True):
            self.control.answered(now - ticket.came)
            self.numbers.latency(now - ticket.came)
            _settle(ticket, answer)


def _settle(ticket: Ticket, answer: bytes | Refused) -> None:
    if ticket.future.done():
        return
    if isinstance(answer, Refused):
        ticket.future.set_exception(answer)
    else:
        ticket.future.set_result(answer)


def _settle_late(late: Sequence[Ticket]) -> None:
    for ticket in late:
        _settle(ticket, Refused(503, LATE, {"retry-after": "1"}, "late"))


def answered(served: Served, rung: int, taken: Sequence[Ticket]) -> list[bytes | Refused]:
    """The bodies of a batch's answers, request by request. What goes wrong with one is its own."""
    try:
        outputs = served.compute(joined([ticket.inputs for ticket in taken], rung))
    except Exception:  # Whatever it is, each request gets an answer, and the next batch its chance.
        traceback.print_exc(file=sys.stderr)
        return [Refused(500, "the model failed; the server's log says how", why="failed")] * len(taken)
    bodies: list[bytes | Refused] = []
    first = 0
    for ticket in taken:
        bodies.append(_body(served, ticket, outputs[first : first + ticket.rows]))
        first += ticket.rows
    return bodies


def _body(served: Served, ticket: Ticket, outputs: np.ndarray) -> bytes | Refused:
    try:
        return ticket.write(served.answer(outputs))
    except LadleError as error:
        return Refused(422, str(error), why="rows")
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return Refused(500, "the answer could not be written; the server's log says why", why="failed")
