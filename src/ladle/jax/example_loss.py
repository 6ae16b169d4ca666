"""Losses of single examples: what two models are compared on, pair by pair."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ladle.jax import judge
from ladle.jax.evaluate import judging_rows
from ladle.jax.judge import Chunks, Judged
from ladle.jax.mesh import Layout
from ladle.jax.objective import Objective
from ladle.jax.programs import Form, Program
from ladle.jax.room import MOST, Room
from ladle.jax.state import State


class EachLoss:
    """The loss of every example of a part of the data, with the model in eval mode.

    - `rows`: how many at once, at most: fewer where they would not stay within `room`.
    """

    def __init__(self, objective: Objective, layout: Layout, rows: int = MOST, room: Room = Room()) -> None:
        self.layout = layout
        self.rows = layout.rows(rows)
        self.room = Room(room.limit)
        self._losses = Program(_trace_losses, Judged.over(objective, layout), Form(static=("rows",)))

    def __call__(self, state: State, data: Any) -> np.ndarray:
        """`f64[examples]`, in the order of `data`."""
        count = jax.tree.leaves(data)[0].shape[0]
        operands = state.params, state.model_state, data
        rows = judging_rows(self.room, self._losses, self.layout, self.rows, operands)
        return np.asarray(self._losses(*operands, rows=rows), np.float64)[:count]


def _trace_losses(judged: Judged, params: Any, model_state: Any, data: Any, *, rows: int) -> jax.Array:
    return judge.losses(judged, params, model_state, data, Chunks.over(data, rows))


def copied(state: State) -> State:
    """`state` in buffers of its own: a step consumes what it is given, so a branch begins with a copy."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
