"""`Objective`: what is minimised, as pure functions of parameters and a batch. Always one loss per example."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from ladle.core.duration import direction_of
from ladle.core.errors import ArgumentError, must
from ladle.jax.arithmetic import PLAIN, Arithmetic
from ladle.jax.precision import LOSS_SCALE

LEVELS = ("dropout", "label_smoothing")
"""Constants of a run that a model or a loss takes, if it has an argument of that name."""


class Rows(Protocol):
    """What a loss sees of one micro-batch; see `ladle.jax.rows.MicroBatch`."""

    data: Any
    weight: jax.Array
    keys: jax.Array | None

    @property
    def levels(self) -> Mapping[str, jax.Array] | None: ...


@dataclass(frozen=True)
class Objective:
    """Per-example losses and what belongs to them.

    - `init(key) -> (params, model_state)`.
    - `losses(params, model_state, rows, train) -> (f32[examples], {metric: f32[examples]}, model_state)`.
    - `predict(params, model_state, x) -> outputs`, or None.
    - `additive`: the loss of an example does not depend on the others in the batch. Where it does (batch norm in
      training), a micro-batch is part of the definition of the loss and must not be chosen by memory alone.
    - `loss`: the loss function in one line. `directions`: which way each of `metrics` is better.
    - `declared`: whoever wrote the loss says so, and `ladle.jax.independence` tries it before its noise is measured.
    - `metrics`: names of the metrics that `losses` returns.
    - `norm_rows`: how many rows its batch norm takes together, 0 for a whole micro-batch; None without one.
    - `levels`: the regularisation levels that `losses` takes from its rows: "dropout", "label_smoothing".
    - `arithmetic`: the type that the model computes in, and what it computes twice; `losses` and `predict` do so.
    """

    init: Callable[[jax.Array], tuple[Any, Any]]
    losses: Callable[..., tuple[jax.Array, Mapping[str, jax.Array], Any]]
    predict: Callable[[Any, Any, Any], Any] | None
    additive: bool = True
    metrics: tuple[str, ...] = ()
    name: str = "objective"
    levels: tuple[str, ...] = ()
    declared: bool = False
    loss: str = "loss"
    directions: tuple[str | None, ...] = ()
    arithmetic: Arithmetic = PLAIN
    norm_rows: int | None = None

    @property
    def predicts(self) -> bool:
        return self.predict is not None

    def applied(self) -> Objective:
        """The same as far as updates and judging read it: without `init`, and what only a record tells."""
        losses, predict = (getattr(part, "applied", lambda part=part: part)() for part in (self.losses, self.predict))
        told = {"name": "", "loss": "", "directions": (), "declared": False, "norm_rows": None}
        return replace(self, init=_not_here, losses=losses, predict=predict, **told)

    def direction(self, metric: str) -> str | None:
        """Which way `metric` is better: as its function says, else as its name does."""
        said = dict(zip(self.metrics, self.directions, strict=False)).get(metric)
        return said or direction_of(metric)


def of_model(
    model: Any,
    loss: Callable[..., jax.Array],
    metrics: Mapping[str, Callable[..., jax.Array]],
    arithmetic: Arithmetic = PLAIN,
) -> Objective:
    """The objective of a model (`ladle.models`) under `loss(outputs, y) -> f32[examples]`."""
    losses = ModelLosses(model, loss, tuple(metrics.items()), arithmetic)
    return Objective(
        model.init,
        losses,
        ModelOutputs(model, arithmetic),
        model.additive,
        tuple(metrics),
        model.name,
        losses.levels,
        declared=not getattr(loss, "__module__", "").startswith("ladle."),
        loss=_name_of(loss),
        directions=_directions(metrics),
        arithmetic=arithmetic,
        norm_rows=getattr(model, "norm_rows", None),
    )


@dataclass(frozen=True)
class ModelLosses:
    """`losses` of a model: see `Objective`. A value, so that equal tasks have equal programs."""

    model: Any
    loss: Callable[..., jax.Array]
    metrics: tuple[tuple[str, Callable[..., jax.Array]], ...]
    arithmetic: Arithmetic = PLAIN

    @property
    def levels(self) -> tuple[str, ...]:
        """Those that the model or the loss takes."""
        return tuple(name for name in LEVELS if _names(self.model.apply, name) or _names(self.loss, name))

    def applied(self) -> ModelLosses:
        return replace(self, model=_applied(self.model))

    def __call__(self, params: Any, model_state: Any, rows: Rows, train: bool):
        data, levels = rows.data, (rows.levels or {}) if train else {}
        own, smoothing = (
            {name: value for name, value in levels.items() if _names(function, name)}
            for function in (self.model.apply, self.loss)
        )
        apply = self.arithmetic.model(self.model.apply, levels.get(LOSS_SCALE))
        outputs, model_state = apply(
            params, model_state, data["x"], keys=rows.keys, weight=rows.weight, train=train, **own
        )
        measured = {name: metric(outputs, data["y"]) for name, metric in self.metrics}
        return self.loss(outputs, data["y"], **smoothing), measured, model_state


@dataclass(frozen=True)
class ModelOutputs:
    """`predict` of a model: see `Objective`."""

    model: Any
    arithmetic: Arithmetic = PLAIN

    def applied(self) -> ModelOutputs:
        return replace(self, model=_applied(self.model))

    def __call__(self, params: Any, model_state: Any, x: Any) -> Any:
        count = jax.tree.leaves(x)[0].shape[0]
        apply = self.arithmetic.model(self.model.apply, None)
        outputs, _ = apply(params, model_state, x, keys=None, weight=jnp.ones(count), train=False)
        return outputs


def of_functions(
    init: Callable[..., Any],
    loss: Callable[..., Any],
    *,
    predict: Callable[..., Any] | None = None,
    metrics: Mapping[str, Callable[..., jax.Array]] | None = None,
    has_state: bool = False,
    additive: bool = True,
    arithmetic: Arithmetic = PLAIN,
) -> Objective:
    """The objective of plain functions.

    - `init(key) -> params`, or `(params, model_state)` with `has_state=True`.
    - `loss(params, batch, key) -> f32[examples]`; with `has_state=True`
      `loss(params, model_state, batch, key) -> (f32[examples], model_state)`. `key` may be left out of the signature,
      and a last argument `weight` may be in it.
    - `predict(params, x) -> outputs`; with `has_state=True` `predict(params, model_state, x)`.
    - `metrics`: `{name: metric(outputs, y) -> f32[examples]}`; needs `predict`.

    `batch` is the micro-batch's data (`{"x": ..., "y": ...}`), `key` one random key per micro-batch. In evaluation the
    same loss is called with a fixed key.
    """
    metrics = dict(metrics or {})
    if metrics and predict is None:
        raise ArgumentError(must("predict", "be given", None, "metrics are computed from predictions", "predict=..."))
    outputs, name = FunctionOutputs(predict, has_state, arithmetic) if predict else None, _name_of(loss)
    losses = FunctionLosses(loss, has_state, outputs if metrics else None, tuple(metrics.items()), arithmetic)
    directions = _directions(metrics)
    return Objective(
        FunctionStart(init, has_state),
        losses,
        outputs,
        additive,
        tuple(metrics),
        name,
        declared=True,
        loss=name,
        directions=directions,
        arithmetic=arithmetic,
    )


@dataclass(frozen=True)
class FunctionStart:
    """`init` of plain functions."""

    function: Callable[..., Any]
    has_state: bool

    def __call__(self, key: jax.Array) -> tuple[Any, Any]:
        made = self.function(key)
        return made if self.has_state else (made, ())


@dataclass(frozen=True)
class FunctionOutputs:
    """`predict` of plain functions."""

    function: Callable[..., Any]
    has_state: bool
    arithmetic: Arithmetic = PLAIN

    def __call__(self, params: Any, model_state: Any, x: Any) -> Any:
        function = self.arithmetic.outputs(self.function)
        return function(params, model_state, x) if self.has_state else function(params, x)


@dataclass(frozen=True)
class FunctionLosses:
    """`losses` of plain functions. `outputs`: what the metrics are computed from, where there are any."""

    function: Callable[..., Any]
    has_state: bool
    outputs: FunctionOutputs | None
    metrics: tuple[tuple[str, Callable[..., jax.Array]], ...]
    arithmetic: Arithmetic = PLAIN

    def __call__(self, params: Any, model_state: Any, rows: Rows, train: bool):
        # One key per micro-batch: plain functions take one, whatever number of examples they see.
        key = rows.keys[0] if rows.keys is not None else jax.random.key(0)
        function = partial(self.function, weight=rows.weight) if _asks(self.function, "weight") else self.function
        arguments = (rows.data, key) if _takes(function, 4 if self.has_state else 3) else (rows.data,)
        scale = (rows.levels or {}).get(LOSS_SCALE) if train else None
        function = self.arithmetic.loss(function, self.has_state, scale)
        if self.has_state:
            values, model_state = function(params, model_state, *arguments)
        else:
            values = function(params, *arguments)
        outputs = self.outputs and self.outputs(params, model_state, rows.data["x"])
        measured = {name: metric(outputs, rows.data["y"]) for name, metric in self.metrics}
        return values, measured, model_state


def _directions(metrics: Mapping[str, Any]) -> tuple[str | None, ...]:
    """What the metrics' functions say themselves; see `ladle.metrics.higher`."""
    return tuple(getattr(metric, "direction", None) for metric in metrics.values())


def checked_losses(objective: Objective, params: Any, model_state: Any, rows: Any, train: bool):
    """`objective.losses`, refused at trace time unless it returns one number per example."""
    losses, metrics, model_state = objective.losses(params, model_state, rows, train)
    expected = rows.weight.shape
    for name, value in {"loss": losses, **metrics}.items():
        if jnp.shape(value) != expected:
            raise ArgumentError(_misshapen(name, jnp.shape(value), expected))
    return losses, metrics, model_state


def _misshapen(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What is wrong with values of shape `found`, one number for each example being `expected`."""
    be = f"return one number per example, shape {expected}"
    if len(found) > 1 and found[:1] == expected:
        axes = "axis=1" if len(found) == 2 else f"axis={tuple(range(1, len(found)))}"
        why = "an example is weighted as a whole, whatever it consists of"
        return must(name, be, found, why, f"a mean over all axes but the first, .mean({axes})")
    why = "a mean taken inside it could not be weighted, so accumulation and ragged batches would be wrong"
    return must(name, be, found, why, "leaving out the final mean or sum over examples")


def _applied(model: Any) -> Any:
    """The model as far as its `apply` reads it: one that starts from given arrays need not hold them for that."""
    return getattr(model, "applied", model)


def _not_here(key: jax.Array) -> tuple[Any, Any]:
    raise NotImplementedError("an update reads no starting parameters")


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError):  # It takes another number, or (built in) does not say.
        return False
    return True


def _names(function: Callable[..., Any], name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _asks(function: Callable[..., Any], name: str) -> bool:
    """Whether it has to be given an argument of that name: one with a default is the user's own."""
    try:
        found = inspect.signature(function).parameters.get(name)
    except (TypeError, ValueError):
        return False
    return found is not None and found.default is found.empty


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
