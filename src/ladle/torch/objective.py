"""`Objective`: what is minimised, one loss per row, of a module and the data's rows `{"x": ..., "y": ...}`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from threading import RLock
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ladle.core.duration import direction_of
from ladle.core.errors import ArgumentError, must, nearest
from ladle.torch.built_in import BuiltIn
from ladle.torch.refuse import coupling
from ladle.torch.row_losses import PerRow, per_row
from ladle.torch.usual import LOSSES, usual_loss, usual_metrics

GENERATORS = RLock()
"""Torch's generators belong to the process: whoever sets them and draws holds this."""

MODULE_NAMES = ("model", "module", "net", "network")
"""A loss whose first argument has such a name takes `(model, batch)`; any other takes `(outputs, y)`."""

Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Objective:
    """Implements `ladle.core.backend.Objective`.

    - `make()`: a fresh module. `function`: the loss, `(outputs, y)` or `(model, batch)` as `of_model` says.
    - `measured`: the metrics, `(outputs, y) -> f32[rows]` each.
    """

    make: Callable[[], nn.Module]
    function: Callable[..., Any]
    measured: tuple[tuple[str, Metric], ...]
    of_model: bool
    name: str
    loss: str
    declared: bool = False
    levels: tuple[str, ...] = ()
    predicts: bool = True

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.measured)

    def direction(self, metric: str) -> str | None:
        """Which way `metric` is better: as its function says, else as its name does."""
        return getattr(dict(self.measured)[metric], "direction", None) or direction_of(metric)

    @cached_property
    def additive(self) -> bool:
        """Whether the loss of a row does not depend on the others: no layer takes statistics of a batch."""
        return coupling(self.fresh(0).train()) is None

    @property
    def norm_rows(self) -> int | None:
        """0 where batch statistics are those of a whole micro-batch; None without batch norm."""
        return None if self.additive else 0

    def fresh(self, seed: int) -> nn.Module:
        """A module whose starting parameters are a function of `seed`; a module that was given keeps its own."""
        with GENERATORS, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.make()

    def per_row_loss(self, model: nn.Module, data: Any) -> Any:
        """`f32[rows]`, or `(losses, weights)`, of rows as tensors."""
        return self.losses(model, data, measured=False)[0]

    def losses(self, model: nn.Module, data: Any, measured: bool = True) -> tuple[Any, dict[str, torch.Tensor]]:
        """The same and each metric of the rows, from one forward pass where the loss is of outputs."""
        if not self.of_model:
            outputs = model(data["x"])
            losses = self.function(outputs, data["y"])
        else:
            losses = self.function(model, data)
            outputs: Any = model(data["x"]) if self.measured and measured else None
        if not measured:
            return losses, {}
        with torch.no_grad():
            return losses, {name: metric(outputs, data["y"]) for name, metric in self.measured}


def objective(model: Any, loss: Any, metrics: Mapping[str, Any] | None, kind: str) -> Objective:
    """The objective of a module, or of a function that makes one, under a loss.

    - `loss`: None or a name of `ladle.losses`; a loss of `torch.nn`, as `per_row` puts it right; a function
      `(outputs, y) -> f32[rows]`, or `(model, batch) -> f32[rows]`.
    """
    make = factory(model)
    function, known = _loss(loss, kind)
    of_model = not known and _first_argument(function) in MODULE_NAMES
    if metrics is None:
        metrics = {} if of_model else usual_metrics(kind)
    return Objective(
        make,
        function,
        tuple(metrics.items()),
        of_model,
        _name(model),
        known or getattr(function, "name", getattr(function, "__name__", type(function).__name__)),
        declared=not known and not isinstance(function, PerRow),
    )


def factory(model: Any) -> Callable[[], nn.Module]:
    """What makes a fresh module: a built-in model, a copy of the one that was given, the function or class itself."""
    if isinstance(model, BuiltIn):
        return model
    if isinstance(model, nn.Module):
        return _Copies(copy.deepcopy(model))
    if not callable(model):
        why, remedy = "its parameters are what is learnt", "an nn.Module, or a function that makes one"
        raise ArgumentError(must("model", "be a torch module or make one", type(model).__name__, why, remedy))
    return _Made(model)


def known_loss(function: Any) -> str | None:
    """The name by which a loss can be found again: of ladle's own, and of torch's that mean the same; else None."""
    found = next((name for name, known in LOSSES.items() if function is known), None)
    if found is not None or not isinstance(function, PerRow):
        return found
    inner: Any = function.loss
    if isinstance(inner, partial):
        return SAME.get(inner.func) if set(inner.keywords) == {"reduction"} else None
    if not isinstance(inner, nn.Module):
        return None
    name, kind = SAME.get(type(inner)), type(inner)
    return name if name and _facts_of(inner) == _facts_of(kind(reduction="none")) else None


SAME: Mapping[Any, str] = {
    nn.CrossEntropyLoss: "cross_entropy",
    nn.BCEWithLogitsLoss: "binary_cross_entropy",
    nn.MSELoss: "mse",
    nn.HuberLoss: "huber",
    functional.cross_entropy: "cross_entropy",
    functional.binary_cross_entropy_with_logits: "binary_cross_entropy",
    functional.mse_loss: "mse",
    functional.huber_loss: "huber",
}
"""Losses of torch, as they are made without arguments, that are ladle's by another name."""


def _facts_of(loss: nn.Module) -> dict[str, Any]:
    """What a loss of torch was made with."""
    own = {name: value for name, value in vars(loss).items() if not name.startswith("_") and name != "training"}
    return {**own, "buffers": sorted(name for name, held in loss.named_buffers() if held is not None)}


@dataclass(frozen=True, eq=False)
class _Copies:
    """Copies of a module, at the parameters that it had when it was handed over."""

    module: nn.Module

    def __call__(self) -> nn.Module:
        return copy.deepcopy(self.module)


@dataclass(frozen=True)
class _Made:
    """Modules of a function, refused where it makes something else."""

    function: Callable[[], Any]

    def __call__(self) -> nn.Module:
        made = self.function()
        if not isinstance(made, nn.Module):
            why = "its parameters are what is learnt"
            raise ArgumentError(
                must("model", "make a torch module", type(made).__name__, why, "lambda: nn.Linear(3, 2)")
            )
        return made


def _loss(loss: Any, kind: str) -> tuple[Callable[..., Any], str | None]:
    """The loss as a function, and its name where it is one of ladle's own."""
    if loss is None:
        loss = usual_loss(kind).__name__
    if getattr(loss, "__module__", "") in ("ladle.models.losses", "ladle.torch.usual"):
        loss = "huber" if loss.__name__ == "huber_loss" else loss.__name__
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ArgumentError(must("loss", "be a known name", loss, "there is no such loss", nearest(loss, LOSSES)))
        return LOSSES[loss], loss
    if isinstance(loss, nn.Module) or getattr(loss, "__module__", "") == "torch.nn.functional":
        return per_row(loss), None
    if not callable(loss) or isinstance(loss, type):
        why, remedy = "rows are judged by it", "loss='cross_entropy', or a function (outputs, y) -> f32[rows]"
        raise ArgumentError(must("loss", "be a function, a torch loss or a name", loss, why, remedy))
    return loss, None


def _first_argument(function: Any) -> str | None:
    try:
        return next(iter(inspect.signature(function).parameters), None)
    except (TypeError, ValueError):
        return None


def _name(model: Any) -> str:
    if isinstance(model, BuiltIn):
        return model.name
    if isinstance(model, nn.Module):
        return type(model).__name__
    return getattr(model, "__name__", type(model).__name__)
