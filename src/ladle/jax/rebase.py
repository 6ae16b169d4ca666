"""Adam's second moment when the batch size changes. Experimental: exact for a constant gradient, unproven in training.

The running average v of squared gradients estimates G^2 + Sigma_ii / B, coordinate by coordinate. At another batch size
that is another number, and v takes 1/(1 - b2) updates to find it. With an estimate of Sigma_ii it can be told at once:

    v <- max(v + (1 - b2^t) Sigma_ii (1/B_new - 1/B_old), 0)

1 - b2^t is what v has of its average after t updates. No published optimiser does this; AdaptDL sets both moments to
zero instead (petuum/adaptdl, `_reset_adam_state`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.errors import ArgumentError, must
from ladle.jax.geometry import has_second_moment, holds_second_moment, updates_of
from ladle.jax.objective import Objective
from ladle.jax.optimizer import Optimizer
from ladle.jax.rows import MicroBatch
from ladle.jax.update import TINY, micro_gradient, pieces_of

PARTS = 32
"""Pieces that a micro-batch is cut into to estimate Sigma_ii: its relative variance is 2/(PARTS - 1) each."""


def coordinate_variance(objective: Objective, params: Any, model_state: Any, rows: MicroBatch) -> Any:
    """Estimates of Sigma_ii, the variance of one example's gradient in each coordinate: a tree like `params`.

        (sum_j G_j^2 / m_j - G^2 / M) / (k - 1)      G_j the sum of piece j of m_j examples, k pieces

    Unbiased for each coordinate, as `ladle.moments.pair` is for their sum.
    """
    parts = min(PARTS, rows.weight.shape[0])
    named = dict(zip(("data", "weight", "keys"), pieces_of((rows.data, rows.weight, rows.keys), parts), strict=True))

    def add(sums: Any, piece: Any) -> tuple[Any, None]:
        done = micro_gradient(objective, params, model_state, MicroBatch(**piece, levels=rows.levels), None)
        share = 1 / jnp.maximum(done.weight, TINY)
        total, squares, weight, steps = sums
        squares = jax.tree.map(lambda old, g: old + g * g * share, squares, done.gradient)
        return (
            jax.tree.map(jnp.add, total, done.gradient),
            squares,
            weight + done.weight,
            steps + (done.weight > 0).astype(jnp.float32),
        ), None

    none = jax.tree.map(jnp.zeros_like, params)
    (total, squares, weight, steps), _ = lax.scan(add, (none, none, jnp.float32(0), jnp.float32(0)), named)
    share, free = 1 / jnp.maximum(weight, TINY), jnp.maximum(steps - 1, 1)
    return jax.tree.map(lambda g, sq: jnp.maximum(sq - g * g * share, 0) / free, total, squares)


def rebased(opt_state: Any, variance: Any, hyper: Mapping[str, jax.Array], old: jax.Array, new: jax.Array) -> Any:
    """`opt_state` with its second moment moved from batches of `old` to batches of `new` examples."""
    moved = 1 / new - 1 / old

    def part(held: Any) -> Any:
        if not holds_second_moment(held):
            return held
        decay = hyper.get("b2", hyper.get("decay", jnp.float32(0)))
        count = updates_of(held)
        begun = 1 if count is None else 1 - decay ** count.astype(jnp.float32)
        nu = jax.tree.map(lambda v, s: jnp.maximum(v + (begun * moved * s).astype(v.dtype), 0), held.nu, variance)
        return held._replace(nu=nu)

    return jax.tree.map(part, opt_state, is_leaf=holds_second_moment)


def require_rebasable(objective: Objective, optimizer: Optimizer) -> None:
    """Raises `ArgumentError` for an optimiser without a second moment of every parameter."""
    if not has_second_moment(objective, optimizer):
        why = "it keeps no average of squared gradients of every parameter, or with constants unknown here"
        raise ArgumentError(must("rebase", "be False with this optimiser", optimizer.name, why, "rebase=False"))
