"""What the loss looks like around given parameters: variance of batch gradients, and sharpness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from ladle.core.observation import Observation
from ladle.core.protocols import Feed
from ladle.core.spec import BatchSpec
from ladle.jax.curvature import largest_eigenvalue
from ladle.jax.objective import Objective
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State
from ladle.jax.step import CompiledStep

MICRO_SIZE = 16
"""Rows per micro-batch where many batches are taken as one: the planner's pilot has compiled that program."""

VARIANCE_EXAMPLES = 4096
SHARPNESS_EXAMPLES = 1024


def gradient_variance(step: CompiledStep, feed: Feed, state: State, spec: BatchSpec) -> float | None:
    """E|g_B - G|^2 of batches of `spec.size` at the parameters of `state`; None where there is one example in all.

    Measured on K batches as training draws them, up to 4096 examples but two batches at least:

        K / (K - 1) (mean_k |g_k|^2 - |mean_k g_k|^2) (1 - size / examples)

    The last factor is that of drawing without replacement: the whole data set as one batch has no variance. Between
    half of the data and all of it there are no two batches; the variance is then that between micro-batches of 16,
    divided by `size / 16`. With weighted examples mean_k g_k is weighted by the batches' weights, and so the answer is
    approximate. `state` is left as it is.
    """
    rows, size = feed.epoch_size, spec.size
    if rows < 2:
        return None
    if size >= rows:
        return 0.0
    batches = min(rows // size, max(VARIANCE_EXAMPLES // size, 2))
    together = BatchSpec(size * batches if batches > 1 else rows, min(MICRO_SIZE, rows // 2))
    whole = _standing(step, feed, state, together)
    if batches > 1:
        each = _standing(step, feed, state, replace(spec, updates=batches)).sums()
        apart = each["grad_sq"] / batches - whole.sums()["grad_sq"]
        variance = max(apart, 0.0) * batches / (batches - 1)
    elif (moments := whole.moments()).count:
        variance = moments.trace / size
    else:
        return None  # Nothing finite was observed.
    return variance * (1 - size / rows)


def _standing(step: CompiledStep, feed: Feed, state: State, spec: BatchSpec) -> Observation:
    """What is observed over the first batches of `spec` at a learning rate of zero."""
    draw, _ = feed.draw(feed.start(), spec)
    copy = jax.tree.map(jnp.copy, state)  # A step consumes what it is given.
    return step(copy, draw, spec, 0.0)[1]


class Sharpness:
    """Largest eigenvalue of the Hessian of the mean training loss, over up to 1024 examples, in eval mode.

    Compiled once for all states of a task. Keskar et al. 2017 (arXiv 1609.04836) argue that large batches find sharp
    minima; they measure a maximum in a box around the parameters, this measures the curvature itself.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._measure = jax.jit(self._trace)

    def __call__(self, state: State, data: Any) -> float:
        part = jax.tree.map(lambda leaf: leaf[:SHARPNESS_EXAMPLES], data)
        return float(self._measure(state.params, state.model_state, part))

    def _trace(self, params: Any, model_state: Any, data: Any) -> jax.Array:
        count = jax.tree.leaves(data)[0].shape[0]
        rows = MicroBatch(data, jnp.ones(count, jnp.float32), jax.random.split(jax.random.key(0), count))

        def loss(params: Any) -> jax.Array:
            losses, _, _ = self._objective.losses(params, model_state, rows, False)
            return losses.mean()

        return largest_eigenvalue(loss, params, key=jax.random.key(0))
