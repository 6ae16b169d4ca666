"""`Sharpness`: how strongly the loss curves around given parameters."""

from __future__ import annotations

from functools import partial
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
        copied = 0 if ids is None else sum(leaf.nbytes for leaf in jax.tree.leaves(part))
        return float(self._measure(*operands, rows=self.at_once(*operands, copied=copied)))

    def at_once(self, *operands: Any, copied: int = 0) -> int:
        """How many examples of the data, last of `operands` (arrays or shapes), are held at once.

        `copied`: bytes of a sample, which is there beside the data it was taken from.
        """
        most, shapes = jax.tree.leaves(operands[-1])[0].shape[0], shapes_of(operands)
        return self.room.rows(
            tuple(jax.tree.leaves(shapes)),
            most,
            lambda rows: copied + surely_enough(self._measure, *operands, rows=rows),
            lambda rows: copied + self.bytes_of(rows, *shapes),
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
    if rows < count:
        product = partial(_added_up, objective, params, model_state, data, Chunks.over(data, rows))
        return largest_of(product, params, key=jax.random.key(0))

    def loss(params: Any) -> jax.Array:
        return _losses(objective, params, model_state, data, jnp.ones(count, jnp.float32)).mean()

    return largest_eigenvalue(loss, params, key=jax.random.key(0))


def _losses(objective: Objective, params: Any, model_state: Any, data: Any, weight: jax.Array) -> jax.Array:
    rows = MicroBatch(data, weight, jax.random.split(jax.random.key(0), len(weight)))
    return objective.losses(params, model_state, rows, False)[0]


def _added_up(objective: Objective, params: Any, model_state: Any, data: Any, chunks: Chunks, vector: Any) -> Any:
    """H v of the mean loss of `data`, chunk by chunk."""
    count = jax.tree.leaves(data)[0].shape[0]

    def total(params: Any, chunk: Chunks) -> jax.Array:
        losses = _losses(objective, params, model_state, taken(data, chunk.ids), chunk.weight)
        return jnp.sum(losses * chunk.weight) / count

    def add(so_far: Any, chunk: Chunks) -> tuple[Any, None]:
        _, more = jax.jvp(partial(jax.grad(total), chunk=chunk), (params,), (vector,))
        return jax.tree.map(jnp.add, so_far, more), None

    return lax.scan(add, jax.tree.map(jnp.zeros_like, params), chunks)[0]
