"""Losses of single examples: what two models are compared on, pair by pair. And states to branch from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.jax.mesh import Layout
from ladle.jax.objective import Objective, checked_losses
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State


class EachLoss:
    """The loss of every example of a part of the data, with the model in eval mode. `rows` is the compiled size."""

    def __init__(self, objective: Objective, layout: Layout, rows: int = 1024) -> None:
        self.objective = objective
        self.layout = layout
        self.rows = layout.rows(rows)
        self._losses = jax.jit(self._trace, static_argnames="rows")

    def __call__(self, state: State, data: Any) -> np.ndarray:
        """`f64[examples]`, in the order of `data`."""
        count = jax.tree.leaves(data)[0].shape[0]
        rows = min(self.rows, self.layout.rows(count))
        return np.asarray(self._losses(state.params, state.model_state, data, rows=rows), np.float64)[:count]

    def _trace(self, params: Any, model_state: Any, data: Any, *, rows: int) -> jax.Array:
        count = jax.tree.leaves(data)[0].shape[0]
        lane = jnp.arange(rows, dtype=jnp.int32)
        # Evaluation draws nothing at random; the fixed key only serves losses that insist on one.
        keys = jnp.broadcast_to(jax.random.key(0), (rows,))

        def part(step: jax.Array) -> jax.Array:
            place = self.layout.spread(step * rows + lane)
            weight = (place < count).astype(jnp.float32)
            place = jnp.minimum(place, count - 1)
            taken = jax.tree.map(lambda leaf: leaf.at[place].get(mode="promise_in_bounds"), data)
            batch = MicroBatch(taken, weight, keys)
            return checked_losses(self.objective, params, model_state, batch, False)[0].astype(jnp.float32)

        return lax.map(part, jnp.arange(-(-count // rows), dtype=jnp.int32)).reshape(-1)


def copied(state: State) -> State:
    """`state` in buffers of its own: a step consumes what it is given, so a branch begins with a copy."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
