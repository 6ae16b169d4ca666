"""Adam's second moment when the batch size changes. Experimental: exact for a constant gradient, unproven in training.

The running average v of squared gradients estimates G^2 + Sigma_ii / B, coordinate by coordinate. At another batch size
that is another number, and v takes 1/(1 - b2) updates to find it. With an estimate of Sigma_ii it can be told at once:

    v <- max(v + (1 - b2^t) Sigma_ii (1/B_new - 1/B_old), 0)

1 - b2^t is what v has of its average after t updates. No published optimiser does this; AdaptDL sets both moments to
zero instead (petuum/adaptdl, `_reset_adam_state`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.batch import Draw
from ladle.core.errors import ArgumentError, must
from ladle.core.spec import BatchSpec
from ladle.jax.geometry import has_second_moment, holds_second_moment, updates_of
from ladle.jax.host import Sent, sent
from ladle.jax.meaning import Meaning
from ladle.jax.objective import Objective
from ladle.jax.offload import fetched, parked
from ladle.jax.operands import Rung, Window, on_device
from ladle.jax.optimizer import Optimizer
from ladle.jax.parts import parts_of
from ladle.jax.programs import Form, Program
from ladle.jax.resident import ResidentBatch
from ladle.jax.rows import MicroBatch, Resident
from ladle.jax.state import State
from ladle.jax.step import CompiledStep
from ladle.jax.update import micro_gradient
from ladle.jax.vector import TINY

PARTS = 32
"""Pieces that a micro-batch is cut into to estimate Sigma_ii: its relative variance is 2/(PARTS - 1) each."""


class Rebase:
    """Moves the second moment of Adam and its kin to another batch size, for states of `step`.

    Raises `ArgumentError` for an optimiser without a second moment.
    """

    def __init__(self, step: CompiledStep) -> None:
        require_rebasable(step.objective, step.optimizer)
        self.step = step
        meaning, form = step.meaning.applied(), Form(donate=True, layout=step.layout)
        self._resident = Program(_trace_resident, meaning, replace(form, static=("rung",)))
        self._sent = Program(_trace_sent, meaning, form)

    def __call__(self, state: State, draw: Draw, spec: BatchSpec, old_size: int) -> State:
        """`state` with its second moment as batches of `spec.size` would have made it, after batches of `old_size`.

        The noise is estimated on the first micro-batch of `draw`, which is trained on as usual. Consumes the state.
        """
        sizes = np.float32(old_size), np.float32(spec.size)
        if (resident := on_device(draw)) is not None:
            rows, window, _ = self.step.window_operands(resident, spec, 1.0)
            return self._resident(state, rows, window, *sizes, rung=Rung.of(spec, resident.order.program))
        batch = next(iter(draw.micro_batches(0, spec.micro_size)))
        return self._sent(state, sent(self.step.layout, batch, draw.epoch_size), *sizes)


def _trace_resident(
    meaning: Meaning, state: State, resident: Resident, window: Window, old: jax.Array, new: jax.Array, *, rung: Rung
) -> State:
    first = ResidentBatch(meaning, rung, resident, window, state, window.place)
    return _moved(meaning, state, first.micro_batch(), old, new)


def _trace_sent(meaning: Meaning, state: State, micro: Sent, old: jax.Array, new: jax.Array) -> State:
    return _moved(meaning, state, micro.micro_batch(state), old, new)


def _moved(meaning: Meaning, state: State, rows: MicroBatch, old: jax.Array, new: jax.Array) -> State:
    variance = coordinate_variance(meaning.objective, state.params, state.model_state, rows)
    after = rebased(fetched(meaning.layout, state.opt_state), variance, state.hyper, old, new)
    return state._replace(opt_state=parked(meaning.layout, after))


class _Squares(NamedTuple):
    """Sums over pieces j: of G_j (`total`), of G_j^2 / m_j (`squares`), of m_j (`weight`), and how many have weight."""

    total: Any
    squares: Any
    weight: jax.Array
    pieces: jax.Array


def coordinate_variance(objective: Objective, params: Any, model_state: Any, rows: MicroBatch) -> Any:
    """Estimates of Sigma_ii, the variance of one example's gradient in each coordinate: a tree like `params`.

        (sum_j G_j^2 / m_j - G^2 / M) / (k - 1)      G_j the sum of piece j of m_j examples, k pieces

    Unbiased for each coordinate, as `ladle.core.moments.pair` is for their sum.
    """

    def add(sums: _Squares, part: MicroBatch) -> tuple[_Squares, None]:
        done = micro_gradient(objective, params, model_state, part._replace(levels=rows.levels), None)
        squares = jax.tree.map(lambda old, g: old + g * g * done.share, sums.squares, done.gradient)
        total = jax.tree.map(jnp.add, sums.total, done.gradient)
        pieces = sums.pieces + (done.weight > 0).astype(jnp.float32)
        return _Squares(total, squares, sums.weight + done.weight, pieces), None

    none = jax.tree.map(jnp.zeros_like, params)
    start = _Squares(none, none, jnp.float32(0), jnp.float32(0))
    sums, _ = lax.scan(add, start, parts_of(rows, min(PARTS, rows.rows)))
    share, free = 1 / jnp.maximum(sums.weight, TINY), jnp.maximum(sums.pieces - 1, 1)
    return jax.tree.map(lambda g, sq: jnp.maximum(sq - g * g * share, 0) / free, sums.total, sums.squares)


def rebased(opt_state: Any, variance: Any, hyper: Mapping[str, jax.Array], old: jax.Array, new: jax.Array) -> Any:
    """`opt_state` with its second moment moved from batches of `old` to batches of `new` examples."""
    moved = 1 / new - 1 / old

    def part(held: Any) -> Any:
        if not holds_second_moment(held):
            return held
        decay = hyper.get("b2", hyper.get("decay", jnp.float32(0)))
        count = updates_of(held)
        begun = 1 if count is None else 1 - decay ** count.astype(jnp.float32)
        nu = jax.tree.map(lambda v, s: jnp.maximum(v + (begun * moved * s).astype(v.dtype), 0), held.nu, variance)
        return held._replace(nu=nu)

    return jax.tree.map(part, opt_state, is_leaf=holds_second_moment)


def require_rebasable(objective: Objective, optimizer: Optimizer) -> None:
    """Raises `ArgumentError` for an optimiser without a second moment of every parameter."""
    if not has_second_moment(objective, optimizer):
        why = "it keeps no average of squared gradients of every parameter, or with constants unknown here"
        raise ArgumentError(must("rebase", "be False with this optimiser", optimizer.name, why, "rebase=False"))
