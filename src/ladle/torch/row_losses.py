"""`per_row`: torch's own losses, which average over a batch, as losses of one number a row."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ladle.core.errors import ArgumentError, must

CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
"""Losses with targets to be left out (`ignore_index`) and a weight for each class: torch divides by these weights."""

OTHERWISE = (nn.CTCLoss, nn.AdaptiveLogSoftmaxWithLoss)
"""Losses whose mean divides by something else than rows or elements."""


def per_row(loss: nn.Module | Callable[..., Any]) -> PerRow:
    """A copy of a torch loss that answers `f32[rows]`, or `(losses, weights)` where its mean leaves targets out.

        loss = ladle.torch.per_row(nn.CrossEntropyLoss())
        update(batch, lambda model, batch: loss(model(batch["x"]), batch["y"]))

    The weighted mean of what it answers is what the loss itself answers for the whole batch, also for targets that are
    left out (`ignore_index`), weights of classes, and targets of tokens `[rows, T]`.

    - `loss`: a module of `torch.nn` with `reduction="mean"` (or "none"), or a function of `torch.nn.functional`.

    Raises `ArgumentError` for a sum, and for what has no reduction that could be left out.

    >>> per_row(nn.MSELoss())(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.zeros(2, 2))
    tensor([5., 0.])
    """
    if isinstance(loss, PerRow):
        return loss
    name = getattr(loss, "__name__", type(loss).__name__)
    if isinstance(loss, OTHERWISE):
        raise _refused(name, "its mean divides by lengths of targets")
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        if loss.reduction not in ("mean", "batchmean", "none"):
            raise _refused(name, f"reduction={loss.reduction!r} grows with the batch")
        made: Any = copy.deepcopy(loss)
        made.reduction = "none"
        classes = isinstance(loss, CLASSES)
        weight = getattr(loss, "weight", None)
        if classes and getattr(loss, "label_smoothing", 0.0) and weight is not None and not bool((weight > 0).all()):
            raise _refused(name, "smoothed labels of a class of weight 0 count beside its weight")
        return PerRow(made, name, classes, loss.reduction == "batchmean", made.ignore_index if classes else None)
    if callable(loss) and "reduction" in _parameters(loss):
        classes = "ignore_index" in _parameters(loss)
        ignored = _parameters(loss)["ignore_index"].default if classes else None
        return PerRow(partial(loss, reduction="none"), name, classes, False, ignored)
    raise _refused(name, "it has no reduction that could be left out")


@dataclass(frozen=True)
class PerRow:
    """A loss of rows; made by `per_row`. Called as the loss itself is: `(outputs, targets)`."""

    loss: Callable[..., torch.Tensor]
    name: str
    classes: bool = False
    summed: bool = False
    ignored: int | None = None

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor, **more: Any) -> Any:
        losses = self.loss(outputs, targets, **more)
        if self.classes and not targets.is_floating_point():
            return self._of_classes(losses, targets)
        if losses.ndim < 2:
            return losses
        flat = losses.flatten(1)
        return flat.sum(1) if self.summed else flat.mean(1)

    def _of_classes(self, losses: torch.Tensor, targets: torch.Tensor) -> Any:
        """Losses of targets with their weights: 0 for those left out, else 1 or that of the class."""
        counted = targets != self.ignored
        weight = getattr(self.loss, "weight", None)
        if weight is None:
            return losses, counted.to(losses.dtype)
        weights = torch.where(counted, weight[torch.where(counted, targets, 0)], 0)
        return losses / torch.where(weights > 0, weights, 1), weights


def _parameters(loss: Callable[..., Any]) -> Any:
    try:
        return inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return {}


def _refused(name: str, why: str) -> ArgumentError:
    remedy = "a function (outputs, targets) -> f32[rows]"
    return ArgumentError(must("loss", "be a mean that can be left out", name, why, remedy))
