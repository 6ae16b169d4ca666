"""Noise added to a gradient on purpose: what a larger batch lacks in noise can so be put back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ladle.jax.rows import Place

NOISE_STREAM = 0x6E6F6973
"""Sets its random numbers apart from those of the examples, which are folded in by pass."""


def noisy(gradient: Any, variance: jax.Array, key: jax.Array, place: Place) -> Any:
    """`gradient` plus N(0, variance) in each coordinate, a function of the run's key and the place of the update.

    Source: Neelakantan et al. 2015, arXiv 1511.06807.
    """
    base = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(key), NOISE_STREAM), place.epoch)
    base = jax.random.fold_in(base, place.offset)
    leaves, tree = jax.tree.flatten(gradient)
    keys = jax.random.split(base, len(leaves))
    sd = jnp.sqrt(jnp.maximum(variance, 0.0))
    drawn = [
        leaf + (sd * jax.random.normal(k, leaf.shape)).astype(leaf.dtype) for leaf, k in zip(leaves, keys, strict=True)
    ]
    return tree.unflatten(drawn)
