"""The sums that the noise of an update is made of: what each of its pieces adds, and what they come to together.

A piece is whatever an update has more than one of: a micro-batch, a part of one, a device's share of it, one example.
Which of these it is, `measure.py` says. The formulas are those of `ladle.core.moments`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.moments import pair, pair_sums
from ladle.jax.mesh import Layout
from ladle.jax.vector import TINY, inner, scaled, squared_norm

NOISE_SUMS = tuple(pair_sums(0.0, 0.0, 0.0))
"""Names of the vector that `noise_sums` returns, in order."""


class View(NamedTuple):
    """What is looked at besides the gradient itself. Trees of the parameters' shape, or None.

    - `scale`: P, the elementwise factor of the geometry; None measures the gradient as it is.
    - `toward`: two directions p and q of the projection: P times the mean gradients of two other parts of the update.
    - `layout`: that by which gradients are in parts, where they are.
    """

    scale: Any = None
    toward: tuple[Any, Any] | None = None
    layout: Layout | None = None


class Along(NamedTuple):
    """Sums over the pieces j that had directions p and q, with d_j = p'P G_j / m_j and e_j = q'P G_j / m_j.

    - `weight`: of m_j. `one`: of m_j d_j. `two`: of m_j e_j. `products`: of m_j d_j e_j. `pieces`: how many.
    """

    weight: Any
    one: Any
    two: Any
    products: Any
    pieces: Any


class Pieces(NamedTuple):
    """Sums over the pieces of one update, `f32[]` each.

    - `micro_sq`: sum over pieces j of |P G_j|^2 / m_j, m_j their weight.
    - `count`: pieces with any weight.
    - `weight_sq`: sum of squared weights; `spread`: sum over pieces of their squared weights over m_j. With weights of
      0 and 1 these are the weight of the update and `count`.
    - `along`: the sums of `Along` as one vector, `f32[5]`: five numbers of their own would be five small additions.
    """

    micro_sq: jax.Array
    count: jax.Array
    weight_sq: jax.Array
    spread: jax.Array
    along: jax.Array


def no_pieces() -> Pieces:
    """Nothing measured."""
    none = jnp.zeros((), jnp.float32)
    return Pieces(none, none, none, none, jnp.zeros(len(Along._fields), jnp.float32))


def piece(gradient: Any, weights: jax.Array, view: View, due: Any) -> Pieces:
    """What one piece adds.

    - `gradient`: its weighted sum. `weights`: `f32[rows]` of its examples.
    - `due`: `bool[]`, perhaps traced. False adds nothing, and reads no gradient for it.
    """
    if due is False:
        return no_pieces()
    products = 1 if view.toward is None else 3
    none = (jnp.zeros((), jnp.float32),) * products
    # Only products leave the condition: a gradient that came out of one would be written to memory again.
    found = _products(gradient, view) if due is True else lax.cond(due, _products, lambda *_: none, gradient, view)
    weight = jnp.sum(weights)
    share = 1 / jnp.maximum(weight, TINY)
    count = ((weight > 0) & due).astype(jnp.float32)
    weight_sq, along = count * jnp.sum(weights * weights), jnp.zeros(len(Along._fields), jnp.float32)
    if view.toward is not None:
        _, one, two = found
        along = jnp.stack(Along(weight=count * weight, one=one, two=two, products=one * two * share, pieces=count))
    return Pieces(found[0] * share, count, weight_sq, weight_sq * share, along)


def _products(gradient: Any, view: View) -> tuple[jax.Array, ...]:
    """|P G|^2, and P G along each direction."""
    seen = scaled(gradient, view.scale)
    toward = view.toward or ()
    return squared_norm(seen, view.layout), *(inner(seen, direction, view.layout) for direction in toward)


def noise_sums(pieces: Pieces, weight: jax.Array, grad_sq: jax.Array, examples: Any) -> jax.Array:
    """What the pieces of one update of `weight` come to, `f32[len(NOISE_SUMS)]`; zeros below two pieces.

    - `grad_sq`: |P g|^2 of its mean gradient g.
    - `examples`: B, how many it drew, whatever they weigh. Sizes count these, so the sums are of them: an example drawn
      has B sum w^2 / (sum w)^2 times the variance of an effective one, which is 1 for equal weights.
    """
    counts = (pieces.count >= 2).astype(jnp.float32)
    total = jnp.maximum(weight, TINY)
    whole = pieces.weight_sq / total
    spread = jnp.where(counts > 0, pieces.spread, whole + 1)  # What is masked below must not divide by zero.
    trace, square = pair(pieces.micro_sq, grad_sq, total, spread, whole)
    examples = jnp.asarray(examples, jnp.float32)
    projection, projections = _projection(Along(*pieces.along))
    trace, projection = trace * (examples * whole / total), projection * (examples / total)
    sums = pair_sums(trace, square, examples, projection, projections)
    return jnp.where(counts > 0, jnp.stack([jnp.asarray(value, jnp.float32) for value in sums.values()]), 0)


def _projection(along: Along) -> tuple[jax.Array, jax.Array]:
    """`(estimate, 1)` of G'Sigma G, the variance of one example's gradient along G; zeros below two pieces.

    The covariance of p'g and q'g is p'Sigma q, whose mean is G'Sigma G as p and q share no example with each other or
    with g. Along one direction alone it would be p'Sigma p, too large by tr(Sigma^2) over the examples behind p.
    """
    counts = (along.pieces >= 2).astype(jnp.float32)
    covariance = along.products - along.one * along.two / jnp.maximum(along.weight, TINY)
    return counts * covariance / jnp.maximum(along.pieces - 1, 1.0), counts
