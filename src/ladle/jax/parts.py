"""A micro-batch cut into parts of equal rows, and its gradient as the sum of theirs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.errors import ArgumentError, must
from ladle.jax.freeze import own_state
from ladle.jax.noise_sums import View
from ladle.jax.objective import Objective
from ladle.jax.rows import MicroBatch
from ladle.jax.update import Accumulated, micro_gradient, zero


def parts_of(rows: MicroBatch, parts: int) -> MicroBatch:
    """`rows` with leaves `[parts, rows / parts, ...]`, and no levels.

    Where they do not divide, they are filled up with their own from the front, at weight zero.
    """
    each = -(-rows.rows // parts)
    whole = rows._replace(levels=None)
    if each * parts != rows.rows:
        lane = jnp.arange(each * parts)
        filled = jax.tree.map(lambda leaf: leaf[lane % rows.rows], whole)
        whole = filled._replace(weight=jnp.where(lane < rows.rows, filled.weight, 0))
    return jax.tree.map(lambda leaf: leaf.reshape(parts, each, *leaf.shape[1:]), whole)


def gradient_of_parts(
    objective: Objective,
    params: Any,
    model_state: Any,
    rows: MicroBatch,
    view: View | None = View(),
    *,
    parts: int,
    together: bool = False,
) -> Accumulated:
    """The sums of `micro_gradient` over `parts` parts, each a piece of its own; one after the other, or `together`.

    Together the parts' gradients are in memory at once; where parts are on devices of their own, each holds its own.

    Raises `ArgumentError` for a model with a state, which parts would pass on one by one.
    """
    require_stateless(model_state)

    def alone(part: MicroBatch) -> Accumulated:
        done = micro_gradient(objective, params, model_state, part._replace(levels=rows.levels), view)
        return done._replace(model_state=())

    cut = parts_of(rows, parts)
    if together:
        whole = jax.tree.map(lambda leaf: jnp.sum(leaf, 0), jax.vmap(alone)(cut))
    else:
        none = zero(params, (), len(objective.metrics), pieces=view is not None)
        whole = lax.scan(lambda done, part: (done.add(alone(part)), None), none, cut)[0]
    return whole._replace(model_state=model_state)


def require_stateless(model_state: Any) -> None:
    """Raises `ArgumentError` where a model has a state; frozen weights are none."""
    if jax.tree.leaves(own_state(model_state)):
        why = "a gradient of a part of the rows needs a loss that depends on these rows alone"
        remedy = "gauge=None; micro-batches of an accumulated update are still measured"
        raise ArgumentError(must("gauge", "be None for a model with a state", "a state", why, remedy))
