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

from ladle.core.batch import updates_until
from ladle.core.carry import Carry
from ladle.core.cursor import Cursor, Shard
from ladle.core.decision import Decision, Progress
from ladle.core.duration import Until, window_stop
from ladle.core.errors import EndOfStream, RunError, must
from ladle.core.observation import Observation
from ladle.core.protocols import Feed, Policy, Step
from ladle.core.seen import Seen
from ladle.core.spec import BatchSpec
from ladle.loop.intake import Intake


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
    rebase: bool = False,
) -> Iterator[tuple[dict[str, Any], Carry]]:
    """Train until `until`'s bounds on examples, updates or seconds; yield one record line and the carry per window.

    It also returns once position `stop` is reached: there the consumer evaluates, and calls again.

    A window ends at the next multiple of `window` examples of an epoch (one epoch by default), at its end, at `stop`,
    where the decision ends, or where the run ends, whichever comes first: a function of position alone, so that a
    resumed run has the same windows. It also ends behind a refused update, where the step stopped there.
    `rebase`: where the size changes, the second moment of Adam and its kin follows at once (`ladle.jax.rebase`), and
    the line says "rebased".

    The carry that was handed in is consumed. Targets and patience need evaluations, so the consumer checks those.
    A stream that has no further event ends it too.
    """
    window = window or feed.epoch_size
    while until.ended(carry.progress) is None and (stop is None or carry.progress.examples < stop):
        memory, decision = policy.decide(carry.memory, carry.progress)
        spec = replace(decision.spec, updates=1)
        if spec.size > feed.epoch_size:  # The record would have a size, and the rate follow one, that no batch has.
            be, why = f"decide at most the {feed.epoch_size:,} examples of a pass", "a batch never crosses its end"
            raise RunError(must("policy", be, spec.size, why, "a smaller largest size"))
        last = until.stop(feed.epoch_size)
        ends = (stop, decision.stop, None if last is None else decision.clock.reaches(last))
        end = _window_end(carry.progress, decision, ends=ends, window=window, epoch_size=feed.epoch_size)
        most = None if until.updates is None else until.updates - carry.progress.updates
        started = time.perf_counter()
        intake = Intake(feed, Seen.from_json(carry.cursor.carry["seen"]) if "seen" in carry.cursor.carry else Seen())
        try:
            first = intake.drawn(carry.cursor, spec, shard)
        except EndOfStream:
            return
        drawing = time.perf_counter() - started
        state = step.prepare(carry.state, first[0], spec)  # Compilation is no training time.
        before, evaluated = (carry.progress.reading.get(name) for name in ("size", "evaluated"))
        rebased = rebase and before not in (None, spec.size)
        if rebased:
            state = step.rebase(state, first[0], spec, round(carry.progress.reading["size"]))
        if decision.hyper:
            state = step.transfer(state, decision.hyper)

        started, busy = time.perf_counter() - drawing, time.process_time()
        cursor, observation, updates = carry.cursor, Observation(), 0
        while cursor.drawn < end and (most is None or updates < most):
            part = replace(spec, updates=_updates(feed, cursor, end, spec, None if most is None else most - updates))
            try:
                # A draw of a stream has read its events: the first is not drawn twice.
                draw, cursor = first if not updates and part == spec else intake.drawn(cursor, part, shard)
            except EndOfStream:
                break
            state, new = step(state, intake.of(draw), part, decision.lr_factor, decision.clock)
            observation, updates = observation.merge(new), updates + part.updates
        reading = observation.read(population=feed.epoch_size)  # The one read of the device.
        seconds = time.perf_counter() - started
        if reading["refused"] > 0 and feed.updates_per_draw > 1:  # The step stopped there.
            updates = observation.begun
            cursor = feed.draw(carry.cursor, replace(spec, updates=updates), shard)[1]
        cursor = intake.proved(cursor, shard)

        reading |= {"cpu_seconds": time.process_time() - busy, "window_seconds": seconds, **intake.line(seconds)}
        reading |= {"size": spec.size, "micro_size": spec.micro_size, "lr_factor": decision.lr_factor}
        reading |= decision.clock.reading(cursor.drawn, feed.epoch_size)
        if evaluated is not None:  # Readings of an evaluation stay, and so does where it was.
            reading["evaluated"] = int(evaluated)
        line = _line(carry.progress, cursor.drawn, updates, feed.epoch_size, reading)
        # What the policy will be told is what the record says, so that a record replays every decision.
        carry = Carry(state, cursor, memory, Progress.from_line(line, carry.progress))
        line |= _explained(decision) | ({"rebased": True} if rebased else {})
        yield line, carry


def _window_end(
    progress: Progress, decision: Decision, *, ends: tuple[int | None, ...], window: int, epoch_size: int
) -> int:
    """Where the next window ends: at the first of `ends`, or as `window_stop` has it."""
    end = min(end for end in (*ends, window_stop(progress.examples, window, epoch_size)) if end is not None)
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


def _line(before: Progress, examples: int, updates: int, epoch_size: int, reading: dict[str, Any]) -> dict[str, Any]:
    """The record of one window."""
    seconds = reading["window_seconds"]
    return {
        "examples": examples,
        "updates": before.updates + updates,
        "epoch": examples / epoch_size,
        "seconds": before.seconds + seconds,
        "size": reading["size"],
        "micro_size": reading["micro_size"],
        "lr_factor": reading["lr_factor"],
        "examples_per_second": (examples - before.examples) / max(seconds, 1e-9),
        **reading,
    }


def _explained(decision: Decision) -> dict[str, Any]:
    """What the record says of a decision beside its size and rate: only what there is to say."""
    told = {"reason": decision.reason, "hyper": dict(decision.hyper), "inputs": dict(decision.inputs)}
    return {name: value for name, value in told.items() if value}
