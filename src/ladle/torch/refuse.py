"""What an `Update` cannot do right is refused before the first pass, in one sentence each."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.spec import require_count

NORMS = nn.modules.batchnorm._BatchNorm
"""Layers by which the loss of a row depends on the others of its batch."""


def require_usable(model: Any, optimizer: Any) -> None:
    """Refuse models and optimisers whose updates are not the optimiser's step after a backward pass."""
    if type(model).__module__.partition(".")[0] == "deepspeed":
        why = "its engine owns backward, division and step"
        raise ArgumentError(must("model", "be a torch module", "a DeepSpeed engine", why, "DistributedDataParallel"))
    if isinstance(model, nn.DataParallel):
        why = "it splits rows by itself, and a part's rows would be cut twice"
        raise ArgumentError(
            must("model", "be the module itself", "DataParallel", why, "DistributedDataParallel under torchrun")
        )
    if not isinstance(model, nn.Module):
        why = "its parameters are what is updated"
        raise ArgumentError(must("model", "be a torch module", type(model).__name__, why, "an nn.Module"))
    if type(model).__name__ == "_FabricModule":
        why = "it does not tell whether several processes share its gradients"
        raise ArgumentError(must("model", "be the module itself", "Fabric's wrapper", why, "what setup() was given"))
    if type(model).__name__ == "FullyShardedDataParallel":
        why = "it flattens parameters, and their norms and moments are not added up here"
        raise ArgumentError(must("model", "be sharded by fully_shard", "FullyShardedDataParallel", why, "fully_shard"))
    if getattr(model, "_comm_hooks", None):
        why = "it may change gradients, and their average over ranks is undone here"
        raise ArgumentError(must("model", "have no communication hook", "one is registered", why, "the model without"))
    if not isinstance(optimizer, torch.optim.Optimizer):
        why = "its step follows the backward passes"
        raise ArgumentError(
            must("optimizer", "be a torch optimiser", type(optimizer).__name__, why, "torch.optim.AdamW(...)")
        )
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    needed = closure is not None and closure.default is inspect.Parameter.empty
    if needed or isinstance(optimizer, torch.optim.LBFGS):
        why = "it computes the loss again within its step, on a batch that is gone by then"
        raise ArgumentError(
            must("optimizer", "step without a closure", type(optimizer).__name__, why, "torch.optim.AdamW(...)")
        )


def require_numbers(micro_size: Any, clip: Any, rng: Any) -> None:
    """Refuse numbers that cannot be."""
    if micro_size is not None:
        require_count("micro_size", micro_size)
    if clip is not None and not (isinstance(clip, int | float) and 0 < clip < float("inf")):
        why = "it is the largest norm of the mean gradient"
        raise ArgumentError(must("clip", "be a positive number", clip, why, "clip=1.0, or None"))
    if rng not in ("position", "user"):
        why = "random numbers are a function of the position, or left alone"
        raise ArgumentError(must("rng", "be 'position' or 'user'", rng, why, "rng='position'"))


def coupling(model: nn.Module) -> str | None:
    """The name of a layer by which rows depend on each other while it trains; None where none is known."""
    for name, part in model.named_modules():
        # One that keeps no running statistics takes those of its batch in any mode.
        if isinstance(part, NORMS) and (part.training or part.running_mean is None):
            return name
    return None


def require_gaugeable(model: nn.Module, gauge: Gauge) -> None:
    """Refuse to measure the noise of a loss that is no sum over rows, and ways of measuring that are not here."""
    if (layer := coupling(model)) is not None:
        why = f"with the batch statistics of {layer!r} a row has no gradient of its own, and so no covariance"
        raise ArgumentError(must("gauge", "be None for a loss that is not a sum over rows", gauge, why, "GroupNorm"))
    for name, only in (("geometry", "sgd"), ("projection", False)):
        if getattr(gauge, name) != only:
            why = "the torch backend takes plain squares"
            raise ArgumentError(
                must(name, f"be {only!r} with torch", getattr(gauge, name), why, f"Gauge({name}={only!r})")
            )


def require_pieces_of(gauge: Gauge, steps: int, ranks: int, moves: bool) -> None:
    """Refuse one gradient an example in a loop of someone else's, where its micro-batches are the pieces.

    - `steps`: micro-batches of an update. `ranks`: processes. `moves`: whether a policy may accumulate more of them.
    """
    if gauge.per_example and (moves or steps * ranks > 1):
        got = "a policy that moves accumulation" if moves else f"{steps} micro-batches on {ranks} processes"
        why = "there the gradients of micro-batches are compared, each of which is one backward pass of the host's"
        remedy = "Gauge(), or ladle.torch.Update in a loop of your own"
        raise ArgumentError(must("per_example", "have one micro-batch an update to go through", got, why, remedy))
