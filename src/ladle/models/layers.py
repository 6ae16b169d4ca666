"""Layers that the built-in models share: a dense layer, dropout with one key per example, checks of what comes in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must, nearest

Params = Any

ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = MappingProxyType(
    {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "silu": jax.nn.silu, "tanh": jnp.tanh}
)


def activation_named(name: str) -> Callable[[jax.Array], jax.Array]:
    """The activation of that name. Raises `ArgumentError` with the nearest known one.

    >>> activation_named("rellu")
    Traceback (most recent call last):
        ...
    ladle.core.errors.ArgumentError: activation must be a known name; got 'rellu'; because there is no such \
activation; try 'relu' (known: gelu, relu, silu, tanh)
    """
    if name not in ACTIVATIONS:
        remedy = nearest(str(name), ACTIVATIONS)
        raise ArgumentError(must("activation", "be a known name", name, "there is no such activation", remedy))
    return ACTIVATIONS[name]


def normals(key: jax.Array, shapes: Sequence[tuple[int, ...]]) -> list[jax.Array]:
    """Independent N(0, 1) arrays of these shapes, from one draw: the compiler needs most of a second for each draw."""
    ends = list(accumulate(math.prod(shape) for shape in shapes))
    drawn = jax.random.normal(key, (ends[-1],), jnp.float32)
    return [part.reshape(shape) for part, shape in zip(jnp.split(drawn, ends[:-1]), shapes, strict=True)]


def he(shape: tuple[int, ...]) -> float:
    """Standard deviation of weights before a rectifier: sqrt(2 / fan_in), fan_in = all axes but the last.

    Keeps the variance of activations through layers that drop half of them. He et al. 2015, equation 10.
    """
    return math.sqrt(2 / max(math.prod(shape[:-1]), 1))


def glorot(shape: tuple[int, ...]) -> float:
    """The same before the output and before tanh: sqrt(2 / (fan_in + fan_out)). Glorot and Bengio 2010, equation 12."""
    return math.sqrt(2 / sum(shape))


def dense_init(weight: jax.Array) -> Params:
    """`{"weight": f32[inputs, outputs], "bias": f32[outputs]}`; biases start at zero."""
    return {"weight": weight, "bias": jnp.zeros(weight.shape[-1], jnp.float32)}


def dense(layer: Params, x: jax.Array) -> jax.Array:
    """`x @ weight + bias`: `[examples, inputs] -> [examples, outputs]`."""
    return x @ layer["weight"] + layer["bias"][None]


def dropped(x: jax.Array, keys: jax.Array | None, *, rate: float | jax.Array, layer: int) -> jax.Array:
    """Zeroes each value with probability `rate` and divides the others by `1 - rate`; `rate` may be traced.

    The mask of an example follows from its own key and the layer's number alone, so it is the same however the batch
    is cut. Srivastava et al. 2014, section 10 (scaled in training instead of in evaluation).
    """
    if not isinstance(rate, jax.Array) and rate == 0:
        return x
    if keys is None:
        raise ArgumentError(
            must(
                "keys",
                "be given in training",
                None,
                "dropout draws one mask per example",
                "train=False, or one key each",
            )
        )
    keep = 1 - rate

    def mask(key: jax.Array) -> jax.Array:
        return jax.random.bernoulli(jax.random.fold_in(key, layer), keep, x.shape[1:])

    share = keep.astype(x.dtype) if isinstance(keep, jax.Array) else keep
    return jnp.where(jax.vmap(mask)(keys), x / share, 0)


def checked_counts(name: str, values: tuple[Any, ...]) -> tuple[int, ...]:
    """`values` as whole numbers of at least 1. Raises `ArgumentError`."""
    for value in values:
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ArgumentError(
                must(name, "be whole numbers, each at least 1", value, "it counts values or units", "64")
            )
    return tuple(int(value) for value in values)


def checked_rate(rate: float) -> float:
    """A dropout rate in [0, 1). Raises `ArgumentError`."""
    if not 0 <= rate < 1:
        raise ArgumentError(must("dropout", "be at least 0 and below 1", rate, "it is a share of units", "dropout=0.1"))
    return float(rate)


def flat(x: Any, features: int) -> jax.Array:
    """`[examples, ...]` as `[examples, features]`. Raises `ArgumentError` when a row has another number of values."""
    if isinstance(x, Mapping):
        raise ArgumentError(
            must("x", "be one array", sorted(x), "this model has no embeddings for codes", "ladle.models.tabular(...)")
        )
    x = jnp.asarray(x)
    found = math.prod(x.shape[1:])
    if x.ndim < 1 or found != features:
        raise ArgumentError(
            must(
                "x",
                f"have {features} values a row",
                f"shape {x.shape}, {found} a row",
                "the first layer was made for that number",
                f"a model with {found} inputs",
            )
        )
    return x.reshape(x.shape[0], features)
