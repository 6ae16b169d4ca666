"""A tree of arrays as one vector: inner products, norms, and a factor for each coordinate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ladle.jax.devices import on_host
from ladle.jax.mesh import Layout
from ladle.jax.shard import is_cut

TINY = 1e-30
"""Divisor where a sum of weights, or a length, is zero: the quotient is then zero, not NaN."""

BY_ROWS = 2**18
"""Numbers of the largest matrix whose norm is taken row by row."""

WIDE = 80
"""Numbers of the shortest row for which that pays."""


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


def squared_norm_by_rows(tree: Any, layout: Layout | None = None) -> jax.Array:
    """`squared_norm`, each row of a matrix by itself, which cores share: for what one backward pass has just made.

    Inside a loop, two cores took 10 us for 784 x 256 so, and one core 38 as an inner product (docs/log.md). It is the
    other way round for a sum that a loop made, for matrices of more than `BY_ROWS` numbers or with rows shorter than
    `WIDE`, and on an accelerator: squares are then written to memory first.
    """
    if not on_host():
        return squared_norm(tree, layout)

    def of(leaf: jax.Array) -> jax.Array:
        if leaf.ndim < 2 or leaf.shape[-1] < WIDE or leaf.size > BY_ROWS or is_cut(layout, leaf):
            return inner(leaf, leaf, layout)
        rows = jnp.square(leaf.astype(jnp.float32)).reshape(-1, leaf.shape[-1])
        return jnp.sum(rows @ jnp.ones(leaf.shape[-1], jnp.float32))

    return sum(map(of, jax.tree.leaves(tree)), jnp.zeros((), jnp.float32))


def scaled(tree: Any, scale: Any) -> Any:
    """`tree` times `scale`, leaf by leaf; as it is where that is None."""
    return tree if scale is None else jax.tree.map(jnp.multiply, tree, scale)


def times(tree: Any, factor: jax.Array) -> Any:
    """`tree` times one number, each leaf in its own type."""
    return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), tree)
