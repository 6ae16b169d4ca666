"""Whether the loss of an example really does not depend on the others in its batch, tried before that is relied on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.jax.objective import Objective, checked_losses
from ladle.jax.programs import Program
from ladle.jax.rows import MicroBatch

ROWS = 4
"""Examples in the batch that is tried: one that stays and three that are exchanged."""

CLOSE = 1e-4
"""Relative difference that rounding may make."""


def require_independent(objective: Objective, data: Any) -> None:
    """Refuse an objective that is said to be a sum over examples if the loss of the first row moves with the others.

    - `data`: tree of arrays, leading axis = examples. With fewer than 7 there is nothing to exchange: it is believed.

    Every call has the same shape and key, so dropout draws the same for the first row. Parameters are the initial ones
    with a little noise: where all are zero, most losses are equal whatever the rows. That the others make no difference
    there is evidence, no proof.

    Raises `ArgumentError`.
    """
    if len(jax.tree.leaves(data)[0]) < 2 * ROWS - 1:
        return
    one, two = (jax.tree.map(lambda leaf: leaf[np.array(ids)], data) for ids in ((0, 1, 2, 3), (0, 4, 5, 6)))  # noqa: B023
    first = Program(_first_loss, objective)
    a, b = float(first(one)), float(first(two))
    if not abs(a - b) <= CLOSE * max(abs(a), abs(b), CLOSE):
        got = f"{objective.name}, by which one example's loss is {a:.4g} or {b:.4g} with the company it keeps"
        why = "then it has no gradient of its own, and accumulation is not the large batch"
        remedy = "additive=False, which leaves the noise scale out"
        raise ArgumentError(must("loss", "be a sum over examples where its noise is measured", got, why, remedy))


def _first_loss(objective: Objective, data: Any) -> jax.Array:
    params, model_state = objective.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), max(len(leaves), 1))
    moved = [
        leaf + (0.1 * jax.random.normal(k, leaf.shape)).astype(leaf.dtype)
        for leaf, k in zip(leaves, keys, strict=False)
    ]
    rows = MicroBatch(data, jnp.ones(ROWS), jax.random.split(jax.random.key(2), ROWS))
    return checked_losses(objective, tree.unflatten(moved), model_state, rows, True)[0][0]
