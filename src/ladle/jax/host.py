"""Updates whose rows travel from the host, micro-batch by micro-batch: never is there an array of a whole batch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np

from ladle.core.batch import Batch, Draw
from ladle.core.decision import Clock
from ladle.core.spec import BatchSpec
from ladle.jax import measure
from ladle.jax.meaning import Meaning
from ladle.jax.measure import Way
from ladle.jax.mesh import Layout
from ladle.jax.operands import Pace
from ladle.jax.programs import Form, Program
from ladle.jax.rows import MicroBatch, Place, filled, keys_at, levels_of
from ladle.jax.state import State
from ladle.jax.update import Accumulated, apply


class Sent(NamedTuple):
    """A micro-batch on the devices: rows, weights, their places in the pass, and which pass (one: none crosses)."""

    data: Any
    weight: Any
    place: Any
    epoch: Any

    def micro_batch(self, state: State) -> MicroBatch:
        return MicroBatch(self.data, self.weight, keys_at(state.key, self.epoch, self.place), levels_of(state))


def sent(layout: Layout, batch: Batch, epoch_size: int) -> Sent:
    """`batch`, filled up to the rows that a program has, each device its part."""
    batch = filled(batch, layout.rows(len(batch.weight)))
    epoch, place = np.divmod(batch.position, np.int64(epoch_size))
    data, weight, place = layout.in_parts((batch.data, batch.weight, place.astype(np.uint32)))
    return Sent(data, weight, place, np.uint32(epoch[0]))


class HostUpdates:
    """Updates of one meaning, one at a time. Two programs do the work: one adds a micro-batch, one applies the mean."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning = meaning
        read, form = meaning.applied(), Form(layout=meaning.layout)
        self._zero = Program(measure.nothing, read, form)
        of_gradient = replace(form, static=("way",), donate=True, recomputes=meaning.objective.arithmetic.recomputes)
        self._accumulate = Program(_trace_accumulate, read, of_gradient)
        self._apply = Program(_trace_apply, read, replace(form, donate=True))
        self._toward = Program(_trace_toward, read, form)
        self._join = Program(_trace_join, None, form)

    def __call__(
        self, state: State, draw: Draw, update: int, start: int, spec: BatchSpec, pace: Pace
    ) -> tuple[State, jax.Array]:
        """Update number `update` of `draw`, which begins at position `start`, and its sums. Consumes the state."""
        epoch, offset = divmod(start, draw.epoch_size)
        way, due = self._way(draw, update, offset, spec)
        steps = -(-draw.counts[update] // spec.micro_size)
        batches = iter(draw.micro_batches(update, spec.micro_size))

        def walk(done: Accumulated, count: int | None, toward: Any = None) -> Accumulated:
            for batch in islice(batches, count):
                micro = sent(self.meaning.layout, batch, draw.epoch_size)
                done = self._accumulate(done, state, micro, toward, due, way=way)
            return done

        def third(number: int, done: Accumulated, toward: Any) -> Accumulated:
            if number < 2:
                return walk(done, measure.thirds(steps)[0])
            return self._joined(done, walk(self._empty(state, done), None, toward))

        if measure.projects(self.meaning) and steps >= 3:
            toward = partial(self._direction, state)
            done = measure.in_thirds(partial(self._zero, state), third, toward, self._joined)
        else:
            done = walk(self._zero(state), None)
        place = Place(np.uint32(epoch), np.uint32(offset))
        examples = np.float32(draw.counts[update])
        return self._apply(state, done, pace, place, np.float32(draw.epoch_size), examples)

    def prepare(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        """Compile what updates at `spec` need and run it once, by an update that is refused."""
        way = measure.way_of(self.meaning, spec.micro_steps > 1)
        micro = sent(self.meaning.layout, next(iter(draw.micro_batches(0, spec.micro_size))), draw.epoch_size)
        for each in (Way.MICRO_BATCHES, way) if way.cuts else (way,):
            done = self._accumulate(self._zero(state), state, micro, None, np.True_, way=each)
        if measure.projects(self.meaning) and spec.micro_steps > 1:
            toward = self._direction(state, done)
            both = self._joined(done, self._zero(state))
            done = self._accumulate(both, state, micro, (toward, toward), np.True_, way=way)
        refused = done._replace(loss=self.meaning.layout.everywhere(np.float32(np.nan)))
        place, pace = Place(np.uint32(0), np.uint32(0)), Pace.of(np.nan, Clock())
        return self._apply(state, refused, pace, place, np.float32(draw.epoch_size), np.float32(1))[0]

    def _way(self, draw: Draw, update: int, offset: int, spec: BatchSpec) -> tuple[Way, np.bool_]:
        """How one update is measured, and whether its pieces as they are are read for it."""
        several = spec.micro_steps > 1
        way = measure.way_of(self.meaning, several)
        every = measure.stride(self.meaning, way, draw.epoch_size, spec.size)
        due = measure.is_due(offset, spec.size, draw.counts[update], every)
        if way.cuts and not due:
            way = Way.MICRO_BATCHES
        return way, np.bool_(due and (several or way is Way.EXAMPLES))

    def _empty(self, state: State, after: Accumulated) -> Accumulated:
        return self._zero(state)._replace(model_state=after.model_state)

    # Whoever adds to sums consumes them, and the model's state passes from one to the next: these two go without it.
    def _direction(self, state: State, done: Accumulated) -> Any:
        return self._toward(state, done._replace(model_state=()))

    def _joined(self, done: Accumulated, later: Accumulated) -> Accumulated:
        return self._join(done._replace(model_state=()), later)


def _trace_accumulate(
    meaning: Meaning, done: Accumulated, state: State, micro: Sent, toward: Any, due: jax.Array, *, way: Way
) -> Accumulated:
    view = measure.view_of(meaning, state)
    view = view._replace(toward=toward) if view else None
    rows = micro.micro_batch(state)
    return done.add(measure.measured_gradient(meaning, way, state, done.model_state, rows, view, due))


def _trace_apply(
    meaning: Meaning,
    state: State,
    done: Accumulated,
    pace: Pace,
    place: Place,
    epoch_size: jax.Array,
    examples: jax.Array,
) -> tuple[State, jax.Array]:
    of = {"view": measure.view_of(meaning, state), "examples": examples}
    return apply(meaning, state, done, pace, place, epoch_size, **of)


def _trace_toward(meaning: Meaning, state: State, done: Accumulated) -> Any:
    view = measure.view_of(meaning, state)
    return done.mean(view.scale if view else None)


def _trace_join(_: None, done: Accumulated, later: Accumulated) -> Accumulated:
    return done.add(later)
