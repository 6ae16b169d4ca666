"""A tree of arrays as one vector: inner products, norms, and a factor for each coordinate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ladle.jax.mesh import Layout
from ladle.jax.shard import is_cut

TINY = 1e-30
"""Divisor where a sum of weights, or a length, is zero: the quotient is then zero, not NaN."""


def inner(one: Any, other: Any, layout: Layout | None = None) -> jax.Array:
    """Inner product of two trees, in float32. `layout`: that by which they are cut into parts, where they are.

    XLA's CPU backend runs these through its matrix library, faster than a reduction of products.
    """
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    wide = ((a.astype(jnp.float32), b.astype(jnp.float32)) for a, b in pairs)
    return sum((_product(a, b, is_cut(layout, a)) for a, b in wide), jnp.zeros((), jnp.float32))


def _product(a: jax.Array, b: jax.Array, cut: bool) -> jax.Array:
    # What is cut is not made flat: along any axis but the first, all parts would have to come together for it.
    return jnp.tensordot(a, b, a.ndim) if cut else jnp.vdot(a.reshape(-1), b.reshape(-1))


def squared_norm(tree: Any, layout: Layout | None = None) -> jax.Array:
    """|tree|^2 over all leaves, in float32."""
    return inner(tree, tree, layout)


def scaled(tree: Any, scale: Any) -> Any:
    """`tree` times `scale`, leaf by leaf; as it is where that is None."""
    return tree if scale is None else jax.tree.map(jnp.multiply, tree, scale)


def times(tree: Any, factor: jax.Array) -> Any:
    """`tree` times one number, each leaf in its own type."""
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)
