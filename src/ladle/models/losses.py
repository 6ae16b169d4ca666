"""Losses: functions `(outputs, y) -> f32[examples]`. One number per example, never a mean over examples: the engine
weights them, so that any cut of a batch gives the same gradient.

Shapes are checked while a program is traced; a column of outputs is never broadcast against a row of targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import optax

from ladle.core.errors import ArgumentError, must, nearest
from ladle.models.pairs import as_binary, as_classes, as_numbers

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def cross_entropy(outputs: jax.Array, y: jax.Array, *, label_smoothing: jax.Array | float = 0.0) -> jax.Array:
    """`log(sum_k exp(outputs_k)) - outputs_y` of each example: minus the log probability of its class.

    - `outputs`: `f32[examples, classes]`, unnormalised log probabilities.
    - `y`: `i32[examples]`, class numbers from 0. One outside `0 ... classes - 1` gives NaN, which stops a run.
    - `label_smoothing`: share s of the target spread evenly over all classes: the loss is (1 - s) times the above plus
      s times its mean over classes (Szegedy et al. 2016, section 7). May be traced.

    **Raises** `ArgumentError` for other shapes, and for classes that are not whole numbers.

    >>> import jax.numpy as jnp
    >>> cross_entropy(jnp.array([[0.0, 0.0], [100.0, 0.0]]), jnp.array([1, 0])).round(4).tolist()
    [0.6930999755859375, 0.0]
    """
    outputs, y = as_classes(outputs, y)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, y)
    if isinstance(label_smoothing, jax.Array) or label_smoothing:
        even = jax.nn.logsumexp(outputs, axis=-1) - outputs.mean(-1)
        losses = (1 - label_smoothing) * losses + label_smoothing * even
    # Indexing would count a negative class from the end.
    return jnp.where(y < 0, jnp.nan, losses)


def binary_cross_entropy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """`-y log p - (1 - y) log(1 - p)` of each example, `p = 1 / (1 + exp(-outputs))`.

    - `outputs`: `f32[examples]` or `f32[examples, 1]`, log odds of class 1.
    - `y`: `[examples]` or `[examples, 1]`, 0 or 1 of any type, or a probability.

    **Raises** `ArgumentError` for other shapes.

    >>> import jax.numpy as jnp
    >>> binary_cross_entropy(jnp.array([[100.0], [-100.0]]), jnp.array([1, 1])).tolist()
    [0.0, 100.0]
    """
    return optax.losses.sigmoid_binary_cross_entropy(*as_binary(outputs, y))


def mse(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """`mean_k (outputs_k - y_k)^2` of each example, over its outputs.

    - `outputs`, `y`: `f32[examples]` or `f32[examples, k]`; `[examples]` and `[examples, 1]` mean the same.

    **Raises** `ArgumentError` for other shapes.

    >>> import jax.numpy as jnp
    >>> mse(jnp.array([[1.0], [2.0]]), jnp.array([0.0, 0.0])).tolist()
    [1.0, 4.0]
    """
    return optax.losses.squared_error(*as_numbers(outputs, y)).mean(1)


def huber(delta: float = 1.0) -> Loss:
    """The loss that is quadratic near 0 and linear beyond `delta`; `huber()` is the function to hand to a task.

        e = |outputs - y|;  e^2 / 2 where e <= delta, else delta (e - delta / 2);  mean over an example's outputs

    Shapes as in `mse`. **Raises** `ArgumentError` when `delta` is not positive. Huber 1964.

    >>> import jax.numpy as jnp
    >>> huber(1.0)(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0])).tolist()
    [0.125, 2.5]
    """
    if not (isinstance(delta, int | float) and 0 < delta < float("inf")):
        because = "it is the error from which the loss is linear"
        raise ArgumentError(must("delta", "be a positive number", delta, because, "huber(1.0)(outputs, y)"))

    def huber_loss(outputs: jax.Array, y: jax.Array) -> jax.Array:
        return optax.losses.huber_loss(*as_numbers(outputs, y), delta=float(delta)).mean(1)

    return huber_loss


BY_NAME: Mapping[str, Loss] = MappingProxyType(
    {"cross_entropy": cross_entropy, "binary_cross_entropy": binary_cross_entropy, "mse": mse, "huber": huber()}
)


def loss_named(name: str) -> Loss:
    """The loss of that name. Raises `ArgumentError` with the nearest known one.

    >>> loss_named("crossentropy")
    Traceback (most recent call last):
        ...
    ladle.core.errors.ArgumentError: loss must be a known name; got 'crossentropy'; because there is no such loss; \
try 'cross_entropy' (known: binary_cross_entropy, cross_entropy, huber, mse)
    """
    if name not in BY_NAME:
        raise ArgumentError(must("loss", "be a known name", name, "there is no such loss", nearest(str(name), BY_NAME)))
    return BY_NAME[name]


def default_for(kind: str) -> Loss:
    """`cross_entropy` for "classification", `mse` for "regression"."""
    return cross_entropy if kind == "classification" else mse
