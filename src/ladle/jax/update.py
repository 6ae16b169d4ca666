"""One update as pure functions: add up micro-batch gradients, then apply their weighted mean.

G = sum_i w_i grad l_i        (over the examples of all micro-batches)
g = G / sum_i w_i             (one division, at the end: never an average of averages)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import pair, pair_sums
from ladle.core.observation import METRIC
from ladle.core.scaling.levels import GRADIENT_NOISE
from ladle.jax.objective import Objective, checked_losses
from ladle.jax.optimizer import Optimizer
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State

TINY = 1e-30
"""Divisor where all weights are zero: the gradient is then zero, not NaN."""

NOISE_STREAM = 0x6E6F6973
"""Sets its random numbers apart from those of the examples, which are folded in by pass."""


class View(NamedTuple):
    """What is looked at besides the gradient itself. Trees of the parameters' shape, or None.

    - `scale`: P, the elementwise factor of the geometry; None measures the gradient as it is.
    - `toward`: two directions p and q of the projection: P times the mean gradients of two other parts of the update.
    """

    scale: Any = None
    toward: tuple[Any, Any] | None = None


class Pieces(NamedTuple):
    """Sums over the micro-batches of one update that its noise is made of, `f32[]` each.

    - `micro_sq`: sum over micro-batches j of |P G_j|^2 / m_j, m_j their weight.
    - `micro_steps`: micro-batches (or pieces of one, or examples) with any weight.
    - `weight_sq`: sum of squared weights; `spread`: sum over micro-batches of their squared weights over m_j. With
      weights of 0 and 1 these are `weight` and `micro_steps`.
    - `along`: `f32[5]`, sums over the micro-batches that had directions p and q of m_j, m_j d_j, m_j e_j, m_j d_j e_j
      and 1, where d_j = p'P G_j / m_j and e_j = q'P G_j / m_j.
    """

    micro_sq: jax.Array
    micro_steps: jax.Array
    weight_sq: jax.Array
    spread: jax.Array
    along: jax.Array


class Accumulated(NamedTuple):
    """Sums over the micro-batches of one update. `gradient` has the shape of the parameters; the rest are `f32[]`.

    - `pieces`: None where no moments are taken.
    """

    gradient: Any
    loss: jax.Array
    weight: jax.Array
    metrics: tuple[jax.Array, ...]
    pieces: Pieces | None
    model_state: Any

    def add(self, later: Accumulated) -> Accumulated:
        """Both, with the model state of the later one."""
        mine, theirs = self._replace(model_state=()), later._replace(model_state=())
        return jax.tree.map(jnp.add, mine, theirs)._replace(model_state=later.model_state)

    def mean(self, scale: Any) -> Any:
        """P times the mean gradient so far: a direction for the micro-batches to come."""
        share = 1 / jnp.maximum(self.weight, TINY)
        return scaled(jax.tree.map(lambda leaf: leaf * share.astype(leaf.dtype), self.gradient), scale)


def zero(params: Any, model_state: Any, num_metrics: int, pieces: bool = True) -> Accumulated:
    """Nothing accumulated yet. `pieces`: whether moments are taken."""
    none = jnp.zeros((), jnp.float32)
    of_noise = no_pieces() if pieces else None
    return Accumulated(jax.tree.map(jnp.zeros_like, params), none, none, (none,) * num_metrics, of_noise, model_state)


def no_pieces() -> Pieces:
    """Nothing measured."""
    none = jnp.zeros((), jnp.float32)
    return Pieces(none, none, none, none, jnp.zeros(5, jnp.float32))


def scaled(tree: Any, scale: Any) -> Any:
    """`tree` times `scale`, leaf by leaf; as it is where that is None."""
    return tree if scale is None else jax.tree.map(jnp.multiply, tree, scale)


def squared_norm(tree: Any) -> jax.Array:
    """|tree|^2 over all leaves, in float32."""
    return inner(tree, tree)


def inner(one: Any, other: Any) -> jax.Array:
    """Inner product of two trees, in float32.

    XLA's CPU backend runs these through its matrix library, faster than a reduction of products.
    """
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    flat = ((a.astype(jnp.float32).reshape(-1), b.astype(jnp.float32).reshape(-1)) for a, b in pairs)
    return sum((jnp.vdot(a, b) for a, b in flat), jnp.zeros((), jnp.float32))


def micro_gradient(
    objective: Objective,
    params: Any,
    model_state: Any,
    rows: MicroBatch,
    view: View | None = View(),
    measured: Any = True,
) -> Accumulated:
    """The sums of one micro-batch: one forward and one backward pass. `view` None: without those of the noise.

    - `measured`: `bool[]`, perhaps traced: False leaves the sums of the noise zero, and reads no gradient for them.
    """

    def total(params: Any):
        losses, metrics, new_state = checked_losses(objective, params, model_state, rows, True)
        return jnp.sum(losses.astype(jnp.float32) * rows.weight), (metrics, new_state)

    (loss, (metrics, model_state)), gradient = jax.value_and_grad(total, has_aux=True)(params)
    weight = jnp.sum(rows.weight)
    sums = tuple(jnp.sum(metrics[name].astype(jnp.float32) * rows.weight) for name in objective.metrics)
    if view is None:
        return Accumulated(gradient, loss, weight, sums, None, model_state)

    return Accumulated(
        gradient, loss, weight, sums, _pieces(gradient, weight, rows.weight, view, measured), model_state
    )


def _pieces(gradient: Any, weight: jax.Array, weights: jax.Array, view: View, measured: Any) -> Pieces:
    """What one micro-batch adds to the sums of the noise."""

    def read() -> tuple[jax.Array, ...]:
        seen = scaled(gradient, view.scale)
        return squared_norm(seen), *(inner(seen, direction) for direction in view.toward or ())

    if measured is False:
        return no_pieces()
    products = 1 if view.toward is None else 3
    none = (jnp.zeros((), jnp.float32),) * products
    # Only products leave the condition: a gradient that came out of one would be written to memory again.
    found = read() if measured is True else lax.cond(measured, read, lambda: none)
    share = 1 / jnp.maximum(weight, TINY)
    counts = ((weight > 0) & measured).astype(jnp.float32)
    weight_sq, along = counts * jnp.sum(weights * weights), jnp.zeros(5, jnp.float32)
    if view.toward is not None:
        _, one, two = found
        along = jnp.stack([counts * weight, one, two, one * two * share, counts])
    return Pieces(found[0] * share, counts, weight_sq, weight_sq * share, along)


def cut_gradient(
    objective: Objective,
    params: Any,
    model_state: Any,
    rows: MicroBatch,
    view: View | None = View(),
    *,
    parts: int,
    together: bool = False,
) -> Accumulated:
    """The same sums with one micro-batch cut into `parts` equal pieces, one after the other or all `together`.

    Together the pieces' gradients are in memory at once; where pieces are on devices of their own, each holds its own.
    Where the rows do not divide, they are filled up with weight zero.

    Raises `ArgumentError` for a model with a state, which pieces would pass on one by one.
    """
    if jax.tree.leaves(model_state):
        raise ArgumentError(
            must(
                "gauge",
                "be None for a model with a state",
                "a state",
                "a gradient of a part of the rows needs a loss that depends on these rows alone",
                "gauge=None; micro-batches of an accumulated update are still measured",
            )
        )
    data = pieces_of((rows.data, rows.weight, rows.keys), parts)
    none = zero(params, model_state, len(objective.metrics), pieces=view is not None)

    def alone(piece: Any) -> Accumulated:
        return micro_gradient(objective, params, model_state, MicroBatch(**piece, levels=rows.levels), view)

    named = dict(zip(("data", "weight", "keys"), data, strict=True))
    if together:
        return jax.tree.map(lambda leaf: jnp.sum(leaf, 0), jax.vmap(alone)(named))
    return lax.scan(lambda done, piece: (done.add(alone(piece)), None), none, named)[0]


def pieces_of(tree: Any, parts: int) -> Any:
    """Leaves `[rows, ...]` of (data, weight, keys) as `[parts, rows / parts, ...]`, filled up with weight zero."""
    count = jax.tree.leaves(tree)[0].shape[0]
    each = -(-count // parts)
    if each * parts != count:
        lane = jnp.arange(each * parts)
        data, weight, keys = jax.tree.map(lambda leaf: leaf[lane % count], tree)
        tree = data, jnp.where(lane < count, weight, 0), keys
    return jax.tree.map(lambda leaf: leaf.reshape(parts, each, *leaf.shape[1:]), tree)


SUMS = ("loss", "weight", "updates", "refused", "grad_sq")
NOISE_SUMS = tuple(pair_sums(0.0, 0.0, 0.0))


def sum_names(objective: Objective) -> tuple[str, ...]:
    """Names of the vector that `apply` returns, in order."""
    return (*SUMS, *(METRIC + name for name in objective.metrics), *NOISE_SUMS)


def apply(
    optimizer: Optimizer,
    rate: Callable[[jax.Array], jax.Array],
    state: State,
    done: Accumulated,
    pace: jax.Array,
    place: tuple[jax.Array, jax.Array],
    epoch_size: jax.Array | int,
    *,
    noise: bool = True,
    norm: bool = True,
    scale: Any = None,
) -> tuple[State, jax.Array]:
    """One optimiser update by the weighted mean gradient, and its sums `f32[len(sum_names)]`.

    The learning rate is `hyper["lr"] * rate(offset + pace * examples) * lr_factor`; `pace` holds these three constants,
    `f32[3]`: lr_factor, offset, pace. `place`: pass and place of the first example. A gradient, loss or rate that is
    not finite is not applied: the state stays as it was and `refused` counts it.
    `noise=False` where there can be no second micro-batch: the moments' sums are then zeros that cost nothing to
    compile. `norm=False` leaves out the gradient's norm: a gradient that is not finite is then refused one update late,
    when the loss is not. `scale`: P of the geometry that the moments were taken in.
    """
    share = 1 / jnp.maximum(done.weight, TINY)
    grad_sq = squared_norm(done.gradient) * share * share if norm else jnp.zeros((), jnp.float32)
    examples = place[0].astype(jnp.float32) * jnp.float32(epoch_size) + place[1].astype(jnp.float32)
    lr = state.hyper["lr"] * rate(pace[1] + pace[2] * examples) * pace[0]
    finite = jnp.isfinite(grad_sq) & jnp.isfinite(done.loss) & jnp.isfinite(lr)

    def update(state: State) -> State:
        # In here, where the optimiser uses it: the mean of a condition's operand would be written to memory first.
        gradient = jax.tree.map(lambda leaf: leaf * share.astype(leaf.dtype), done.gradient)
        if GRADIENT_NOISE in state.hyper:
            gradient = noisy(gradient, state.hyper[GRADIENT_NOISE], state.key, place)
        made = optimizer.make({**state.hyper, "lr": lr})  # at rate one; those that keep rates in their state see it
        with jax.numpy_dtype_promotion("standard"):  # optax counts on it where constants are traced
            updates, opt_state = made.update(gradient, state.opt_state, state.params)
        params = jax.tree.map(lambda leaf, step: leaf + (lr * step).astype(leaf.dtype), state.params, updates)
        return state._replace(params=params, opt_state=opt_state, model_state=done.model_state)

    moments = jnp.zeros(len(NOISE_SUMS), jnp.float32)
    if noise and done.pieces is not None:
        seen_sq = grad_sq if scale is None else squared_norm(done.mean(scale))
        moments = jnp.where(finite, _noise_sums(done.pieces, done.weight, seen_sq), 0)
    state = lax.cond(finite, update, lambda state: state, state)
    applied = finite.astype(jnp.float32)
    sums = (done.loss, done.weight, applied, 1 - applied, grad_sq, *done.metrics)
    return state, jnp.concatenate([jnp.stack(sums), moments])


def noisy(gradient: Any, variance: jax.Array, key: jax.Array, place: tuple[jax.Array, jax.Array]) -> Any:
    """`gradient` plus N(0, variance) in each coordinate, a function of the run's key and the place of the update.

    What a larger batch lacks in noise can so be put back (Neelakantan et al. 2015, arXiv 1511.06807).
    """
    base = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(key), NOISE_STREAM), place[0])
    base = jax.random.fold_in(base, place[1])
    leaves, tree = jax.tree.flatten(gradient)
    keys = jax.random.split(base, len(leaves))
    sd = jnp.sqrt(jnp.maximum(variance, 0.0))
    drawn = [
        leaf + (sd * jax.random.normal(k, leaf.shape)).astype(leaf.dtype) for leaf, k in zip(leaves, keys, strict=True)
    ]
    return tree.unflatten(drawn)


def _noise_sums(pieces: Pieces, weight: jax.Array, grad_sq: jax.Array) -> jax.Array:
    counts = (pieces.micro_steps >= 2).astype(jnp.float32)
    total = jnp.maximum(weight, TINY)
    whole = pieces.weight_sq / total
    spread = jnp.where(counts > 0, pieces.spread, whole + 1)  # What is masked below must not divide by zero.
    trace, square = pair(pieces.micro_sq, grad_sq, total, spread, whole)
    sums = pair_sums(trace, square, weight, *_projection(pieces.along))
    return jnp.where(counts > 0, jnp.stack([jnp.asarray(value, jnp.float32) for value in sums.values()]), 0)


def _projection(along: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`(estimate, 1)` of G'Sigma G, the variance of one example's gradient along G; zeros below two micro-batches.

    The covariance of p'g and q'g is p'Sigma q, whose mean is G'Sigma G as p and q share no example with each other or
    with g. Along one direction alone it would be p'Sigma p, too large by tr(Sigma^2) over the examples behind p.
    """
    weight, one, two, products, steps = along
    counts = (steps >= 2).astype(jnp.float32)
    covariance = products - one * two / jnp.maximum(weight, TINY)
    return counts * covariance / jnp.maximum(steps - 1, 1.0), counts
