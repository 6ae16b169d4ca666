"""What the loss looks like around given parameters: variance of batch gradients, and sharpness."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ladle.engine.curvature import largest_eigenvalue
from ladle.engine.objective import Objective
from ladle.engine.rows import MicroBatch
from ladle.engine.state import State
from ladle.engine.step import CompiledStep
from ladle.protocols import Feed
from ladle.spec import BatchSpec

VARIANCE_MICRO = 16
VARIANCE_EXAMPLES = 4096
SHARPNESS_EXAMPLES = 1024


def gradient_variance(step: CompiledStep, feed: Feed, state: State, size: int) -> float | None:
    """E|g_B - G|^2 of a batch of `size` at the parameters of `state`; None for a single example.

        (tr Sigma / size) * (1 - size / examples)

    tr Sigma is the unbiased estimate between micro-batches of 16 over up to 4096 training examples. The second factor
    is that of drawing without replacement: the whole data set as one batch has no variance. `state` is left as it is.
    """
    rows = feed.epoch_size
    if rows < 2:
        return None
    if size >= rows:
        return 0.0
    spec = BatchSpec(min(rows, VARIANCE_EXAMPLES), min(VARIANCE_MICRO, rows // 2))
    draw, _ = feed.draw(feed.start(), spec)
    copy = jax.tree.map(jnp.copy, state)  # A step consumes what it is given.
    _, observation = step(copy, draw, spec, 0.0)
    moments = observation.moments()
    return moments.trace / moments.count / size * (1 - size / rows) if moments.count else None


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
