"""Many updates in one compiled program: the window, for rows that live on the devices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ladle.jax.meaning import Meaning
from ladle.jax.measure import Way, view_of, way_of
from ladle.jax.operands import Pace, Rung, Window
from ladle.jax.resident import ResidentBatch
from ladle.jax.rows import Place, Resident
from ladle.jax.state import State
from ladle.jax.update import SUMS, apply, sum_names


class Now(NamedTuple):
    """Between two updates of a window: the state, the sums so far, the next place, and how many updates are left."""

    state: State
    sums: jax.Array
    place: Place
    left: jax.Array


def many_updates(
    meaning: Meaning, rung: Rung, state: State, resident: Resident, window: Window, pace: Pace
) -> tuple[State, jax.Array]:
    """The state after the updates of `window`, and their sums `f32[len(sum_names)]`. Stops behind a refused update."""
    run = _Run(meaning, rung, resident, window.apart(), pace)
    none = jnp.zeros(len(sum_names(meaning.objective, state.hyper)), jnp.float32)
    body = run.stretch if way_of(meaning, rung.accumulate).cuts else run.update
    end = lax.while_loop(_goes_on, body, Now(state, none, window.place, window.updates))
    return end.state, end.sums


def _goes_on(now: Now) -> jax.Array:
    return now.left > 0


@dataclass(frozen=True, eq=False)
class _Run:
    """What all updates of one traced window read."""

    meaning: Meaning
    rung: Rung
    resident: Resident
    window: Window
    pace: Pace

    def stretch(self, now: Now) -> Now:
        """One update that is cut, where its turn is, and those up to the next.

        A choice inside each update would write its gradient to memory once more, a quarter of the time of a small
        batch.
        """
        now = lax.cond(self.batch(now).is_due, partial(self.update, cut=True), lambda now: now, now)
        return lax.while_loop(lambda now: _goes_on(now) & ~self.batch(now).is_due, self.update, now)

    def update(self, now: Now, cut: bool = False) -> Now:
        """The next update. `cut`: its one micro-batch is cut to be measured."""
        batch = self.batch(now)
        # Where there can be no second piece, nothing of the noise is compiled.
        pieced = cut or self.rung.accumulate or way_of(self.meaning, accumulate=False) is Way.EXAMPLES
        view = view_of(self.meaning, now.state) if pieced else None
        done, epoch_size = batch.sums(cut), self.rung.epoch_size
        of = {"view": view, "examples": batch.count}
        state, new = apply(self.meaning, now.state, done, self.pace, now.place, epoch_size, **of)
        refused = new[SUMS.index("refused")] > 0
        left = jnp.where(refused, jnp.uint32(0), now.left - jnp.uint32(1))
        return Now(state, now.sums + new, batch.end, left)

    def batch(self, now: Now) -> ResidentBatch:
        return ResidentBatch(self.meaning, self.rung, self.resident, self.window, now.state, now.place)
