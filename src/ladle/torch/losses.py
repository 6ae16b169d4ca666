"""The losses of one part brought to a sum: one number a row, or `(losses, weights)`. A mean of rows is refused."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from ladle.core.errors import ArgumentError, must

Number = float | torch.Tensor


class Sum(NamedTuple):
    """`loss`: sum of w_i l_i, which backward is called on. `weight`: sum of w_i. `weight_sq`: of w_i^2, by rows.

    These are numbers where they are known without reading the device. `rows`: `f32[real]`, w_i; None for all one.
    """

    loss: torch.Tensor
    weight: Number
    weight_sq: Number
    rows: torch.Tensor | None = None

    def of(self, values: torch.Tensor, real: int) -> torch.Tensor:
        """The sum of w_i times `values`, a metric of each row."""
        values = values.detach()[:real].float()
        return values.sum() if self.rows is None else (values * self.rows).sum()


def weighted(losses: Any, rows: int, real: int, weight: torch.Tensor | None) -> Sum:
    """The sum of a part's losses.

    - `losses`: `f32[rows]`; or `(losses, weights)` of one shape, rows first: losses of tokens and 1 for those that
      count. `real`: how many of the `rows` are rows of the batch; those behind them are copies.
    - `weight`: `f32[rows]` that the batch gives its rows; None for all one.

    Raises `ArgumentError` for a loss that was reduced already, with the shape that it should have.

    >>> weighted(torch.tensor([1.0, 2.0, 2.0]), rows=3, real=2, weight=None)
    Sum(loss=tensor(3.), weight=2.0, weight_sq=2.0, rows=None)
    """
    if isinstance(losses, tuple):
        return _of_pair(*_pair(losses, rows), real, weight)
    _require_rows(losses, rows)
    if losses.dtype in (torch.float16, torch.bfloat16):
        losses = losses.float()
    if real < rows:
        losses = losses[:real]
    if weight is None:
        return Sum(losses.sum(), float(real), float(real))
    weight = weight[:real].to(losses)
    return Sum((losses * weight).sum(), weight.sum(), (weight * weight).sum(), weight)


def _of_pair(losses: torch.Tensor, weights: torch.Tensor, real: int, weight: torch.Tensor | None) -> Sum:
    losses = losses.to(torch.promote_types(losses.dtype, torch.float32))[:real]
    weights = weights.detach().to(losses)[:real]
    if weight is not None:
        weights = weights * weight[:real].to(losses).reshape(-1, *[1] * (weights.ndim - 1))
    of_rows = weights.reshape(real, -1).sum(1) if real else weights.reshape(-1)
    return Sum((losses * weights).sum(), of_rows.sum(), (of_rows * of_rows).sum(), of_rows)


def _pair(losses: tuple[Any, ...], rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    if len(losses) != 2 or not all(isinstance(one, torch.Tensor) for one in losses):
        got, why = f"a tuple of {len(losses)}", "what is divided by is the sum of the weights"
        raise ArgumentError(must("loss", "return losses, or (losses, weights)", got, why, "two tensors of one shape"))
    one, weights = losses
    if one.shape != weights.shape or one.ndim < 1 or len(one) != rows:
        got = f"losses {tuple(one.shape)}, weights {tuple(weights.shape)}"
        why = "each loss has its own weight, rows first"
        raise ArgumentError(must("loss", f"return two tensors of one shape, ({rows}, ...)", got, why, "(l, mask)"))
    return one, weights


def _require_rows(losses: Any, rows: int) -> None:
    if not isinstance(losses, torch.Tensor):
        why = "it is weighted by rows and summed"
        raise ArgumentError(must("loss", "return a tensor", type(losses).__name__, why, f"shape ({rows},)"))
    if losses.ndim == 0:
        why = "a mean taken inside it could not be weighted, so accumulation and ragged batches would be wrong"
        remedy = "ladle.torch.per_row(loss), or reduction='none'"
        raise ArgumentError(must("loss", f"return one number per row, shape ({rows},)", "one number", why, remedy))
    if losses.shape != (rows,):
        why = "a row is weighted as a whole, whatever it consists of"
        remedy = "a mean over all axes but the first, or (losses, weights) of one shape, rows first"
        raise ArgumentError(
            must("loss", f"return one number per row, shape ({rows},)", tuple(losses.shape), why, remedy)
        )
