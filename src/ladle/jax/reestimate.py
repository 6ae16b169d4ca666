"""`Reestimator`: the statistics of batch norm counted anew over rows, for the parameters as they are now.

Running averages are of batches that older parameters saw, and of the sizes that the run had then. Here the parameters
stand still, every row counts once, and sums are divided once.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.running import is_running
from ladle.jax.evaluate import count_of, padded
from ladle.jax.judge import Judged
from ladle.jax.mesh import Layout
from ladle.jax.objective import Objective
from ladle.jax.programs import Form, Program, shapes_of
from ladle.jax.room import MOST, Room, beside_bytes, surely_enough
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State


class Reestimator:
    """Batch statistics over given rows, in the place of the running averages.

        mean = sum n_c mean_c / sum n_c,  variance = sum n_c (variance_c + (mean_c - mean)^2) / sum n_c

    over the chunks c of n_c rows that pass through the model in training mode: each layer is normalised by its chunk
    (or ghost), as in training, and nothing is dropped out, as in evaluation. Chunks are of shuffled rows, always in the
    same way, so that rows sorted by class make no chunks of one class. In one chunk of all rows these are the
    statistics of the training set; in several the layers behind the first see the inputs that a chunk normalised.

    Wu and Johnson 2021, arXiv 2105.07576, section 3 ("precise" batch norm), whose chunks are the training batches.

    - `rows`: of a chunk, at most: fewer where they would not stay within `room`.
    """

    def __init__(self, objective: Objective, layout: Layout, rows: int = MOST, room: Room = Room()) -> None:
        self.name, self.layout, self.rows = objective.name, layout, rows
        self.ghosts = objective.norm_rows or 1
        self.room = Room(room.limit)
        self._tally = Program(_trace_tally, Judged.over(objective, layout), Form(layout=layout))

    def __call__(self, state: State, data: Any, weight: Any | None = None) -> State:
        """`state` with the statistics of the rows of `data` (on the host) whose `weight` is above zero.

        How long the averages have run is kept: training goes on from it as from the state before. Raises
        `ArgumentError` for a model without running averages of ladle's batch norm, and where there is no row.
        """
        own = state.model_state
        if not any(map(is_running, jax.tree.leaves(own, is_leaf=is_running))):
            why = "it keeps no running averages of ladle's own batch norm, whose rows could be counted anew"
            remedy = "ladle.models.mlp(..., norm='batch'), or an evaluation as it is"
            raise ArgumentError(must("reestimate", "be asked of a model with batch norm", self.name, why, remedy))
        data = jax.tree.map(np.asarray, data)
        count = count_of(data)
        weight = np.ones(count, np.float32) if weight is None else np.asarray(weight, np.float32)
        data, weight = _shuffled((data, weight), count)
        tally = self.layout.everywhere(jax.tree.map(_empty, own, is_leaf=is_running))
        rows = self._at_once(state, tally, data, count)
        held = self.layout.rows(rows)  # What fills a chunk up for the devices has no say in it.
        for first in range(0, count, rows):
            part, real = jax.tree.map(lambda leaf: leaf[first : first + rows], (data, weight))  # noqa: B023
            real = np.concatenate([real, np.zeros(held - len(real), np.float32)])
            tally = self._tally(state.params, tally, jax.tree.map(lambda leaf: padded(leaf, held), part), real)
        return state._replace(model_state=jax.tree.map(_settled, own, tally, is_leaf=is_running))

    def _at_once(self, state: State, tally: Any, data: Any, count: int) -> int:
        """Rows of a chunk: equal chunks of whole ghosts, the same on any number of devices."""
        own = shapes_of((state.params, tally))

        def part(rows: int) -> Any:
            rows = self.layout.rows(rows)
            shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype), data)
            return shapes, jax.ShapeDtypeStruct((rows,), jnp.float32)

        most = self._whole(min(self.rows, count))
        held = self.room.rows(
            (most, *jax.tree.leaves(part(most))),
            most,
            lambda rows: surely_enough(self._tally, *own, *part(rows)),
            lambda rows: beside_bytes(self._tally, *own, *part(rows)),
        )
        return self._whole(-(-count // -(-count // held)))

    def _whole(self, rows: int) -> int:
        return -(-rows // self.ghosts) * self.ghosts


def _trace_tally(judged: Judged, params: Any, tally: Any, data: Any, weight: Any) -> Any:
    layout = judged.layout
    data, weight = jax.tree.map(layout.spread, (data, weight))
    keys = jnp.broadcast_to(jax.random.key(0), weight.shape)
    # A rate of zero that is no array: no mask is drawn at all.
    rows = MicroBatch(data, weight, keys, {"dropout": 0.0})  # pyright: ignore[reportArgumentType]
    return judged.objective.losses(params, tally, rows, True)[2]


def _empty(node: Any) -> Any:
    """A tally in the place of running averages, which `ladle.models.norm.pooled` fills; all else as it is."""
    if not is_running(node):
        return node
    zeros = {name: np.zeros(node[name].shape, np.float32) for name in ("mean", "variance")}
    return {**zeros, "rows": np.zeros((), np.float32)}


def _settled(node: Any, tally: Any) -> Any:
    """Running averages with the statistics of a tally; what else a state holds stays as it was."""
    return {**node, "mean": tally["mean"], "variance": tally["variance"]} if is_running(node) else node


def _shuffled(tree: Any, count: int) -> Any:
    places = np.random.default_rng(0).permutation(count)
    return jax.tree.map(lambda leaf: leaf[places], tree)
