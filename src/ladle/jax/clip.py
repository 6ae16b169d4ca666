"""Bounds of an update's gradient: by its norm, by its largest coordinate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ladle.core.constants import CLIP, CLIP_VALUE
from ladle.jax.vector import TINY, times


class Clipped(NamedTuple):
    """A gradient within its bounds, and whether they changed it, `f32[1]` of 0 or 1."""

    gradient: Any
    was: jax.Array


def clips(hyper: Mapping[str, Any]) -> bool:
    """Whether these constants hold a bound: the names alone decide, so it is known when a program is traced."""
    return CLIP in hyper or CLIP_VALUE in hyper


def clipped(gradient: Any, norm_sq: jax.Array, hyper: Mapping[str, jax.Array]) -> Clipped:
    """`gradient`, `|gradient|^2 = norm_sq`, within the bounds that `hyper` holds; the norm's first.

    >>> some = {"w": jnp.array([3.0, 4.0])}
    >>> clipped(some, jnp.float32(25), {"clip": jnp.float32(1)}).gradient["w"].tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    was = jnp.zeros((), bool)
    if CLIP in hyper:
        norm = jnp.sqrt(norm_sq)
        was = norm > hyper[CLIP]
        gradient = times(gradient, jnp.where(was, hyper[CLIP] / jnp.maximum(norm, TINY), 1.0))
    if CLIP_VALUE in hyper:
        most = hyper[CLIP_VALUE]
        over = [jnp.max(jnp.abs(leaf), initial=0) > most.astype(leaf.dtype) for leaf in jax.tree.leaves(gradient)]
        was = was | jnp.any(jnp.stack(over))
        gradient = jax.tree.map(lambda leaf: _within(leaf, most.astype(leaf.dtype)), gradient)
    return Clipped(gradient, was.astype(jnp.float32)[None])


def _within(leaf: jax.Array, most: jax.Array) -> jax.Array:
    return jnp.clip(leaf, -most, most)
