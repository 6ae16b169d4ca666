"""One update whose rows live on the devices, inside a compiled window: which rows they are, and the sums over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.jax.meaning import Meaning
from ladle.jax.measure import Way, in_thirds, is_due, measured_gradient, nothing, projects, thirds, view_of, way_of
from ladle.jax.noise_sums import View
from ladle.jax.operands import Rung, Window
from ladle.jax.rows import MicroBatch, Place, Resident, gather
from ladle.jax.state import State
from ladle.jax.update import Accumulated


@dataclass(frozen=True, eq=False)
class ResidentBatch:
    """The batch at `place`, one of those of `window`, at the parameters of `state`."""

    meaning: Meaning
    rung: Rung
    resident: Resident
    window: Window
    state: State
    place: Place

    @property
    def count(self) -> jax.Array:
        """Its examples: the last batch of a pass holds what is left."""
        return jnp.minimum(self.window.size, np.uint32(self.rung.epoch_size) - self.place.offset)

    @property
    def is_due(self) -> jax.Array:
        """Whether it is one of those that are measured."""
        return is_due(self.place.offset, self.window.size, self.count, self.window.every)

    @property
    def end(self) -> Place:
        """The place behind it."""
        offset = self.place.offset + self.count
        ended = offset >= np.uint32(self.rung.epoch_size)
        return Place(self.place.epoch + ended.astype(jnp.uint32), jnp.where(ended, jnp.uint32(0), offset))

    def sums(self, cut: bool) -> Accumulated:
        """Over its micro-batches. `cut`: there is one, and it is cut to be measured."""
        if self.rung.accumulate:
            return self._accumulated()
        way = way_of(self.meaning, accumulate=False)
        if way.cuts and not cut:
            way = Way.MICRO_BATCHES
        due = self.is_due if way is Way.EXAMPLES else False  # What is cut is due; one micro-batch has no spread.
        state, view = self.state, view_of(self.meaning, self.state)
        return measured_gradient(self.meaning, way, state, state.model_state, self.micro_batch(), view, due)

    def micro_batch(self, first: Any = np.uint32(0)) -> MicroBatch:
        """The one that begins at its example `first`."""
        layout, program = self.meaning.layout, self.rung.program
        place, left = self.place.after(first), self.count - first
        rows = self.rung.micro_size, self.meaning.augment
        return gather(layout, program, self.resident, self.state, place, left, *rows)

    def _accumulated(self) -> Accumulated:
        view, none, count = view_of(self.meaning, self.state), nothing(self.meaning, self.state), self.count
        if view is None or not projects(self.meaning):
            return self._walk(none, jnp.uint32(0), count, view)
        micro_size = np.uint32(self.rung.micro_size)
        steps = (count + (micro_size - np.uint32(1))) // micro_size
        cuts = jnp.uint32(0), *(jnp.minimum(micro_size * end, count) for end in thirds(steps, jnp.maximum)), count

        def third(number: int, done: Accumulated, toward: Any) -> Accumulated:
            return self._walk(done, cuts[number], cuts[number + 1], view._replace(toward=toward))

        return in_thirds(lambda: none, third, lambda done: done.mean(view.scale), Accumulated.add)

    def _walk(self, done: Accumulated, first: jax.Array, end: jax.Array, view: View | None) -> Accumulated:
        """`done` with the micro-batches added that begin at its examples `first .. end`."""
        way, due = way_of(self.meaning, accumulate=True), self.is_due

        def micro_step(walked: tuple[Accumulated, jax.Array]) -> tuple[Accumulated, jax.Array]:
            done, first = walked
            micro = self.micro_batch(first)
            new = measured_gradient(self.meaning, way, self.state, done.model_state, micro, view, due)
            return done.add(new), first + np.uint32(self.rung.micro_size)

        return lax.while_loop(lambda walked: walked[1] < end, micro_step, (done, first))[0]
