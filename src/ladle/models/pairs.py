"""Outputs and targets brought to shapes that fit, or refused: nothing is broadcast by accident.

Types too: losses are computed in float32 at least, whatever the model's own type.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must


def as_classes(outputs: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`f32[examples, classes]` and `i32[examples]`. `y` may also be `[examples, 1]`. Raises `ArgumentError`."""
    outputs, y = jnp.asarray(outputs), jnp.asarray(y)
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        remedy = "binary_cross_entropy" if outputs.ndim == 1 or outputs.shape[1:] == (1,) else "one output per class"
        raise ArgumentError(
            must("outputs", "be [examples, classes], two or more", outputs.shape, "one is chosen among classes", remedy)
        )
    if y.shape not in ((outputs.shape[0],), (outputs.shape[0], 1)):
        raise _misfit(outputs, y, f"be class numbers of shape ({outputs.shape[0]},)")
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise ArgumentError(
            must("y", "be whole numbers", str(y.dtype), "it numbers the classes", "y.astype('int32'), or loss='mse'")
        )
    return _floating(outputs), y.reshape(-1).astype(jnp.int32)


def as_binary(outputs: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`f32[examples]` twice, from `[examples]` or `[examples, 1]` each. Raises `ArgumentError`."""
    outputs, y = jnp.asarray(outputs), jnp.asarray(y)
    if outputs.ndim != 1 and outputs.shape[1:] != (1,):
        raise ArgumentError(
            must(
                "outputs",
                "be [examples] or [examples, 1]",
                outputs.shape,
                "there is one log odds each",
                "cross_entropy",
            )
        )
    outputs, y = as_numbers(outputs, y)
    return outputs[:, 0], y[:, 0]


def as_numbers(outputs: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`f32[examples, k]` twice; trailing axes are flattened, a missing one is 1. Raises `ArgumentError`."""
    outputs, y = jnp.asarray(outputs), jnp.asarray(y)
    if outputs.ndim == 0 or _shape(outputs) != _shape(y):
        raise _misfit(outputs, y, f"have the outputs' shape, {outputs.shape}")
    outputs = _floating(outputs)
    rows = outputs.shape[0]
    width = outputs.size // max(rows, 1)
    return outputs.reshape(rows, width), y.reshape(rows, width).astype(outputs.dtype)


def _shape(values: jax.Array) -> tuple[int, ...]:
    """The shape without a last axis of 1."""
    return values.shape[:-1] if values.ndim > 1 and values.shape[-1] == 1 else values.shape


def _floating(outputs: jax.Array) -> jax.Array:
    is_wide = outputs.dtype in (jnp.float32, jnp.float64)
    return outputs if is_wide else outputs.astype(jnp.float32)


def _misfit(outputs: jax.Array, y: jax.Array, be: str) -> ArgumentError:
    got = f"y {y.shape}, outputs {outputs.shape}"
    because = "each example is compared with its own target, never with another's"
    return ArgumentError(must("y", be, got, because, "a model with as many outputs as y has columns"))
