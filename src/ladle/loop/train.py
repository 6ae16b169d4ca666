"""The loop, written once, as a generator. Everything else about a run is ordinary code in the `for` that consumes it.

for line, carry in train(carry, feed, step, policy, until, stop=next_evaluation):
    ...show, checkpoint, stop...
carry = carry.read(evaluate(carry.state))      # and round again
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ladle.batch import updates_until
from ladle.carry import Carry
from ladle.cursor import Cursor, Shard
from ladle.decision import Decision, Progress
from ladle.duration import Until
from ladle.errors import EndOfStream, RunError, must
from ladle.loop.intake import Intake
from ladle.observation import Observation
from ladle.protocols import Feed, Policy, Step
from ladle.seen import Seen
from ladle.spec import BatchSpec


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
    A stream that has no further event ends it too.
    """
    window = window or feed.epoch_size
    while until.ended(carry.progress) is None and (stop is None or carry.progress.examples < stop):
        memory, decision = policy.decide(carry.memory, carry.progress)
        spec = replace(decision.spec, updates=1)
        ends = (stop, decision.stop, until.stop(feed.epoch_size))
        end = _window_end(carry.progress, decision, ends=ends, every=(window, feed.epoch_size))
        most = None if until.updates is None else until.updates - carry.progress.updates
        started = time.perf_counter()
        intake = Intake(feed, Seen.from_json(carry.cursor.carry["seen"]) if "seen" in carry.cursor.carry else Seen())
        try:
            first = intake.drawn(carry.cursor, spec, shard)
        except EndOfStream:
            return
        drawing = time.perf_counter() - started
        state = step.prepare(carry.state, first[0], spec)  # Compilation is no training time.

        started, busy = time.perf_counter() - drawing, time.process_time()
        cursor, observation, updates = carry.cursor, Observation(), 0
        while cursor.drawn < end and (most is None or updates < most):
            part = replace(spec, updates=_updates(feed, cursor, end, spec, None if most is None else most - updates))
            try:
                # A draw of a stream has read its events: the first is not drawn twice.
                draw, cursor = first if not updates and part == spec else intake.drawn(cursor, part, shard)
            except EndOfStream:
                break
            state, new = step(state, intake.of(draw), part, decision.lr_factor)
            observation, updates = observation.merge(new), updates + part.updates
        reading = observation.read()  # The one read of the device.
        seconds = time.perf_counter() - started
        if reading["refused"] > 0 and feed.updates_per_draw > 1:  # The step stopped there.
            updates = observation.begun
            cursor = feed.draw(carry.cursor, replace(spec, updates=updates), shard)[1]
        cursor = intake.proved(cursor, shard)

        progress = _advance(carry.progress, cursor.drawn, updates, feed.epoch_size, seconds, reading)
        line = {**_line(carry.progress, progress, decision, seconds), **intake.line(seconds)}
        line["cpu_seconds"] = time.process_time() - busy
        carry = Carry(state, cursor, memory, progress)
        yield line, carry


def _window_end(progress: Progress, decision: Decision, *, ends: tuple[int | None, ...], every: tuple[int, int]) -> int:
    """Where the next window ends: at the first of `ends` and of the multiples of `every`."""
    multiples = [(progress.examples // length + 1) * length for length in every]
    end = min(end for end in (*ends, *multiples) if end is not None)
    if end <= progress.examples:
        because, remedy = "a window needs an update", "stop=None"
        raise RunError(must("policy", f"decide past position {progress.examples}", decision, because, remedy))
    return end


def _updates(feed: Feed, cursor: Cursor, end: int, spec: BatchSpec, most: int | None) -> int:
    """Updates in the next draw: one where rows travel from the host, all that reach `end` where they do not."""
    if feed.updates_per_draw == 1:
        return 1
    updates = min(updates_until(cursor.drawn, end, spec.size, feed.epoch_size), feed.updates_per_draw)
    return updates if most is None else min(updates, most)


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


def _line(before: Progress, after: Progress, decision: Decision, seconds: float) -> dict[str, Any]:
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
        **{name: value for name, value in after.reading.items() if not name.startswith("valid_")},
    }
    if decision.reason:
        line["reason"] = decision.reason
    return line
