"""A tree of arrays as one vector: inner products, norms, and a factor for each coordinate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

TINY = 1e-30
"""Divisor where a sum of weights, or a length, is zero: the quotient is then zero, not NaN."""


def inner(one: Any, other: Any) -> jax.Array:
    """Inner product of two trees, in float32.

    XLA's CPU backend runs these through its matrix library, faster than a reduction of products.
    """
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    flat = ((a.astype(jnp.float32).reshape(-1), b.astype(jnp.float32).reshape(-1)) for a, b in pairs)
    return sum((jnp.vdot(a, b) for a, b in flat), jnp.zeros((), jnp.float32))


def squared_norm(tree: Any) -> jax.Array:
    """|tree|^2 over all leaves, in float32."""
    return inner(tree, tree)


def scaled(tree: Any, scale: Any) -> Any:
    """`tree` times `scale`, leaf by leaf; as it is where that is None."""
    return tree if scale is None else jax.tree.map(jnp.multiply, tree, scale)


def times(tree: Any, factor: jax.Array) -> Any:
    """`tree` times one number, each leaf in its own type."""
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)
