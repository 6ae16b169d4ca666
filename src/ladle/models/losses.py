"""Losses: functions `(outputs, y) -> f32[examples]`, one number per example, never a mean over examples."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from ladle.errors import ArgumentError, must, nearest

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cross_entropy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """-log softmax(outputs)[y] of each example. `outputs`: `f32[examples, classes]`; `y`: `i32[examples]`."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y)


def mse(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Squared error of each example, averaged over its outputs."""
    difference = outputs.reshape(y.shape) - y
    return jnp.square(difference).reshape(y.shape[0], -1).mean(-1)


BY_NAME = {"cross_entropy": cross_entropy, "mse": mse}


def loss_named(name: str) -> Loss:
    if name not in BY_NAME:
        raise ArgumentError(must("loss", "be a known name", name, "ladle has these", nearest(name, BY_NAME)))
    return BY_NAME[name]


def default_for(kind: str) -> Loss:
    return cross_entropy if kind == "classification" else mse
