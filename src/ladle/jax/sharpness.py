"""`Sharpness`: how strongly the loss curves around given parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.jax.curvature import largest_eigenvalue, largest_of
from ladle.jax.judge import Chunks
from ladle.jax.objective import Objective
from ladle.jax.programs import Form, Program, shapes_of
from ladle.jax.room import Room, beside_bytes, surely_enough
from ladle.jax.rows import MicroBatch, taken
from ladle.jax.state import State

SHARPNESS_EXAMPLES = 1024


class Sharpness:
    """Largest eigenvalue of the Hessian of the mean training loss, in eval mode, over up to 1024 examples.

    Of more examples it takes a random sample, drawn without replacement by a seed: the first ones as stored may be of
    one class. `room`: where they do not stay within it together, products H v are added up over as many as do.

    One program for all states of a task. Keskar et al. 2017 (arXiv 1609.04836) argue that large batches find sharp
    minima; they measure a maximum in a box around the parameters, this measures the curvature itself.
    """

    def __init__(self, objective: Objective, room: Room = Room()) -> None:
        self.room = Room(room.limit)
        self._measure = Program(_trace_sharpness, objective.applied(), Form(static=("rows",)))

    def __call__(self, state: State, data: Any, seed: int = 0) -> float:
        """The eigenvalue at the parameters of `state` over `data`; another `seed` is another sample."""
        ids = sample(jax.tree.leaves(data)[0].shape[0], seed)
        part = data if ids is None else jax.tree.map(lambda leaf: leaf[ids], data)
        operands = state.params, state.model_state, part
        return float(self._measure(*operands, rows=self.at_once(*operands)))

    def at_once(self, *operands: Any) -> int:
        """How many examples of the data, last of `operands` (arrays or shapes), are held at once."""
        most, shapes = jax.tree.leaves(operands[-1])[0].shape[0], shapes_of(operands)
        return self.room.rows(
            tuple(jax.tree.leaves(shapes)),
            most,
            lambda rows: surely_enough(self._measure, *operands, rows=rows),
            lambda rows: self.bytes_of(rows, *shapes),
        )

    def bytes_of(self, rows: int, *operands: Any) -> int:
        """What a measurement that holds `rows` examples at once takes beside the operands, as the compiler counts."""
        return beside_bytes(self._measure, *shapes_of(operands), rows=rows)


def sample(count: int, seed: int) -> np.ndarray | None:
    """Which of `count` examples are taken, ascending; None for all of them.

    >>> ids = sample(5000, 0)
    >>> len(ids), len(set(ids.tolist())), sample(1024, 0)
    (1024, 1024, None)
    """
    if count <= SHARPNESS_EXAMPLES:
        return None
    return np.sort(np.random.default_rng(seed).choice(count, SHARPNESS_EXAMPLES, replace=False))


def _trace_sharpness(objective: Objective, params: Any, model_state: Any, data: Any, *, rows: int) -> jax.Array:
    count = jax.tree.leaves(data)[0].shape[0]

    def total(params: Any, data: Any, weight: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.key(0), len(weight))
        losses, _, _ = objective.losses(params, model_state, MicroBatch(data, weight, keys), False)
        return jnp.sum(losses * weight) / count

    def loss(params: Any) -> jax.Array:
        rows = MicroBatch(data, jnp.ones(count, jnp.float32), jax.random.split(jax.random.key(0), count))
        losses, _, _ = objective.losses(params, model_state, rows, False)
        return losses.mean()

    if rows >= count:
        return largest_eigenvalue(loss, params, key=jax.random.key(0))
    chunks = Chunks.over(data, rows)

    def product(vector: Any) -> Any:
        def add(so_far: Any, chunk: Chunks) -> tuple[Any, None]:
            part = taken(data, chunk.ids)
            slope = jax.grad(lambda params: total(params, part, chunk.weight))
            return jax.tree.map(jnp.add, so_far, jax.jvp(slope, (params,), (vector,))[1]), None

        return lax.scan(add, jax.tree.map(jnp.zeros_like, params), chunks)[0]

    return largest_of(product, params, key=jax.random.key(0))
