"""Whether the loss of a row depends on the other rows of its batch, tried once before its noise is measured."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ladle.core.errors import ArgumentError, must
from ladle.torch.losses import weighted
from ladle.torch.tree import rows_of, taken
from ladle.torch.untouched import kept_generators

CLOSE = 1e-4
"""Relative difference that rounding may make in the loss of a row."""


def in_company(model: nn.Module, rows: Any, loss: Callable[[nn.Module, Any], Any]) -> tuple[float, float]:
    """The loss of the first row among the others, and among as many copies of itself.

    Both passes draw the same random numbers. Buffers and generators are afterwards what they were; nothing has a
    gradient. That the two agree is evidence that a row's loss is its own, no proof.
    """
    count = rows_of(rows)
    found, first = [], torch.zeros(count)
    first[0] = 1.0  # The loss of the first row alone, whatever a row consists of.
    buffers = [(leaf, leaf.clone()) for leaf in model.buffers()]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That nothing has a gradient, as checkpoints say, is meant.
        for places in (torch.arange(count), torch.zeros(count, dtype=torch.int64)):
            with kept_generators():
                losses = loss(model, taken(rows, places))
                found.append(float(weighted(losses, count, count, first).loss))
        for leaf, before in buffers:
            leaf.copy_(before)
    return found[0], found[1]


def coupled(found: tuple[float, float]) -> bool:
    """Whether two losses of one row differ by more than rounding.

    >>> coupled((2.0, 2.0000001)), coupled((2.0, 1.9))
    (False, True)
    """
    one, other = found
    return abs(one - other) > CLOSE * max(abs(one), abs(other), CLOSE)


def require_independent(model: nn.Module, rows: Any, loss: Callable[[nn.Module, Any], Any]) -> None:
    """Refuse to measure the noise of a loss whose first row has another loss in other company."""
    found = in_company(model, rows, loss)
    if coupled(found):
        got = f"one by which a row's loss is {found[0]:.4g} or {found[1]:.4g} with its company"
        why = "then a row has no gradient of its own, and so no covariance"
        remedy = "gauge=None, and a batch size that does not depend on gradient noise"
        raise ArgumentError(must("loss", "be a sum over rows where its noise is measured", got, why, remedy))
