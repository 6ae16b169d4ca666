"""How far batch gradients stand from the gradient of the data: the variance that a batch size leaves."""

from __future__ import annotations

from dataclasses import replace

from ladle.core.backend import Engine
from ladle.core.observation import Observation
from ladle.core.protocols import Feed, State
from ladle.core.spec import BatchSpec

MICRO_SIZE = 16
"""Rows per micro-batch where many batches are taken as one: the planner's pilot has compiled that program."""

VARIANCE_EXAMPLES = 4096


def gradient_variance(engine: Engine, feed: Feed, state: State, spec: BatchSpec) -> float | None:
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
    whole = _standing(engine, feed, state, together)
    if batches > 1:
        each = _standing(engine, feed, state, replace(spec, updates=batches)).sums()
        apart = each["grad_sq"] / batches - whole.sums()["grad_sq"]
        variance = max(apart, 0.0) * batches / (batches - 1)
    elif (moments := whole.moments()).count:
        variance = moments.trace / size
    else:
        return None  # Nothing finite was observed.
    return variance * (1 - size / rows)


def _standing(engine: Engine, feed: Feed, state: State, spec: BatchSpec) -> Observation:
    """What is observed over the first batches of `spec` at a learning rate of zero."""
    draw, _ = feed.draw(feed.start(), spec)
    return engine.step(engine.copy(state), draw, spec, 0.0)[1]
