"""The loop, written once, as a generator. Everything else about a run is ordinary code in the `for` that consumes it.

for line, carry in train(carry, feed, step, policy, until, stop=next_evaluation):
    ...show, checkpoint, stop...
carry = carry.read(evaluate(carry.state))      # and round again
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ladle.batch import Batch, Draw, updates_until
from ladle.carry import Carry
from ladle.cursor import Shard
from ladle.decision import Decision, Progress
from ladle.duration import Until
from ladle.errors import RunError, must
from ladle.observation import Observation
from ladle.protocols import Feed, Policy, Step


def train(
    carry: Carry,
    feed: Feed,
    step: Step,
    policy: Policy,
    until: Until,
    *,
    stop: int | None = None,
    window: int | None = None,
    shard: Shard = Shard(),
) -> Iterator[tuple[dict[str, Any], Carry]]:
    """Train until `until`'s bounds on examples, updates or seconds; yield one record line and the carry per window.

    It also returns once position `stop` is reached: there the consumer evaluates, and calls again.

    A window ends at the next multiple of `window` examples (one epoch by default), at an epoch's end, at `stop`, where
    the decision ends, or where the run ends, whichever comes first: a function of position alone, so that a resumed
    run has the same windows. It also ends behind a refused update, where the step stopped there.
    The carry that was handed in is consumed. Targets and patience need evaluations, so the consumer checks those.
    """
    window = window or feed.epoch_size
    while until.ended(carry.progress) is None and (stop is None or carry.progress.examples < stop):
        memory, decision = policy.decide(carry.memory, carry.progress)
        spec = replace(decision.spec, updates=1)
        ends = (stop, decision.stop, until.stop(feed.epoch_size))
        updates = _updates(carry.progress, decision, until, ends=ends, every=(window, feed.epoch_size))
        # Compilation is no training time.
        state = step.prepare(carry.state, feed.draw(carry.cursor, spec, shard)[0], spec)

        started, busy, wait = time.perf_counter(), time.process_time(), Waited()
        cursor, observation, left = carry.cursor, Observation(), updates
        while left > 0:
            part = replace(spec, updates=min(left, feed.updates_per_draw))
            draw, cursor = feed.draw(cursor, part, shard)
            state, new = step(state, wait.on(draw) if feed.updates_per_draw == 1 else draw, part, decision.lr_factor)
            observation, left = observation.merge(new), left - part.updates
        reading = observation.read()  # The one read of the device.
        seconds = time.perf_counter() - started
        if reading["refused"] > 0:
            updates = observation.begun
            cursor = feed.draw(carry.cursor, replace(spec, updates=updates), shard)[1]

        progress = _advance(carry.progress, cursor.drawn, updates, feed.epoch_size, seconds, reading)
        line = _line(carry.progress, progress, decision, seconds, wait.seconds)
        line["cpu_seconds"] = time.process_time() - busy
        carry = Carry(state, cursor, memory, progress)
        yield line, carry


@dataclass
class Waited:
    """Adds up the time spent waiting for rows."""

    seconds: float = 0.0

    def on(self, draw: Draw) -> Draw:
        return _TimedDraw(draw, self)  # type: ignore[return-value]


@dataclass(frozen=True)
class _TimedDraw:
    """A draw whose reading is timed; everything else is the draw's own."""

    draw: Draw
    waited: Waited = field(compare=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.draw, name)

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        batches = iter(self.draw.micro_batches(update, micro_size))
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            self.waited.seconds += time.perf_counter() - started
            if batch is None:
                return
            yield batch


def _updates(
    progress: Progress, decision: Decision, until: Until, *, ends: tuple[int | None, ...], every: tuple[int, int]
) -> int:
    """How many updates the next window holds: up to the first of `ends` and of the multiples of `every`."""
    multiples = [(progress.examples // length + 1) * length for length in every]
    stop = min(end for end in (*ends, *multiples) if end is not None)
    updates = updates_until(progress.examples, stop, decision.spec.size, every[1])
    if updates < 1:
        because, remedy = "a window needs an update", "stop=None"
        raise RunError(must("policy", f"decide past position {progress.examples}", decision, because, remedy))
    return updates if until.updates is None else min(updates, until.updates - progress.updates)


def _advance(
    progress: Progress, examples: int, updates: int, epoch_size: int, seconds: float, reading: dict[str, float]
) -> Progress:
    """Progress after a window. The newest `valid_*` readings are kept until there are newer ones."""
    kept = {name: value for name, value in progress.reading.items() if name.startswith("valid_")}
    return Progress(
        examples=examples,
        updates=progress.updates + updates,
        epoch=examples / epoch_size,
        seconds=progress.seconds + seconds,
        reading={**kept, **reading},
    )


def _line(before: Progress, after: Progress, decision: Decision, seconds: float, waited: float) -> dict[str, Any]:
    """The record of one window."""
    line: dict[str, Any] = {
        "examples": after.examples,
        "updates": after.updates,
        "epoch": after.epoch,
        "seconds": after.seconds,
        "size": decision.spec.size,
        "micro_size": decision.spec.micro_size,
        "lr_factor": decision.lr_factor,
        "examples_per_second": (after.examples - before.examples) / max(seconds, 1e-9),
        "data_wait_fraction": min(waited / max(seconds, 1e-9), 1.0),
        **{name: value for name, value in after.reading.items() if not name.startswith("valid_")},
    }
    if decision.reason:
        line["reason"] = decision.reason
    return line
