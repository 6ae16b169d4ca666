"""One update as pure functions: add up micro-batch gradients, then apply their weighted mean.

G = sum_i w_i grad l_i        (over the examples of all micro-batches)
g = G / sum_i w_i             (one division, at the end: never an average of averages)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.observation import CLIPPED, METRIC
from ladle.core.scaling.levels import GRADIENT_NOISE
from ladle.jax import ema
from ladle.jax.clip import clipped, clips
from ladle.jax.gradient_noise import noisy
from ladle.jax.meaning import Meaning
from ladle.jax.mesh import Layout
from ladle.jax.message import added, joins
from ladle.jax.noise_sums import NOISE_SUMS, Pieces, View, no_pieces, noise_sums, piece
from ladle.jax.objective import Objective, checked_losses
from ladle.jax.offload import fetched, parked
from ladle.jax.operands import Pace
from ladle.jax.precision import SKIPPED, settled
from ladle.jax.rows import MicroBatch, Place
from ladle.jax.shard import kept
from ladle.jax.state import State
from ladle.jax.vector import TINY, scaled, squared_norm, squared_norm_by_rows, times


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

    @property
    def share(self) -> jax.Array:
        """What one unit of weight counts in the mean: the one division."""
        return 1 / jnp.maximum(self.weight, TINY)

    def mean(self, scale: Any) -> Any:
        """P times the mean gradient so far: a direction for the micro-batches to come."""
        return scaled(times(self.gradient, self.share), scale)


def zero(params: Any, model_state: Any, num_metrics: int, pieces: bool = True) -> Accumulated:
    """Nothing accumulated yet. `pieces`: whether moments are taken."""
    none = jnp.zeros((), jnp.float32)
    of_noise = no_pieces() if pieces else None
    return Accumulated(jax.tree.map(jnp.zeros_like, params), none, none, (none,) * num_metrics, of_noise, model_state)


def micro_gradient(
    objective: Objective,
    params: Any,
    model_state: Any,
    rows: MicroBatch,
    view: View | None = View(),
    due: Any = True,
    layout: Layout | None = None,
) -> Accumulated:
    """The sums of one micro-batch: one forward and one backward pass. `view` None: without those of the noise.

    - `due`: `bool[]`, perhaps traced: False leaves the sums of the noise zero, and reads no gradient for them.
    - `layout`: where the rows are split over the devices of several processes; see `ladle.jax.message`.
    """
    if layout is not None and joins(layout, objective, params, model_state):
        whole = params, model_state, rows.levels
        sums = added(layout, partial(_sums_alone, objective), whole, rows._replace(levels=None))
    else:
        sums, model_state = _sums(objective, params, model_state, rows)
    gradient, loss, weight, metrics = sums
    pieces = None if view is None else piece(gradient, rows.weight, view, due)
    return Accumulated(gradient, loss, weight, metrics, pieces, model_state)


def _sums(objective: Objective, params: Any, model_state: Any, rows: MicroBatch) -> tuple[Any, Any]:
    """The sums over the rows: of gradients, losses, weights and metrics; and the model's state behind them."""

    def total(params: Any):
        losses, metrics, new_state = checked_losses(objective, params, model_state, rows, True)
        return jnp.sum(losses.astype(jnp.float32) * rows.weight), (metrics, new_state)

    (loss, (metrics, model_state)), gradient = jax.value_and_grad(total, has_aux=True)(params)
    sums = tuple(jnp.sum(metrics[name].astype(jnp.float32) * rows.weight) for name in objective.metrics)
    return (gradient, loss, jnp.sum(rows.weight), sums), model_state


def _sums_alone(objective: Objective, whole: Any, rows: MicroBatch) -> Any:
    """Those of one device's rows, for a model without a state of its own."""
    params, model_state, levels = whole
    return _sums(objective, params, model_state, rows._replace(levels=levels))[0]


SUMS = ("loss", "weight", "updates", "refused", "grad_sq")


def sum_names(objective: Objective, hyper: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the vector that `apply` returns, in order, under these constants."""
    own = SKIPPED if objective.arithmetic.scaled else ()
    last = (CLIPPED,) if clips(hyper) else ()
    return (*SUMS, *(METRIC + name for name in objective.metrics), *own, *NOISE_SUMS, *last)


def apply(
    meaning: Meaning,
    state: State,
    done: Accumulated,
    pace: Pace,
    place: Place,
    epoch_size: jax.Array | int,
    *,
    view: View | None,
    examples: Any = 1,
) -> tuple[State, jax.Array]:
    """One optimiser update by the weighted mean gradient, and its sums `f32[len(sum_names)]`.

        learning rate = hyper["lr"] * rate(offset + pace * examples) * lr_factor        examples: drawn before it

    - `place`: of the first example of the update.
    - `view`: what the moments were taken of. None where there can be no second piece: their sums are then zeros that
      cost nothing to compile. `examples`: of the update, whatever they weigh: the unit of moments.

    A gradient, loss or rate that is not finite is not applied: the state stays as it was and `refused` counts it. With
    `meaning.moments=False` the gradient's norm is left out unless it bounds the gradient, and a gradient that is not
    finite is refused one update late, when the loss is not. Norm and moments are those before any bound.
    """
    share, bounded, scaled_back = done.share, clips(state.hyper), meaning.objective.arithmetic.scaled
    known = meaning.moments or bounded or scaled_back  # What overflows in float16 shows in the gradient first.
    # A view is of several pieces, whose sum a loop made. Without one that may be so, too: it is 30 us slower then.
    norm = squared_norm_by_rows if view is None else squared_norm
    grad_sq = norm(done.gradient, meaning.layout) * share * share if known else jnp.zeros((), jnp.float32)
    lr = state.hyper["lr"] * meaning.rate(pace.time(place.drawn(epoch_size))) * pace.lr_factor
    finite = jnp.isfinite(grad_sq) & jnp.isfinite(done.loss) & jnp.isfinite(lr)

    none = jnp.zeros(int(bounded), jnp.float32)

    def update(state: State) -> tuple[State, jax.Array]:
        # In here, where the optimiser uses it: the mean of a condition's operand would be written to memory first.
        gradient, was = times(done.gradient, share), none
        if bounded:
            gradient, was = clipped(gradient, grad_sq, state.hyper)
        if GRADIENT_NOISE in state.hyper:
            gradient = noisy(gradient, state.hyper[GRADIENT_NOISE], state.key, place)
        new = stepped(meaning, state, gradient, lr, pace.lr_factor)
        average = ema.moved(state.average, new.params, state.hyper)
        return kept(meaning.layout, new._replace(model_state=done.model_state, average=average)), was

    moments = jnp.zeros(len(NOISE_SUMS), jnp.float32)
    if view is not None and done.pieces is not None:
        seen_sq = grad_sq if view.scale is None else squared_norm(done.mean(view.scale), meaning.layout)
        moments = jnp.where(finite, noise_sums(done.pieces, done.weight, seen_sq, examples), 0)
    state, was = lax.cond(finite, update, lambda state: (state, none), state)
    applied = finite.astype(jnp.float32)
    sums = (done.loss, done.weight, applied, 1 - applied, grad_sq, *done.metrics)
    if scaled_back:
        state, sums = settled(state, sums, finite, lr)
    return state, jnp.concatenate([jnp.stack(sums), moments, was])


def stepped(meaning: Meaning, state: State, gradient: Any, lr: jax.Array, lr_factor: jax.Array) -> State:
    """`state` with the parameters and the optimiser's state one step on."""
    made = meaning.optimizer.make({**state.hyper, "lr": lr})  # at rate one; those that keep rates in their state see it
    with jax.numpy_dtype_promotion("standard"):  # optax counts on it where constants are traced
        updates, opt_state = made.update(gradient, fetched(meaning.layout, state.opt_state), state.params)
    length = meaning.optimizer.length(lr, lr_factor)
    params = jax.tree.map(lambda leaf, step: leaf + (length * step).astype(leaf.dtype), state.params, updates)
    return state._replace(params=params, opt_state=parked(meaning.layout, opt_state))
