"""The loop, written once, as a generator. Everything else about a run is ordinary code in the `for` that consumes it.

for line, carry in train(carry, feed, step, policy, until, stop=next_evaluation):
    ...show, checkpoint, stop...
carry = carry.read(evaluate(carry.state))      # and round again
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ladle.core.batch import Draw, updates_until
from ladle.core.carry import Carry
from ladle.core.cursor import Cursor
from ladle.core.decision import Decision, Progress
from ladle.core.duration import Until, window_stop
from ladle.core.errors import EndOfStream, RunError, must
from ladle.core.observation import Observation
from ladle.core.protocols import Feed, Policy, State, Step
from ladle.core.spec import BatchSpec
from ladle.core.world import ALONE, World
from ladle.loop.intake import Intake

Rebase = Callable[[State, Draw, BatchSpec, int], State]
"""Moves averages of squared gradients from batches of an old size to those of a spec."""


def train(
    carry: Carry,
    feed: Feed,
    step: Step,
    policy: Policy,
    until: Until,
    *,
    stop: int | None = None,
    window: int | None = None,
    world: World = ALONE,
    rebase: Rebase | None = None,
) -> Iterator[tuple[dict[str, Any], Carry]]:
    """Train until `until`'s bounds on examples, updates or seconds; yield one record line and the carry per window.

    It also returns once position `stop` is reached: there the consumer evaluates, and calls again.

    A window ends at the next multiple of `window` examples of an epoch (one epoch by default), at its end, at `stop`,
    where the decision ends, or where the run ends, whichever comes first: a function of position alone, so that a
    resumed run has the same windows. It also ends behind a refused update, where the step stopped there.
    `world`: the processes that share the run; each reads its part of every batch, and has the same lines.
    `rebase`: called where the size changes, with the size that was; the line then says "rebased". Experimental.

    The carry that was handed in is consumed. Targets and patience need evaluations, so the consumer checks those.
    A stream that has no further event ends it too.
    """
    loop = _Loop(feed, step, policy, until, window or feed.epoch_size, world, rebase)
    while until.ended(carry.progress) is None and (stop is None or carry.progress.examples < stop):
        try:
            line, carry = _window(loop, carry, stop)
        except EndOfStream:
            return
        yield line, carry


@dataclass(frozen=True)
class _Loop:
    """What stays the same from window to window."""

    feed: Feed
    step: Step
    policy: Policy
    until: Until
    window: int
    world: World
    rebase: Rebase | None


@dataclass(frozen=True)
class _Bounds:
    """Where a window ends: at a position, and after so many updates at most."""

    end: int
    updates: int | None


@dataclass
class _Trained:
    """What a window has done so far. `stepped`: called after each step."""

    state: State
    cursor: Cursor
    stepped: Callable[[], None]
    observation: Observation = field(default_factory=Observation)
    updates: int = 0


def _window(loop: _Loop, carry: Carry, stop: int | None) -> tuple[dict[str, Any], Carry]:
    """One window: ask the policy, draw and step to its end, read the device once. Raises `EndOfStream` before it."""
    memory, decision = loop.policy.decide(carry.memory, carry.progress)
    spec, bounds = _spec(loop, decision), _bounds(loop, carry.progress, decision, stop)
    began, intake = time.perf_counter(), Intake.of_cursor(loop.feed, carry.cursor, loop.world)
    first = intake.drawn(carry.cursor, spec, loop.world.shard)
    drawing = time.perf_counter() - began
    state, rebased = _switched(loop, carry, decision, spec, first[0])  # Compilation is no training time.

    with loop.world.watched(bounds.end - carry.progress.examples, spec.size) as stepped:
        began, busy = time.perf_counter() - drawing, time.process_time()
        done = _trained(loop, intake, _Trained(state, carry.cursor, stepped), decision, spec, bounds, first)
        reading = done.observation.read(population=loop.feed.epoch_size)  # The one read of the device.
        seconds, busy = intake.join(time.perf_counter() - began, time.process_time() - busy)
    if reading["refused"] > 0 and loop.feed.resident:  # The step stopped there.
        done.updates = done.observation.begun
        done.cursor = loop.feed.draw(carry.cursor, replace(spec, updates=done.updates), loop.world.shard)[1]
    cursor = intake.proved(done.cursor, loop.world.shard)

    reading |= {"cpu_seconds": busy, "window_seconds": seconds, **intake.line(seconds)}
    reading |= {"size": spec.size, "micro_size": spec.micro_size, "lr_factor": decision.lr_factor}
    reading |= decision.clock.reading(cursor.drawn, loop.feed.epoch_size)
    if carry.progress.evaluated is not None:  # Readings of an evaluation stay, and so does where it was.
        reading["evaluated"] = carry.progress.evaluated
    line = _line(carry.progress, cursor.drawn, done.updates, loop.feed.epoch_size, reading)
    # What the policy will be told is what the record says, so that a record replays every decision.
    after = Carry(done.state, cursor, memory, Progress.from_line(line, carry.progress))
    return line | _explained(decision) | ({"rebased": True} if rebased else {}), after


def _spec(loop: _Loop, decision: Decision) -> BatchSpec:
    if decision.spec.size > loop.feed.epoch_size:  # The record, and the rate, would have a size that no batch has.
        be, why = f"decide at most the {loop.feed.epoch_size:,} examples of a pass", "a batch never crosses its end"
        raise RunError(must("policy", be, decision.spec.size, why, "a smaller largest size"))
    return replace(decision.spec, updates=1)


def _bounds(loop: _Loop, progress: Progress, decision: Decision, stop: int | None) -> _Bounds:
    """The nearest of: the decision's end, `stop`, the run's end by its clock, the window's end."""
    last = loop.until.stop(loop.feed.epoch_size)
    ends = (stop, decision.stop, None if last is None else decision.clock.reaches(last))
    own = window_stop(progress.examples, loop.window, loop.feed.epoch_size)
    end = min(end for end in (*ends, own) if end is not None)
    if end <= progress.examples:
        because, remedy = "a window needs an update", "stop=None"
        raise RunError(must("policy", f"decide past position {progress.examples}", decision, because, remedy))
    return _Bounds(end, None if loop.until.updates is None else loop.until.updates - progress.updates)


def _switched(loop: _Loop, carry: Carry, decision: Decision, spec: BatchSpec, draw: Draw) -> tuple[State, bool]:
    """The state as this window wants it, its programs compiled; and whether averages were moved with the size."""
    state, before = loop.step.prepare(carry.state, draw, spec), carry.progress.size
    rebased = loop.rebase is not None and before not in (None, spec.size)
    if loop.rebase is not None and before is not None and rebased:
        state = loop.rebase(state, draw, spec, before)
    state = loop.step.reset(state) if decision.reset else state
    return loop.step.transfer(state, decision.hyper) if decision.hyper else state, rebased


def _trained(
    loop: _Loop,
    intake: Intake,
    done: _Trained,
    decision: Decision,
    spec: BatchSpec,
    bounds: _Bounds,
    first: tuple[Draw, Cursor],
) -> _Trained:
    """Updates up to the bounds, or to the end of a stream. `first`: the draw of one update that was made already."""
    while done.cursor.drawn < bounds.end and (bounds.updates is None or done.updates < bounds.updates):
        part = replace(spec, updates=_updates(loop.feed, done, bounds, spec))
        try:
            # A draw of a stream has read its events: the first is not drawn twice.
            again = bool(done.updates) or part != spec
            draw, done.cursor = intake.drawn(done.cursor, part, loop.world.shard) if again else first
        except EndOfStream:
            break
        done.state, new = loop.step(done.state, intake.of(draw), part, decision.lr_factor, decision.clock)
        done.observation, done.updates = done.observation.merge(new), done.updates + part.updates
        done.stepped()
    return done


def _updates(feed: Feed, done: _Trained, bounds: _Bounds, spec: BatchSpec) -> int:
    """Updates in the next draw: one where rows travel from the host, all that reach the end where they do not."""
    if not feed.resident:
        return 1
    updates = min(updates_until(done.cursor.drawn, bounds.end, spec.size, feed.epoch_size), 2**31 - 1)
    return updates if bounds.updates is None else min(updates, bounds.updates - done.updates)


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
    facts = {"reason": decision.reason, "hyper": dict(decision.hyper), "inputs": dict(decision.inputs)}
    facts["reset"] = decision.reset
    return {name: value for name, value in facts.items() if value}
