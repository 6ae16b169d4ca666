"""Losses and metrics that a task names: what `ladle.losses` and `ladle.metrics` have in JAX.

A loss or metric is a function `(outputs, y) -> f32[rows]`. A column of outputs is never broadcast against a row of y.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

from ladle.core.errors import ArgumentError, must

Tensor = torch.Tensor
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """Minus the log probability of each row's class. `outputs`: `f32[rows, classes]`; `y`: `[rows]`, whole numbers.

    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([1]))
    tensor([0.6931])
    """
    return functional.cross_entropy(outputs.to(_wide(outputs)), _classes(outputs, y), reduction="none")


def binary_cross_entropy(outputs: Tensor, y: Tensor) -> Tensor:
    """`-y log p - (1 - y) log(1 - p)` of each row, `outputs` being log odds: `[rows]` or `[rows, 1]`."""
    outputs, y = _numbers(outputs, y)
    return functional.binary_cross_entropy_with_logits(outputs, y, reduction="none").mean(1)


def mse(outputs: Tensor, y: Tensor) -> Tensor:
    """`mean_k (outputs_k - y_k)^2` of each row; `[rows]` and `[rows, 1]` mean the same.

    >>> mse(torch.tensor([[1.0], [2.0]]), torch.zeros(2))
    tensor([1., 4.])
    """
    outputs, y = _numbers(outputs, y)
    return (outputs - y).square().mean(1)


def huber(outputs: Tensor, y: Tensor) -> Tensor:
    """`e^2 / 2` where `e = |outputs - y| <= 1`, else `e - 1/2`: the mean over a row's outputs."""
    return functional.huber_loss(*_numbers(outputs, y), reduction="none").mean(1)


def accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """1 where the largest output is that of class `y`; of one column, where its log odds say so. NaN is wrong."""
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        outputs, y = _numbers(outputs, y)
        return (((outputs > 0) == (y > 0.5)) & ~outputs.isnan()).float()[:, 0]
    return ((outputs.argmax(1) == _classes(outputs, y)) & ~outputs.isnan().any(1)).float()


def absolute_error(outputs: Tensor, y: Tensor) -> Tensor:
    """`mean_k |outputs_k - y_k|` of each row."""
    outputs, y = _numbers(outputs, y)
    return (outputs - y).abs().mean(1)


LOSSES: Mapping[str, Loss] = {
    "cross_entropy": cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "mse": mse,
    "huber": huber,
}


def usual_loss(kind: str) -> Loss:
    """`cross_entropy` for "classification", `mse` for "regression"."""
    return cross_entropy if kind == "classification" else mse


def usual_metrics(kind: str) -> dict[str, Loss]:
    """`accuracy` for "classification"; `squared_error`, then `absolute_error`, for "regression"."""
    if kind == "classification":
        return {"accuracy": accuracy}
    return {"squared_error": mse, "absolute_error": absolute_error}


def _classes(outputs: Tensor, y: Tensor) -> Tensor:
    """Class numbers `i64[rows]`."""
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        remedy = "loss='binary_cross_entropy'" if outputs.shape[1:] in ((), (1,)) else "one output per class"
        raise ArgumentError(
            must("outputs", "be [rows, classes], two or more", tuple(outputs.shape), "one is chosen", remedy)
        )
    if y.shape not in ((len(outputs),), (len(outputs), 1)) or y.is_floating_point():
        got = f"{y.dtype} {tuple(y.shape)}"
        raise ArgumentError(must("y", f"be whole numbers of shape ({len(outputs)},)", got, "it numbers classes", "mse"))
    return y.reshape(-1).long()


def _numbers(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """`f32[rows, k]` twice."""
    rows = len(outputs)
    if outputs.ndim == 0 or _shape(outputs) != _shape(y):
        got = f"y {tuple(y.shape)}, outputs {tuple(outputs.shape)}"
        why = "each row is compared with its own target, never with another's"
        remedy = "a model with as many outputs as y has columns"
        raise ArgumentError(must("y", f"have the outputs' shape, {tuple(outputs.shape)}", got, why, remedy))
    outputs = outputs.to(_wide(outputs)).reshape(rows, -1)
    return outputs, y.reshape(rows, -1).to(outputs.dtype)


def _shape(values: Tensor) -> tuple[int, ...]:
    shape = tuple(values.shape)
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape


def _wide(outputs: Tensor) -> torch.dtype:
    return torch.promote_types(outputs.dtype, torch.float32)
