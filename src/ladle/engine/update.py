"""One update as pure functions: add up micro-batch gradients, then apply their weighted mean.

G = sum_i w_i grad l_i        (over the examples of all micro-batches)
g = G / sum_i w_i             (one division, at the end: never an average of averages)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ladle.engine.objective import Objective, checked_losses
from ladle.engine.optimizer import Optimizer
from ladle.engine.rows import MicroBatch
from ladle.engine.state import State
from ladle.errors import ArgumentError, must
from ladle.noise import pair
from ladle.observation import METRIC

TINY = 1e-30
"""Divisor where all weights are zero: the gradient is then zero, not NaN."""


class Accumulated(NamedTuple):
    """Sums over the micro-batches of one update. `gradient` has the shape of the parameters; the rest are `f32[]`.

    - `micro_sq`: sum over micro-batches j of |G_j|^2 / m_j, m_j their weight: what the noise scale is made of.
    - `micro_steps`: micro-batches (or, with per-example gradients, examples) with any weight.
    - `weight_sq`: sum of squared weights; `spread`: sum over micro-batches of their squared weights over m_j. With
      weights of 0 and 1 these are `weight` and `micro_steps`.
    """

    gradient: Any
    loss: jax.Array
    weight: jax.Array
    metrics: tuple[jax.Array, ...]
    micro_sq: jax.Array
    micro_steps: jax.Array
    weight_sq: jax.Array
    spread: jax.Array
    model_state: Any

    def add(self, later: Accumulated) -> Accumulated:
        """Both, with the model state of the later one."""
        mine, theirs = self._replace(model_state=()), later._replace(model_state=())
        return jax.tree.map(jnp.add, mine, theirs)._replace(model_state=later.model_state)


def zero(params: Any, model_state: Any, num_metrics: int) -> Accumulated:
    """Nothing accumulated yet."""
    none = jnp.zeros((), jnp.float32)
    metrics = (none,) * num_metrics
    return Accumulated(jax.tree.map(jnp.zeros_like, params), none, none, metrics, none, none, none, none, model_state)


def squared_norm(tree: Any) -> jax.Array:
    """|tree|^2 over all leaves, in float32.

    As inner products: XLA's CPU backend runs these through its matrix library, faster than a reduction of squares.
    """
    flat = (leaf.astype(jnp.float32).reshape(-1) for leaf in jax.tree.leaves(tree))
    return sum((jnp.vdot(leaf, leaf) for leaf in flat), jnp.zeros((), jnp.float32))


def micro_gradient(objective: Objective, params: Any, model_state: Any, rows: MicroBatch) -> Accumulated:
    """The sums of one micro-batch: one forward and one backward pass."""

    def total(params: Any):
        losses, metrics, new_state = checked_losses(objective, params, model_state, rows, True)
        return jnp.sum(losses.astype(jnp.float32) * rows.weight), (metrics, new_state)

    (loss, (metrics, model_state)), gradient = jax.value_and_grad(total, has_aux=True)(params)
    weight = jnp.sum(rows.weight)
    sums = tuple(jnp.sum(metrics[name].astype(jnp.float32) * rows.weight) for name in objective.metrics)
    micro_sq = squared_norm(gradient) / jnp.maximum(weight, TINY)
    micro_steps = (weight > 0).astype(jnp.float32)
    weight_sq = jnp.sum(rows.weight * rows.weight)
    spread = weight_sq / jnp.maximum(weight, TINY)
    return Accumulated(gradient, loss, weight, sums, micro_sq, micro_steps, weight_sq, spread, model_state)


def per_example_gradient(objective: Objective, params: Any, model_state: Any, rows: MicroBatch) -> Accumulated:
    """The same sums from one gradient per example, through `vmap`.

    The noise scale then has one term per example instead of one per micro-batch: up to (micro-batches - 1) times
    less variance in its trace. Costs `rows` copies of the parameters' memory.

    Raises `ArgumentError` for a model whose examples are not independent: alone, each would have another loss.
    """
    if not objective.additive or jax.tree.leaves(model_state):
        raise ArgumentError(
            must(
                "per_example",
                "be False for a model with a state or with batch statistics",
                True,
                "one gradient per example needs a loss that depends on that example alone",
                "per_example=False, which measures noise from micro-batches",
            )
        )

    def alone(row: MicroBatch) -> Accumulated:
        return micro_gradient(objective, params, model_state, jax.tree.map(lambda leaf: leaf[None], row))

    each = jax.vmap(alone)(rows)
    return jax.tree.map(lambda leaf: jnp.sum(leaf, 0), each._replace(model_state=()))._replace(model_state=model_state)


SUMS = ("loss", "weight", "updates", "refused", "grad_sq")
NOISE_SUMS = ("count", "trace", "square", "trace_sq", "square_sq", "cross", "examples")


def sum_names(objective: Objective) -> tuple[str, ...]:
    """Names of the vector that `apply` returns, in order."""
    return (*SUMS, *(METRIC + name for name in objective.metrics), *("noise/" + name for name in NOISE_SUMS))


def apply(
    optimizer: Optimizer,
    rate: Callable[[jax.Array], jax.Array],
    state: State,
    done: Accumulated,
    lr_factor: jax.Array,
    examples: jax.Array,
    *,
    noise: bool = True,
) -> tuple[State, jax.Array]:
    """One optimiser update by the weighted mean gradient, and its sums `f32[len(sum_names)]`.

    The learning rate is `hyper["lr"] * rate(examples) * lr_factor`. A gradient or loss that is not finite is not
    applied: the state stays as it was and `refused` counts it. `noise=False` where there can be no second micro-batch:
    the moments' sums are then zeros that cost nothing to compile.
    """
    scale = 1 / jnp.maximum(done.weight, TINY)
    grad_sq = squared_norm(done.gradient) * scale * scale
    finite = jnp.isfinite(grad_sq) & jnp.isfinite(done.loss)

    def update(state: State) -> State:
        # In here, where the optimiser uses it: the mean of a condition's operand would be written to memory first.
        gradient = jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), done.gradient)
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it where constants are traced
            updates, opt_state = optimizer.make(state.hyper).update(gradient, state.opt_state, state.params)
        lr = state.hyper["lr"] * rate(examples) * lr_factor
        params = jax.tree.map(lambda leaf, step: leaf + (lr * step).astype(leaf.dtype), state.params, updates)
        return state._replace(params=params, opt_state=opt_state, model_state=done.model_state)

    state = lax.cond(finite, update, lambda state: state, state)
    applied = finite.astype(jnp.float32)
    sums = (done.loss, done.weight, applied, 1 - applied, grad_sq, *done.metrics)
    moments = _noise_sums(done, grad_sq) if noise else jnp.zeros(len(NOISE_SUMS), jnp.float32)
    return state, jnp.concatenate([jnp.stack(sums), moments])


def _noise_sums(done: Accumulated, grad_sq: jax.Array) -> jax.Array:
    counts = (done.micro_steps >= 2).astype(jnp.float32)
    weight = jnp.maximum(done.weight, TINY)
    whole = done.weight_sq / weight
    spread = jnp.where(counts > 0, done.spread, whole + 1)  # What is masked below must not divide by zero.
    trace, square = pair(done.micro_sq, grad_sq, weight, spread, whole)
    terms = (jnp.ones_like(trace), trace, square, trace * trace, square * square, trace * square, done.weight)
    return jnp.where(counts > 0, jnp.stack(terms), 0)
