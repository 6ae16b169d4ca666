"""What one client does in a round: some passes of the task's optimiser over its own rows, as one traced function.

A client's random numbers are a function of (run key, round, client): in which order it takes its rows in each pass, and
the keys of its rows. They depend neither on how many rows the table is filled up to, nor on who trains beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.errors import ArgumentError, must
from ladle.jax.freeze import own_state
from ladle.jax.objective import Objective, checked_losses
from ladle.jax.optimizer import Optimizer
from ladle.jax.programs import Program
from ladle.jax.rows import MicroBatch, levels_of, taken
from ladle.jax.vector import TINY

ORDER, ROWS = 0, 1
"""What a pass's key is folded with: for the order of the rows, for the keys of the rows."""

NOBODY = 2**32 - 1
"""Folded into a round's key in place of a client's number: what the server draws itself."""


@dataclass(frozen=True)
class Training:
    """What a client's training means; the numbers are data of the program.

    - `size`: rows of a batch. `controls`: whether gradients are corrected by control variates (SCAFFOLD).
    """

    objective: Objective
    optimizer: Optimizer
    size: int
    controls: bool = False


class Numbers(NamedTuple):
    """Constants of a round. `hyper`: the optimiser's with `lr`. `mu`: the pull to where the round began, f32[].

    `epochs`: passes over a client's rows, u32[].
    """

    hyper: dict[str, Any]
    mu: Any
    epochs: Any


class Start(NamedTuple):
    """Where a round begins. `control`: the server's control variate, `own`: the client's; `()` without."""

    params: Any
    model_state: Any
    control: Any = ()
    own: Any = ()


class Share(NamedTuple):
    """A client's part of the data: row numbers `i32[capacity]`, of which `count` are there; the rest is filling.

    `limit`: updates after which it stops, u32[]; `key`: of this client in this round.
    """

    rows: Any
    count: Any
    limit: Any
    key: Any


class Trained(NamedTuple):
    """What comes of it. `examples`: rows that were trained on, each as often as it was; `loss`: their losses' sum."""

    params: Any
    own: Any
    examples: Any
    loss: Any


def client_key(key: jax.Array, number: Any, client: Any) -> jax.Array:
    """The key of `client` in round `number`; `key`: the run's, as words."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(key), number), client)


def order_of(key: jax.Array, count: Any, capacity: int) -> jax.Array:
    """Places `0 .. count` in random order, then the filling: `i32[capacity]`. The same whatever the capacity."""
    places = jnp.arange(capacity, dtype=jnp.uint32)
    ranks = jax.vmap(lambda place: jax.random.bits(jax.random.fold_in(key, place)))(places)
    filling = (places >= count).astype(jnp.uint32) << 31
    return jnp.argsort((ranks >> 1) | filling, stable=True).astype(jnp.int32)


def train(training: Training, numbers: Numbers, start: Start, share: Share, data: Any, steps: Any) -> Trained:
    """Train on `share` of `data` from `start`. `steps`: batches of a pass, u32[]: those of the largest client beside.

    Each batch's gradient is the mean over its rows, plus `mu (w - start)`, plus `control - own`. A batch without rows
    changes nothing. The optimiser's state begins anew.
    """
    with jax.numpy_dtype_promotion("standard"):
        opt_state = training.optimizer.make(numbers.hyper).init(start.params)

    def one_pass(epoch: Any, carry: Any) -> Any:
        return _pass(training, numbers, start, share, data, steps, epoch, carry)

    begun = start.params, opt_state, jnp.float32(0), jnp.float32(0)
    params, _, examples, loss = lax.fori_loop(jnp.uint32(0), numbers.epochs, one_pass, begun)
    return Trained(params, _own(params, start, numbers, share, training), examples, loss)


def _pass(
    training: Training, numbers: Numbers, start: Start, share: Share, data: Any, steps: Any, epoch: Any, carry: Any
) -> Any:
    """One pass over a client's rows. `carry`: weights, the optimiser's state, rows trained on, the sum of losses."""
    rule, size = training.optimizer.make(numbers.hyper), training.size
    rate = training.optimizer.length(numbers.hyper["lr"], jnp.float32(1))
    key = jax.random.fold_in(share.key, epoch)
    order = order_of(jax.random.fold_in(key, ORDER), share.count, share.rows.shape[0])
    row_key = jax.random.fold_in(key, ROWS)
    batches = _batches(training, share)

    def one_batch(step: Any, carry: Any) -> Any:
        params, opt_state, examples, loss = carry
        place = lax.dynamic_slice_in_dim(order, step * size, size)
        there = step * jnp.uint32(size) + jnp.arange(size, dtype=jnp.uint32) < share.count
        active = (epoch * batches + step < share.limit) & (step < batches)
        weight = (there & active).astype(jnp.float32)
        keys = jax.vmap(lambda at: jax.random.fold_in(row_key, at))(place.astype(jnp.uint32))
        rows = MicroBatch(taken(data, taken(share.rows, place)), weight, keys, levels_of(_Held(numbers.hyper)))
        total, gradient = _gradient(training, params, start.model_state, rows)
        gradient = _corrected(gradient, params, numbers, start)
        with jax.numpy_dtype_promotion("standard"):
            moves, after = rule.update(gradient, opt_state, params)
        moved = jax.tree.map(lambda leaf, move: leaf + (rate * move).astype(leaf.dtype), params, moves)
        kept = jax.tree.map(lambda new, old: jnp.where(active, new, old), (moved, after), (params, opt_state))
        return *kept, examples + weight.sum(), loss + total

    return lax.fori_loop(jnp.uint32(0), steps, one_batch, carry)


def _batches(training: Training, share: Share) -> Any:
    """Batches of a pass over the client's own rows."""
    return (share.count + jnp.uint32(training.size - 1)) // jnp.uint32(training.size)


class Alone:
    """The training of one client by itself, as a process of its own does it: the same function, compiled for one."""

    def __init__(self, training: Training) -> None:
        objective, rule = training.objective.applied(), training.optimizer.rule
        self._program = Program(_alone, replace(training, objective=objective, optimizer=rule))
        self.size = training.size

    def __call__(
        self, params: Any, state: Any, data: Any, *, client: int, number: int, mu: float, epochs: int
    ) -> tuple[Any, int]:
        """The weights after round `number`, from `params`, and how many rows they were trained on.

        - `state`: the `ladle.jax.state.State` that a run of this seed begins with. `data`: all of it is the client's.
        """
        require_stateless(state.model_state)
        count = len(jax.tree.leaves(data)[0])
        batches = -(-count // self.size)
        rows = np.zeros(batches * self.size, np.int32)
        rows[:count] = np.arange(count)
        key = client_key(state.key, np.uint32(number), np.uint32(client))
        share = Share(rows, np.uint32(count), np.uint32(batches * epochs), key)
        numbers = Numbers(state.hyper, np.float32(mu), np.uint32(epochs))
        trained = self._program(Start(params, state.model_state), share, data, numbers, np.uint32(batches))
        return trained.params, int(trained.examples)

    def flat(self, params: Any) -> list[np.ndarray]:
        """The weights as a list of arrays of the host."""
        return [np.array(leaf) for leaf in jax.tree.leaves(params)]

    def tree(self, weights: Sequence[np.ndarray], like: Any) -> Any:
        """The inverse of `flat`, in the form of `like`. Raises `ArgumentError` for weights of another model."""
        leaves, form = jax.tree.flatten(like)
        here, there = [leaf.shape for leaf in leaves], [np.shape(one) for one in weights]
        if here != there:
            why, remedy = "the server and its clients share a model", "one task for all of them"
            raise ArgumentError(must("weights", f"have the shapes {here}", there, why, remedy))
        return form.unflatten([jnp.asarray(one, leaf.dtype) for one, leaf in zip(weights, leaves, strict=True)])


def require_stateless(model_state: Any) -> None:
    """Refuse a model whose training changes more than its weights: no rule here joins statistics of clients."""
    if jax.tree.leaves(own_state(model_state)):
        why, remedy = "clients' running statistics have no mean that means anything", "norm='group', or none"
        raise ArgumentError(must("model", "have weights alone in a federation", "a state beside them", why, remedy))


def _alone(training: Training, start: Start, share: Share, data: Any, numbers: Numbers, steps: Any) -> Trained:
    return train(training, numbers, start, share, data, steps)


class _Held(NamedTuple):
    """As much of a state as `levels_of` reads."""

    hyper: Any
    scaling: Any = ()


def _gradient(training: Training, params: Any, model_state: Any, rows: MicroBatch) -> tuple[Any, Any]:
    """The sum of the losses of a batch's rows, and the gradient of their mean."""

    def total(params: Any) -> Any:
        losses, _, _ = checked_losses(training.objective, params, model_state, rows, True)
        # A row without weight may have a loss that is no number: its place is taken, not its value.
        return jnp.sum(jnp.where(rows.weight > 0, losses.astype(jnp.float32) * rows.weight, 0))

    value, gradient = jax.value_and_grad(total)(params)
    share = 1 / jnp.maximum(rows.weight.sum(), 1)
    return value, jax.tree.map(lambda leaf: leaf * share.astype(leaf.dtype), gradient)


def _corrected(gradient: Any, params: Any, numbers: Numbers, start: Start) -> Any:
    pulled = jax.tree.map(
        lambda g, w, first: g + numbers.mu.astype(g.dtype) * (w - first), gradient, params, start.params
    )
    if start.control == ():
        return pulled
    return jax.tree.map(lambda g, c, own: g + c - own, pulled, start.control, start.own)


def _own(params: Any, start: Start, numbers: Numbers, share: Share, training: Training) -> Any:
    """The client's control variate after the round: `own - control + (start - params) / (updates lr)`.

    Option II of Karimireddy et al. 2020, SCAFFOLD (arXiv 1910.06378), eq. 4: the mean gradient on its way.
    """
    if not training.controls:
        return ()
    updates = jnp.minimum(_batches(training, share) * numbers.epochs, share.limit).astype(jnp.float32)
    factor = 1 / jnp.maximum(updates * numbers.hyper["lr"], TINY)
    return jax.tree.map(
        lambda own, c, first, last: jnp.where(updates > 0, own - c + factor * (first - last), own),
        start.own,
        start.control,
        start.params,
        params,
    )
