"""Metrics: functions `(outputs, y) -> f32[examples]` whose weighted mean over examples is the metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from ladle.models.losses import mse
from ladle.models.pairs import as_binary, as_classes, as_numbers

Metric = Callable[[jax.Array, jax.Array], jax.Array]


def accuracy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """1 where the largest output is that of class `y`, else 0. An example with NaN among its outputs is wrong.

    - `outputs`: `f32[examples, classes]`; with one column, or none, the log odds of class 1, which is chosen above 0.
    - `y`: `i32[examples]`.

    >>> import jax.numpy as jnp
    >>> accuracy(jnp.array([[0.1, 0.9], [0.6, 0.4]]), jnp.array([1, 1])).tolist()
    [1.0, 0.0]
    """
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        outputs, y = as_binary(outputs, y)
        right = (outputs > 0) == (y > 0.5)
        return (right & ~jnp.isnan(outputs)).astype(jnp.float32)
    outputs, y = as_classes(outputs, y)
    return ((outputs.argmax(1) == y) & ~jnp.isnan(outputs).any(1)).astype(jnp.float32)


def squared_error(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """`mean_k (outputs_k - y_k)^2` of each example; shapes as in `ladle.losses.mse`."""
    return mse(outputs, y)


def absolute_error(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """`mean_k |outputs_k - y_k|` of each example; shapes as in `ladle.losses.mse`.

    >>> import jax.numpy as jnp
    >>> absolute_error(jnp.array([[1.0], [-2.0]]), jnp.array([0.0, 0.0])).tolist()
    [1.0, 2.0]
    """
    outputs, y = as_numbers(outputs, y)
    return jnp.abs(outputs - y).mean(1)


@dataclass(frozen=True)
class Directed:
    """A metric that says which way it is better. Made by `higher` and `lower`; called as the function is."""

    function: Metric
    direction: Literal["higher", "lower"]

    def __call__(self, outputs: jax.Array, y: jax.Array) -> jax.Array:
        return self.function(outputs, y)


def higher(metric: Metric) -> Directed:
    """`metric` as one of which more is better, for `Task(metrics={"hits": ladle.metrics.higher(hits)})`."""
    return Directed(metric, "higher")


def lower(metric: Metric) -> Directed:
    """`metric` as one of which less is better."""
    return Directed(metric, "lower")


def default_for(kind: str) -> dict[str, Metric]:
    """`accuracy` for "classification"; `squared_error`, then `absolute_error`, for "regression".

    >>> list(default_for("regression"))
    ['squared_error', 'absolute_error']
    """
    if kind == "classification":
        return {"accuracy": accuracy}
    return {"squared_error": squared_error, "absolute_error": absolute_error}
