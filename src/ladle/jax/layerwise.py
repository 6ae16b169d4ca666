"""LARS and LAMB as in their papers: each layer moves by a share of its own weights' norm, whatever its gradient's.

    LARS (You, Gitman, Ginsburg 2017, arXiv 1708.03888, eq. 6 and algorithm 1)
        local = trust_coefficient |w| / (|g| + weight_decay |w|)
        v = momentum v + rate local (g + weight_decay w);      w = w - v

    LAMB (You et al. 2020, arXiv 1904.00962, algorithm 2)
        m = b1 m + (1 - b1) g;      v = b2 v + (1 - b2) g^2;      r = m^ / (sqrt(v^) + eps), ^ the bias correction
        w = w - rate phi(|w|) / |r + weight_decay w| (r + weight_decay w)

`optax.lars` and `optax.lamb` differ: optax's LARS divides by |g + weight_decay w|, and both scale biases and norms too
unless they are masked. Three things are left open by the papers, and settled here:

- `excluded` layers (biases, scales and offsets of norms) have ratio 1 in the place of |w| / ... and no weight decay.
- Layers whose weights are all zero have ratio 1: by the formula they would stay there for ever.
- A leaf that stacks layers (`scan`, `vmap`) is not one layer: `stacked_axes` names the axis along which they lie.

The first two as in public programs but for one thing: under LARS, ratio 1 is still multiplied by `trust_coefficient`.
Public TensorFlow programs (`lars_optimizer.py` of SimCLR, for one) leave the coefficient out there, so that with 0.001
their biases step a thousand times as far at the same rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ladle.core.errors import ArgumentError, must, nearest
from ladle.jax.paths import paths_of

Excluded = Callable[[str, jax.ShapeDtypeStruct], bool]
"""`excluded(path, layer)`: whether the layer at `path`, of that shape and type, keeps ratio 1 and no weight decay."""

NAMES = frozenset({"bias", "b", "scale", "offset", "shift", "gamma", "beta"})


def norm_or_bias(path: str, layer: jax.ShapeDtypeStruct) -> bool:
    """Biases, and scales and offsets of norms: by rank (at most 1), by the last word of the path, or "norm" in it.

    >>> weight = jax.ShapeDtypeStruct((3, 3), "float32")
    >>> [norm_or_bias(path, weight) for path in ("blocks.0.weight", "blocks.0.bias", "LayerNorm_0.weight")]
    [False, True, True]
    """
    words = path.lower().split(".")
    return layer.ndim <= 1 or words[-1] in NAMES or any("norm" in word for word in words)


class Layer(NamedTuple):
    """One leaf: the axes over which a norm is taken, and whether it is excluded."""

    axes: tuple[int, ...]
    excluded: bool


def lars(
    rate: Any,
    *,
    momentum: Any = 0.9,
    weight_decay: Any = 5e-4,
    trust_coefficient: Any = 1e-3,
    excluded: Excluded = norm_or_bias,
    stacked_axes: Mapping[str, int] | None = None,
) -> optax.GradientTransformation:
    """LARS; formulas above. The rate is inside the momentum: what a step added stays added when the rate falls.

    **Arguments**

    - `rate`, `momentum`, `weight_decay`, `trust_coefficient`: numbers, also traced ones. For a rate that changes from
      update to update, `optax.inject_hyperparams(lars, static_args=("excluded", "stacked_axes"))`.
    - `excluded(path, layer)`: which layers have local = trust_coefficient and no weight decay; a path is
      "blocks.0.bias".
    - `stacked_axes`: `{path: axis}` for leaves that hold many layers, which lie along that axis.

    **Raises** `ArgumentError` at `init` for a path or an axis that does not exist.

    >>> step = lars(1.0, momentum=0.0, weight_decay=0.5, trust_coefficient=1.0, excluded=lambda path, layer: False)
    >>> w, g = jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0])
    >>> update, _ = step.update(g, step.init(w), w)
    >>> (-update / (g + 0.5 * w)).round(6).tolist()
    [0.5454549789428711, 0.5454549789428711]
    """

    def init(params: Any) -> optax.TraceState:
        _layers(params, excluded, stacked_axes)
        return optax.TraceState(jax.tree.map(jnp.zeros_like, params))

    def velocity(layer: Layer, v: jax.Array, g: jax.Array, w: jax.Array) -> jax.Array:
        v32, g, w = (leaf.astype(jnp.float32) for leaf in (v, g, w))
        decay = jnp.float32(0 if layer.excluded else weight_decay)
        size = _norm(w, layer)
        local = trust_coefficient * _ratio(size, _norm(g, layer) + decay * size, layer)
        return (momentum * v32 + rate * local * (g + decay * w)).astype(v.dtype)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, optax.TraceState]:
        trace = _each(velocity, _layers(params, excluded, stacked_axes), state.trace, updates, params)
        return jax.tree.map(jnp.negative, trace), optax.TraceState(trace)

    return optax.GradientTransformation(init, update)


def lamb(
    rate: Any,
    *,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-6,
    weight_decay: Any = 0.01,
    clamp: tuple[float, float] | None = None,
    bias_correction: bool = True,
    excluded: Excluded = norm_or_bias,
    stacked_axes: Mapping[str, int] | None = None,
) -> optax.GradientTransformation:
    """LAMB; formulas above.

    **Arguments**

    - `clamp`: `(low, high)` makes phi(z) = min(max(z, low), high); phi(z) = z without. The paper allows both.
    - `bias_correction`: False leaves out the division of both averages by 1 - b^t, as under a warm-up.
    - The rest as in `lars`. Excluded layers are plain Adam without weight decay.

    **Raises** `ArgumentError` for a clamp that is no interval, and at `init` as `lars` does.
    """
    low, high = _interval(clamp)
    adam = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)

    def init(params: Any) -> Any:
        _layers(params, excluded, stacked_axes)
        return adam.init(params)

    def step(layer: Layer, r: jax.Array, w: jax.Array) -> jax.Array:
        wide = w.astype(jnp.float32)
        r = r.astype(jnp.float32) + jnp.float32(0 if layer.excluded else weight_decay) * wide
        phi = jnp.clip(_norm(wide, layer), low, high)
        return (-rate * _ratio(phi, _norm(r, layer), layer) * r).astype(w.dtype)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        direction, state = adam.update(updates, state)
        if not bias_correction:
            direction = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), state.mu, state.nu)

        return _each(step, _layers(params, excluded, stacked_axes), direction, params), state

    return optax.GradientTransformation(init, update)


def _interval(clamp: Any) -> tuple[float, float]:
    if clamp is None:
        return 0.0, float("inf")
    if not (isinstance(clamp, tuple | list) and len(clamp) == 2 and 0 <= clamp[0] <= clamp[1]):
        why, remedy = "phi(z) = min(max(z, low), high)", "clamp=(0.0, 10.0)"
        raise ArgumentError(must("clamp", "be (low, high) with 0 <= low <= high", clamp, why, remedy))
    return clamp[0], clamp[1]


def _norm(x: jax.Array, layer: Layer) -> jax.Array:
    """|x| of each layer in a leaf, with the axes kept."""
    return jnp.sqrt(jnp.sum(x * x, layer.axes, keepdims=True))


def _ratio(above: jax.Array, below: jax.Array, layer: Layer) -> jax.Array:
    """above / below, or 1 where the layer is excluded or one of them is zero."""
    usable = (above > 0) & (below > 0)
    return jnp.ones_like(above) if layer.excluded else jnp.where(usable, above / jnp.where(usable, below, 1), 1)


def _each(function: Callable[..., jax.Array], layers: list[Layer], *trees: Any) -> Any:
    leaves = zip(layers, *(jax.tree.leaves(tree) for tree in trees), strict=True)
    return jax.tree.structure(trees[-1]).unflatten([function(*each) for each in leaves])


def _layers(params: Any, excluded: Excluded, stacked_axes: Mapping[str, int] | None) -> list[Layer]:
    """One `Layer` for each leaf. Raises `ArgumentError` where `stacked_axes` names what is not there."""
    if params is None:
        why = "a ratio needs the weights' norms"
        raise ArgumentError(must("params", "be given to the update", None, why, "update(gradient, state, params)"))
    left = dict(stacked_axes or {})
    paths = paths_of(params)
    for path in left:
        if path not in paths:
            why = "there is no such leaf of the parameters"
            raise ArgumentError(must("stacked_axes", "name leaves", path, why, nearest(path, paths)))
    leaves = zip(paths, jax.tree.leaves(params), strict=True)
    return [_layer(path, leaf, left.get(path), excluded) for path, leaf in leaves]


def _layer(path: str, leaf: Any, stacked: int | None, excluded: Excluded) -> Layer:
    if stacked is not None and not -leaf.ndim <= stacked < leaf.ndim:
        why, remedy = f"the leaf has shape {leaf.shape}", f"{{{path!r}: 0}}"
        raise ArgumentError(must("stacked_axes", f"be an axis of {path}", stacked, why, remedy))
    axes = tuple(axis for axis in range(leaf.ndim) if stacked is None or axis != stacked % leaf.ndim)
    # Judged as one layer: a stack of biases has rank two, and is still biases.
    layer = jax.ShapeDtypeStruct(tuple(leaf.shape[axis] for axis in axes), leaf.dtype)
    return Layer(axes, bool(excluded(path, layer)))
