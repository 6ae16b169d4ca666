"""What several processes that share a batch have to agree on. One process alone agrees with itself, at no cost.

A model that averages gradients over its ranks (`DistributedDataParallel`) has that undone: with ragged ranks the mean
of their means is not that of the batch. The sum of weights is reduced once, and each gradient divided by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import distributed, nn


def place_of(model: nn.Module) -> tuple[int, int]:
    """Which of the processes that share a batch this is, and how many there are: `(0, 1)` where none are shared."""
    if not (hasattr(model, "no_sync") and distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def unsynchronised(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Where a part runs, forward and backward: reduced over ranks with the last part of an update alone."""
    if last or not hasattr(model, "no_sync"):
        return nullcontext()
    return model.no_sync()  # type: ignore[operator]


def summed(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Each number summed over all ranks: one collective."""
    vector = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.all_reduce(vector)
    return vector.tolist()
