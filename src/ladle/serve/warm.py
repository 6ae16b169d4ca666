"""`warm`: compile and time every rung before a port opens. The rungs are those of training: powers of two.

Timed is all that the model's thread does for a batch of requests of one row: join, compute, write the answers.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from dataclasses import dataclass

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import rungs
from ladle.serve.bodies import json_answer
from ladle.serve.control import SHARE
from ladle.serve.desk import Ticket, answered
from ladle.serve.served import Refused, Served

MOST = 1024
"""Rows of the largest rung: as many as a trained model judges at once."""

TIMED = 9
"""Batches of each rung whose median counts."""


@dataclass(frozen=True)
class Warmed:
    """Seconds of every rung that was timed, and the largest that holds the target."""

    seconds: dict[int, float]
    largest: int


def warm(served: Served, target_seconds: float, most: int = MOST) -> Warmed:
    """Compile and time rungs from 1 up to `most` rows, as long as two batches fit the target.

    Raises `ArgumentError` where even one row at a time is too slow for it.
    """
    inputs, rows, _ = served.read(served.example())
    assert rows == 1
    seconds: dict[int, float] = {}
    for rung in rungs(most):
        seconds[rung] = _timed(served, inputs, rung)
        if 2 * seconds[rung] > SHARE * target_seconds:
            break
    held = [rung for rung, took in seconds.items() if 2 * took <= SHARE * target_seconds]
    if not held:
        least = 2 * seconds[1] / SHARE * 1e3
        why = f"one row alone takes {seconds[1] * 1e3:.3g} ms, and a request may come while another is computed"
        remedy = f"p99_ms={_up(least):g}"
        raise ArgumentError(must("p99_ms", "be within reach", target_seconds * 1e3, why, remedy))
    return Warmed(seconds, max(held))


def _timed(served: Served, inputs: object, rung: int) -> float:
    loop = asyncio.new_event_loop()  # Nothing runs in it: a ticket has a future.
    try:
        tickets = [Ticket(inputs, 1, json_answer, loop.create_future()) for _ in range(rung)]
    finally:
        loop.close()
    first = answered(served, rung, tickets)
    failed = next((body for body in first if isinstance(body, Refused)), None)
    if failed is not None:
        why = f"a batch of {rung} example rows was not answered: {failed.sentence}"
        raise ArgumentError(must("model", "answer a row", served.name, why, "ladle predict, to see what it says"))
    times = []
    for _ in range(TIMED):
        begun = time.perf_counter()
        answered(served, rung, tickets)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def _up(value: float) -> float:
    """Rounded up to two digits.

    >>> _up(12.34), _up(0.801)
    (13.0, 0.81)
    """
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step) * step, 6)
