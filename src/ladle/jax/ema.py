"""The exponential moving average of the weights: kept beside them, and never what an update starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ladle.core.constants import EMA
from ladle.jax.mesh import Layout
from ladle.jax.programs import Form, Program


class Average(NamedTuple):
    """A sum of weights of the model, and how much is in it, `f32[]`: their quotient is the average.

        sum <- d sum + (1 - d) params,    share <- d share + (1 - d)

    Both begin at zero, so the average is of trained weights alone from the first update on, and stays a mean whatever
    `d` does: where it never moves, the quotient is Adam's correction of its own averages, 1 - d^t.
    """

    sum: Any
    share: jax.Array


def begun(params: Any, hyper: Mapping[str, Any]) -> Average | tuple[()]:
    """Nothing averaged yet; `()`, which is no array at all, where `hyper` asks for no average."""
    if EMA not in hyper:
        return ()
    return Average(jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.float32))


def moved(average: Any, params: Any, hyper: Mapping[str, jax.Array]) -> Any:
    """The average with the weights after one more update in it."""
    if not isinstance(average, Average):
        return average
    decay = hyper[EMA]

    def step(sum: jax.Array, leaf: jax.Array) -> jax.Array:
        return sum + (1 - decay).astype(leaf.dtype) * (leaf - sum) if _is_real(leaf) else leaf

    return Average(jax.tree.map(step, average.sum, params), decay * average.share + (1 - decay))


def program(layout: Layout) -> Program:
    """`averaged` as it is compiled, once."""
    return Program(_trace_averaged, None, Form(layout=layout))


def _trace_averaged(_: None, average: Average, params: Any) -> Any:
    return averaged(average, params)


def averaged(average: Average, params: Any) -> Any:
    """The averaged weights; before the first update `params` themselves."""
    begun = average.share > 0
    inverse = 1 / jnp.where(begun, average.share, 1)

    def leaf(sum: jax.Array, now: jax.Array) -> jax.Array:
        return jnp.where(begun, sum * inverse.astype(now.dtype), now) if _is_real(now) else now

    return jax.tree.map(leaf, average.sum, params)


def _is_real(leaf: jax.Array) -> bool:
    """Whether a leaf is a number that can be averaged; counts and flags are the newest."""
    return jnp.issubdtype(leaf.dtype, jnp.inexact)
