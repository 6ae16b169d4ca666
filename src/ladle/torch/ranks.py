"""What several processes that share a batch have to agree on. One process alone agrees with itself, at no cost.

G = sum over ranks of sum_i w_i grad l_i        W = sum over ranks of sum_i w_i        g = G / W

A mean over ranks of their means would be another gradient where ranks are ragged. So averages that a module takes are
undone, weights are summed over all ranks in one collective, and each gradient is divided once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from torch import distributed, nn

from ladle.core.errors import ArgumentError, must

BUCKET_BYTES = 32 << 20
"""Gradients that travel together: few collectives, and no second copy of all of them."""


@dataclass(frozen=True)
class Ranks:
    """The processes that share a batch, and how a gradient comes to be that of all of them.

    - `index` of `count` is this one. `group`: theirs; None for all processes.
    - `kind`: "alone"; "averaged", as `DistributedDataParallel` does it with the last part of an update; "sharded", as
      `fully_shard` does it with every part, each rank keeping its piece of the mean; "copies" of a plain module, whose
      gradients are added up here.
    """

    index: int = 0
    count: int = 1
    group: Any = None
    kind: Literal["alone", "averaged", "sharded", "copies"] = "alone"

    @classmethod
    def of(cls, model: nn.Module, leaves: Sequence[nn.Parameter]) -> Ranks:
        """Those of a module. Raises `ArgumentError` where its gradients could not be put together."""
        if hasattr(model, "set_requires_gradient_sync"):
            return _sharded(model, leaves)
        if not isinstance(model, nn.parallel.DistributedDataParallel):
            return cls()
        group = model.process_group
        count = distributed.get_world_size(group)
        return cls(distributed.get_rank(group), count, group, "averaged") if count > 1 else cls()

    @property
    def divided(self) -> float:
        """What a reduced gradient was divided by already."""
        return float(self.count) if self.kind in ("averaged", "sharded") else 1.0

    def part(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Where a part runs, forward and backward: those before the last are not averaged over ranks."""
        return model.no_sync() if self.kind == "averaged" and not last else nullcontext()  # type: ignore[operator]

    def parts(self, own: int, device: torch.device) -> int:
        """How many parts this rank has. Where each of them is reduced, all ranks have as many as the one with most."""
        if self.kind != "sharded":
            return own
        most = torch.tensor(own, device=device)
        distributed.all_reduce(most, distributed.ReduceOp.MAX, self.group)
        return int(most)

    def summed(self, numbers: Sequence[float], device: torch.device) -> list[float]:
        """Each number summed over all ranks: one collective."""
        vector = torch.tensor(numbers, dtype=torch.float64, device=device)
        distributed.all_reduce(vector, group=self.group)
        return vector.tolist()

    def reduce(self, leaves: Sequence[nn.Parameter]) -> None:
        """Make `.grad` of copies the sum over all ranks, in place; one that no rank has stays None."""
        if self.kind != "copies":
            return
        had = torch.tensor([leaf.grad is not None for leaf in leaves], dtype=torch.int32, device=leaves[0].device)
        distributed.all_reduce(had, group=self.group)
        used = [leaf for leaf, some in zip(leaves, had.tolist(), strict=True) if some]
        for leaf in used:
            if leaf.grad is None:
                leaf.grad = torch.zeros_like(leaf)
        for bucket in _buckets([leaf.grad for leaf in used if leaf.grad is not None]):
            flat = torch.cat([one.reshape(-1) for one in bucket])
            distributed.all_reduce(flat, group=self.group)
            for one, found in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                one.copy_(found.view_as(one))


ONE = Ranks()
"""One process alone."""


def _sharded(model: Any, leaves: Sequence[nn.Parameter]) -> Ranks:
    """Those of a module under `fully_shard`, which is told to reduce every part, and to take the mean."""
    meshes = {getattr(leaf, "device_mesh", None) for leaf in leaves}
    mesh = next(iter(meshes))
    if len(meshes) != 1 or mesh is None or mesh.ndim != 1:
        why = "squares of gradients are added up over shards, and each has to count once"
        remedy = "fully_shard(model) over one mesh of one dimension, before the optimiser is made"
        raise ArgumentError(must("model", "be sharded whole, over one row of ranks", "another layout", why, remedy))
    count, group = mesh.size(), mesh.get_group()
    model.set_requires_gradient_sync(True)
    for part in model.modules():
        if hasattr(part, "set_gradient_divide_factor"):
            part.set_gradient_divide_factor(float(count))  # What it is unless someone set another.
    return Ranks(distributed.get_rank(group), count, group, "sharded") if count > 1 else Ranks()


def _buckets(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Neighbours of one type, up to `BUCKET_BYTES` together or one that is larger."""
    for _, alike in groupby(gradients, key=lambda one: (one.dtype, one.device)):
        bucket: list[torch.Tensor] = []
        for one in alike:
            if bucket and sum(other.nbytes for other in bucket) + one.nbytes > BUCKET_BYTES:
                yield bucket
                bucket = []
            bucket.append(one)
        yield bucket
