"""The type in which a model computes, and the loss scale that keeps float16's gradients in its range.

Parameters, optimiser, sums, losses, metrics and norms are float32 whatever the model computes in: parameters and
inputs are cast on their way into the model, outputs on their way out, and gradients come back through these casts as
float32. bfloat16 has the range of float32. float16 has not: what is below 6e-8 is zero in it, what is above 65504 is
infinite. So the gradient of its outputs is multiplied by a scale S on its way in, and that of its parameters divided
by S on its way out:

    dl/dy16 = S dl/dy32,        dl/dw32 = dl/dw16 / S

Nothing outside the two casts ever sees S: sums, moments and norms are of true gradients, bit by bit the same for any S
(a power of two) that keeps everything in range. S is part of the state and moves by itself (`settled`).
Micikevicius et al. 2018, arXiv 1710.03740, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must

TYPES: Mapping[str, Any] = {"bf16": jnp.bfloat16, "fp16": jnp.float16}
"""What a model may compute in beside float32."""

FIRST = 2.0**10
"""The scale that a run begins with. The loss is a sum here: that of PyTorch, 2^16 of a mean, at batches of 64."""

SMALLEST, LARGEST = 2.0**-14, 2.0**24
PATIENCE = 2000
"""Updates that fit in a row after which the scale is doubled."""

LOSS_SCALE = "loss_scale"
"""Its name among the levels that a loss is handed."""

SKIPPED = ("skipped", "scale_log2")
"""Names of the sums that an update in float16 adds: updates left out because they overflowed, and log2 S."""


class Scaling(NamedTuple):
    """`scale`: S, `f32[]`. `good`: updates in a row that fitted, `i32[]`."""

    scale: Any
    good: Any


def first_scaling() -> Scaling:
    """That of a fresh state."""
    return Scaling(jnp.float32(FIRST), jnp.int32(0))


def lowered(tree: Any, kind: Any, scale: jax.Array | None = None) -> Any:
    """The floating-point leaves of `tree` in the type `kind`; their gradients divided by `scale`, in float32."""
    if scale is None:
        return _cast(tree, kind)
    return jax.tree.map(lambda leaf: _into(kind, leaf.dtype, leaf, scale) if _is_float(leaf) else leaf, tree)


def raised(tree: Any, scale: jax.Array | None = None) -> Any:
    """The floating-point leaves of `tree` in float32; their gradients multiplied by `scale`."""
    if scale is None:
        return _cast(tree, jnp.float32)
    return jax.tree.map(lambda leaf: _out_of(leaf.dtype, leaf, scale) if _is_float(leaf) else leaf, tree)


def kept(tree: Any, before: Any) -> Any:
    """`tree` in the types of `before`: what a model carries from batch to batch, such as running averages."""
    if jax.tree.structure(tree) != jax.tree.structure(before):
        return tree
    return jax.tree.map(lambda new, old: new.astype(old.dtype), tree, before)


def settled(state: Any, sums: tuple[jax.Array, ...], finite: jax.Array, lr: jax.Array) -> tuple[Any, list[jax.Array]]:
    """What an update that fitted or overflowed leaves: the state with its next scale, and the sums to record.

    - `sums`: loss, weight, applied, refused, |g|^2, then the metrics. `finite`: whether the update was applied.

    An update that overflowed is skipped: the scale is halved, and it counts as neither applied nor refused. At the
    smallest scale it is refused, for then it is not the scale that overflows.
    """
    scale, good = state.scaling
    skipped = ~finite & jnp.isfinite(lr) & (scale > SMALLEST)
    loss, weight, applied, refused, grad_sq, *metrics = sums
    known = jnp.isfinite(loss) | ~skipped  # A loss that itself overflowed is no number to sum.
    loss, weight, *metrics = (jnp.where(known, value, 0) for value in (loss, weight, *metrics))
    grown = finite & (good + 1 >= PATIENCE)
    next_scale = jnp.where(grown, jnp.minimum(2 * scale, LARGEST), jnp.where(skipped, scale / 2, scale))
    next_good = jnp.where(grown | skipped, 0, good + finite.astype(jnp.int32))
    state = state._replace(scaling=Scaling(next_scale, next_good))
    refused, grad_sq = (jnp.where(skipped, 0, value) for value in (refused, grad_sq))
    return state, [loss, weight, applied, refused, grad_sq, *metrics, skipped.astype(jnp.float32), jnp.log2(scale)]


def mixed_types(error: Exception, precision: str) -> ArgumentError:
    """What is said of a model that mixes types where JAX does not."""
    why = f"the model mixes types in it: {str(error).splitlines()[0][:160]}"
    return ArgumentError(must("precision", "be one that the model can compute in", precision, why, "precision='f32'"))


def _cast(tree: Any, kind: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(kind) if _is_float(leaf) else leaf, tree)


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _into(kind: Any, of: Any, leaf: jax.Array, scale: jax.Array) -> jax.Array:
    return leaf.astype(kind)


def _into_forth(kind: Any, of: Any, leaf: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    return leaf.astype(kind), scale


def _into_back(kind: Any, of: Any, scale: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (gradient.astype(jnp.float32) / scale).astype(of), jnp.zeros_like(scale)


_into.defvjp(_into_forth, _into_back)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _out_of(of: Any, leaf: jax.Array, scale: jax.Array) -> jax.Array:
    return leaf.astype(jnp.float32)


def _out_of_forth(of: Any, leaf: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    return leaf.astype(jnp.float32), scale


def _out_of_back(of: Any, scale: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (gradient * scale).astype(of), jnp.zeros_like(scale)


_out_of.defvjp(_out_of_forth, _out_of_back)
