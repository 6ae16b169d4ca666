"""The geometry that gradient moments are taken in: of g itself, or of P g, as an adaptive optimiser steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.jax.freeze import own_state
from ladle.jax.objective import Objective
from ladle.jax.optimizer import Optimizer
from ladle.jax.programs import Program


def preconditioner(opt_state: Any, hyper: Mapping[str, jax.Array]) -> Any:
    """P = 1 / (sqrt(v) + eps) of the next update: a tree of the parameters' shape, all ones before the first update.

    v is the bias-corrected running average of squared gradients, from updates before this one, so that P does not
    depend on what it scales. AdaptDL's `AdamGradientNoiseScale` uses the same (Qiao et al. 2021, OSDI, section 4.1).

    A coordinate that never had a gradient (v = 0) is left out, P = 0: its first one would be scaled by 1 / eps, and
    a few such would be all that the moments hold.
    """
    held = second_moment(opt_state)
    count = updates_of(held)
    decay = hyper.get("b2", hyper.get("decay", jnp.float32(0)))
    eps = hyper.get("eps", jnp.float32(1e-8))
    correction = jnp.float32(1) if count is None else 1 - decay ** jnp.maximum(count, 1).astype(jnp.float32)
    seen = jnp.stack([jnp.any(leaf != 0) for leaf in jax.tree.leaves(held.nu)])
    begun = jnp.any(seen) if count is None else count > 0

    def factor(leaf: jax.Array) -> jax.Array:
        root = jnp.sqrt(leaf.astype(jnp.float32) / correction)
        return jnp.where(begun, jnp.where(leaf > 0, 1 / (root + eps), 0.0), 1.0)

    return jax.tree.map(factor, held.nu)


def second_moment(opt_state: Any) -> Any:
    """The part of an optax state with `nu`, the running average of squared gradients (Adam and its kin, RMSProp)."""
    parts = jax.tree.leaves(opt_state, is_leaf=holds_second_moment)
    return next((part for part in parts if holds_second_moment(part)), None)


def holds_second_moment(part: Any) -> bool:
    """Whether a part of an optax state is the one with `nu`."""
    return "nu" in getattr(part, "_fields", ())


def updates_of(held: Any) -> Any:
    """Updates behind a part of an optax state, `i32[]`; None where it does not count them.

    By its fields: a plain attribute `count` is that of every tuple.
    """
    return held.count if "count" in held._fields else None


def has_second_moment(objective: Objective, optimizer: Optimizer) -> bool:
    """Whether the optimiser keeps `nu` for every parameter, with constants that are known here.

    One that treats some parameters otherwise (Muon's matrices) keeps none of them; a transformation of the user's has
    constants of its own.
    """
    if optimizer.is_custom:
        return False
    parameters = started(objective)[0]
    state = Program(_trace_rule, optimizer.rule).shape(dict(optimizer.hyper), parameters)
    held = second_moment(state)
    return held is not None and jax.tree.structure(held.nu) == jax.tree.structure(parameters)


def started(objective: Objective) -> tuple[Any, Any]:
    """Shapes of its parameters and of its model's state."""
    return Program(_trace_start, objective.init).shape()


def _trace_start(init: Callable[[jax.Array], tuple[Any, Any]]) -> tuple[Any, Any]:
    return init(jax.random.key(0))


def _trace_rule(rule: Optimizer, hyper: Mapping[str, Any], parameters: Any) -> Any:
    with jax.numpy_dtype_promotion("standard"):
        return rule.make(hyper).init(parameters)


def require_measurable(objective: Objective, optimizer: Optimizer, gauge: Gauge) -> None:
    """Refuse, before any work, to measure what has no meaning. Raises `ArgumentError`."""
    if not objective.additive:
        raise ArgumentError(
            must(
                "gauge",
                "be None for a loss that is not a sum over examples",
                objective.name,
                "with batch statistics an example has no gradient of its own, and so no covariance",
                "group or layer norm, or a batch size that does not depend on gradient noise",
            )
        )
    if (gauge.parts > 1 or gauge.per_example) and jax.tree.leaves(own_state(started(objective)[1])):
        why, remedy = "pieces of its rows would change that state one after the other", "Gauge(parts=1)"
        raise ArgumentError(must("gauge", "cut no micro-batch of a model with a state", gauge, why, remedy))
    if gauge.geometry == "sgd":
        return
    if not has_second_moment(objective, optimizer):
        why = "it keeps no average of squared gradients of every parameter, or with constants unknown here"
        raise ArgumentError(must("geometry", "be 'sgd' with this optimiser", optimizer.name, why, "geometry='sgd'"))
