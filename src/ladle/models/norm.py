"""Batch norm that knows which rows are real."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

EPSILON = 1e-5
MOMENTUM = 0.9
"""Share of the running averages that one update keeps, once there were ten."""


def batch_norm_init(features: int) -> Any:
    """`{"mean": f32[features], "variance": f32[features], "updates": i32[]}` before any batch was seen."""
    return {
        "mean": jnp.zeros(features, jnp.float32),
        "variance": jnp.ones(features, jnp.float32),
        "updates": jnp.zeros((), jnp.int32),
    }


def batch_norm(x: jax.Array, running: Any, weight: jax.Array, *, train: bool) -> tuple[jax.Array, Any]:
    """`((x - mean) / sqrt(variance + 1e-5), running)` per feature, before any scale and shift.

    In training mean and variance are those of all places of the rows with `weight > 0`: padding has no say. How much a
    row weighs in the loss does not change them. They go into the running averages,

        running += rate (batch - running),  rate = max(1 / (updates + 1), 1 - momentum)

    the plain mean over the first ten batches, then an exponential average, so that short runs do not evaluate with
    their starting values. Otherwise the running averages are used, and returned as they are.

    - `x`: `[examples, ..., features]`; `weight`: `f32[examples]`.

    Ioffe and Szegedy 2015, algorithm 1; the variance is the biased one throughout.
    """
    if not train:
        return _normalised(x, running["mean"], running["variance"]), running
    axes = tuple(range(x.ndim - 1))
    real = lax.expand_dims((weight > 0), tuple(range(1, x.ndim)))
    places = jnp.sum(weight > 0).astype(x.dtype) * (x.size // x.shape[0] // x.shape[-1])
    divisor = jnp.maximum(places, 1)
    mean = jnp.sum(jnp.where(real, x, 0), axes) / divisor
    centred = x - _last(mean, x.ndim)
    variance = jnp.sum(jnp.where(real, centred * centred, 0), axes) / divisor
    return _normalised(x, mean, variance), _updated(running, mean, variance, places > 0)


def _updated(running: Any, mean: jax.Array, variance: jax.Array, any_real: jax.Array) -> Any:
    rate = jnp.maximum(1 / (running["updates"].astype(jnp.float32) + 1), 1 - MOMENTUM)
    rate = jnp.where(any_real, rate, 0)
    batch = lax.stop_gradient({"mean": mean, "variance": variance})
    moved = {name: running[name] + rate * (batch[name].astype(jnp.float32) - running[name]) for name in batch}
    return {**moved, "updates": running["updates"] + any_real.astype(jnp.int32)}


def _normalised(x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
    scale = lax.rsqrt(variance + EPSILON)
    return (x - _last(mean, x.ndim).astype(x.dtype)) * _last(scale, x.ndim).astype(x.dtype)


def _last(values: jax.Array, rank: int) -> jax.Array:
    """`[features]` as `[1, ..., 1, features]`."""
    return lax.expand_dims(values, tuple(range(rank - 1)))
