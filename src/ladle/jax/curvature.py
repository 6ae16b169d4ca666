"""The largest eigenvalue of a loss's Hessian ("sharpness"), by power iteration on Hessian-vector products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ladle.jax.vector import TINY, inner, times

ALIGNED = 0.9
"""v.Hv is at least this fraction of |Hv| where v lies at the positive end of the spectrum."""

MARGIN = 1.1
"""How far beyond |Hv| the shift goes: |Hv| may fall short of the spectral radius, and H + |Hv| I may be zero."""


def largest_eigenvalue(
    loss: Callable[[Any], jax.Array],
    params: Any,
    *,
    key: jax.Array,
    iterations: int = 30,
    tolerance: float = 1e-3,
) -> jax.Array:
    """The largest (most positive, not largest in size) eigenvalue of H, the Hessian of `loss` at `params`: `f32[]`.

        v <- H v / |H v|,    lambda = v.Hv,    until lambda and |Hv| change by no more than tolerance |lambda|

    This finds the eigenvalue of the largest size. Where that is negative, or a negative one is about as large, it is
    done again with H + 1.1 |Hv| I, whose eigenvalues come in the same order and are positive.

    - `loss(params) -> f32[]`, differentiable twice (almost everywhere will do: relu). `params`: tree of float arrays.
      May be called inside `jax.jit`.
    - `key`: draws the start. `iterations`: at most so many products H v in each round. One costs less than two
      gradients (it is the derivative of the gradient along v), and H itself is never formed.
    - The answer is a Rayleigh quotient: but for rounding never more than the true eigenvalue. It is less where others
      lie close, or the start happens to hold little of the sought direction, and the search ends before that has grown.
      Not finite where derivatives are not.

    Source: von Mises and Pollaczek-Geiringer 1929 (power iteration); Pearlmutter 1994 (exact products H v).

    >>> import jax, jax.numpy as jnp
    >>> round(float(largest_eigenvalue(lambda p: p[0] ** 2 - 3 * p[1] ** 2, jnp.ones(2), key=jax.random.key(0))), 3)
    2.0
    """
    # The part that does not depend on v is computed once, before the loop: a fifth less time than jvp inside it.
    _, product = jax.linearize(jax.grad(loss), params)
    return largest_of(product, params, key=key, iterations=iterations, tolerance=tolerance)


def largest_of(
    product: Callable[[Any], Any],
    like: Any,
    *,
    key: jax.Array,
    iterations: int = 30,
    tolerance: float = 1e-3,
) -> jax.Array:
    """The same of any symmetric H, given as `product(v) = H v` of trees like `like`: `f32[]`.

    >>> import jax, jax.numpy as jnp
    >>> diagonal = jnp.array([1.0, 3.0])
    >>> round(float(largest_of(lambda v: diagonal * v, jnp.zeros(2), key=jax.random.key(0))), 3)
    3.0
    """
    start = _random_like(like, key)
    first = _iterate(product, start, iterations, tolerance)

    def shifted() -> jax.Array:
        # |Hv| tends to the spectral radius even where a and -a are both eigenvalues and v settles on a mix of the two.
        again = _iterate(product, start, iterations, tolerance, shift=MARGIN * first.norm)
        return jnp.maximum(first.value, again.value)

    return lax.cond(first.value < ALIGNED * first.norm, shifted, lambda: first.value)


class _Power(NamedTuple):
    """One step: `value` (v.Hv) and `norm` (|Hv|) of the vector v before it, their `change`, and the next `vector`."""

    vector: Any
    value: jax.Array
    norm: jax.Array
    change: jax.Array
    step: jax.Array


def _iterate(
    product: Callable[[Any], Any], start: Any, iterations: int, tolerance: float, shift: jax.Array | float = 0.0
) -> _Power:
    """Power iteration on H + shift I; `value` and `norm` are those of H itself."""

    def proceed(now: _Power) -> jax.Array:
        return (now.step < iterations) & (now.change > tolerance * jnp.abs(now.value))

    def step(now: _Power) -> _Power:
        image = product(now.vector)
        value, norm = inner(now.vector, image), jnp.sqrt(inner(image, image))
        change = jnp.maximum(jnp.abs(value - now.value), jnp.abs(norm - now.norm))
        moved = jax.tree.map(lambda h, v: h + jnp.asarray(shift, v.dtype) * v, image, now.vector)
        return _Power(_unit(moved), value, norm, change, now.step + 1)

    none = jnp.zeros((), jnp.float32)
    return lax.while_loop(proceed, step, _Power(_unit(start), none, none, none + jnp.inf, jnp.int32(0)))


def _random_like(params: Any, key: jax.Array) -> Any:
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return tree.unflatten([jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)])


def _unit(tree: Any) -> Any:
    """`tree` divided by its length; zero stays zero."""
    return times(tree, 1 / jnp.maximum(jnp.sqrt(inner(tree, tree)), TINY))
