"""`Sharpness`: how strongly the loss curves around given parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ladle.jax.curvature import largest_eigenvalue
from ladle.jax.objective import Objective
from ladle.jax.programs import Program
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State

SHARPNESS_EXAMPLES = 1024


class Sharpness:
    """Largest eigenvalue of the Hessian of the mean training loss, over up to 1024 examples, in eval mode.

    One program for all states of a task. Keskar et al. 2017 (arXiv 1609.04836) argue that large batches find sharp
    minima; they measure a maximum in a box around the parameters, this measures the curvature itself.
    """

    def __init__(self, objective: Objective) -> None:
        self._measure = Program(_trace_sharpness, objective.applied())

    def __call__(self, state: State, data: Any) -> float:
        part = jax.tree.map(lambda leaf: leaf[:SHARPNESS_EXAMPLES], data)
        return float(self._measure(state.params, state.model_state, part))


def _trace_sharpness(objective: Objective, params: Any, model_state: Any, data: Any) -> jax.Array:
    count = jax.tree.leaves(data)[0].shape[0]
    rows = MicroBatch(data, jnp.ones(count, jnp.float32), jax.random.split(jax.random.key(0), count))

    def loss(params: Any) -> jax.Array:
        losses, _, _ = objective.losses(params, model_state, rows, False)
        return losses.mean()

    return largest_eigenvalue(loss, params, key=jax.random.key(0))
