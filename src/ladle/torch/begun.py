"""An update between its beginning and its step: what its parts came to so far, read once at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from ladle.core.errors import ArgumentError, must
from ladle.torch.losses import Number, Sum
from ladle.torch.noise_sums import Pieces, gradients_of, watching
from ladle.torch.numbers import FEW, norms_of, numbers_of
from ladle.torch.ranks import ONE, Ranks

TINY = 1e-30
"""Least sum of weights: a batch that weighs nothing has no gradient, not one of 0/0."""


class Read(NamedTuple):
    """An update as numbers of the host: sums over all its parts and ranks; `norm` of its summed gradient."""

    loss: float
    weight: float
    examples: float
    norm: float
    metrics: dict[str, float]
    pieces: Pieces


@dataclass
class Begun:
    """Parts of one update, added up.

    - `measured`: squares of each part's gradient are taken. `leaves`: parameters of the optimiser.
    - `alone`: there is one part, on one process. `whole`: the weight that several will have together, where it is known
      and a power of two. `by`: what the gradient was divided by on the way for that, at no cost.
    - `shares`: 1 / `by` as tensors of the device, kept from update to update.
    - `examples`: rows of the batch in the `parts` so far. The lists have an entry for each backward pass.
    """

    measured: bool
    alone: bool
    leaves: list[nn.Parameter]
    generators: list[torch.Generator]
    ranks: Ranks = ONE
    whole: float | None = None
    by: float = 1.0
    shares: dict[tuple[float, torch.dtype, torch.device], torch.Tensor] = field(default_factory=dict)
    examples: int = 0
    parts: int = 0
    sums: list[Sum] = field(default_factory=list)
    squares: list[torch.Tensor] = field(default_factory=list)
    metrics: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def add(self, found: Sum, metrics: dict[str, torch.Tensor], scaler: Any) -> None:
        """Backward of one part, divided on the way where the weight of the whole update is known by then."""
        total = found.loss if scaler is None else scaler.scale(found.loss)
        seed = self._share(found.weight, total)
        if self.measured and self.ranks.kind == "sharded":
            self.squares.append(_swapped(self.leaves, total) * self.ranks.divided**2)
        elif self.measured:
            with watching(self.leaves) as seen:
                total.backward(seed)
            self.squares.append(seen.square())
        else:
            total.backward(seed)
        self.sums.append(Sum(found.loss.detach(), found.weight, found.weight_sq))
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append(value)

    def _share(self, weight: Number, total: torch.Tensor) -> torch.Tensor | None:
        """What backward begins with: 1 / the whole weight; None for 1, where the sum is divided at the end.

        Of several parts each is divided: by a power of two, so that their sum is the sum divided, to the bit.
        """
        whole = weight if self.alone else self.whole
        if whole is None or isinstance(weight, torch.Tensor) or isinstance(whole, torch.Tensor):
            if self.by != 1.0:  # The part before this one had a weight that was known.
                torch._foreach_mul_(gradients_of(self.leaves), self.by)  # pyright: ignore[reportPrivateImportUsage]
            self.whole, self.by = None, 1.0
            return None
        self.by = max(whole, TINY)
        key = self.by, total.dtype, total.device
        if key not in self.shares:
            if len(self.shares) >= FEW:
                self.shares.clear()
            self.shares[key] = total.new_tensor(1 / self.by)
        return self.shares[key]

    def require_whole(self) -> None:
        """Refuse a step where a part had no backward pass, or none came."""
        if not self.parts or len(self.sums) != self.parts:
            got, why = f"{len(self.sums)} of {self.parts} parts", "the gradient is the sum of all parts"
            raise ArgumentError(must("step", "follow a backward for each part", got, why, "part.backward(losses)"))

    def read(self, gradients: list[torch.Tensor], scaler: Any) -> Read:
        """The one read of the device, and what all ranks have together. `gradients` are unscaled."""
        told = [[one.loss for one in self.sums], *self.metrics.values()]
        sums = [one[0] if len(one) == 1 else torch.stack(one).sum() for one in told]
        weights = [number for one in self.sums for number in (one.weight, one.weight_sq)]
        norms = norms_of(gradients)
        numbers = numbers_of([*norms, *sums, *weights, *self.squares])
        norm, numbers = math.hypot(*numbers[: len(norms)]), numbers[len(norms) :]
        loss, *metrics = numbers[: len(sums)]
        pairs, squares = numbers[len(sums) : len(sums) + len(weights)], numbers[len(sums) + len(weights) :]
        scale = scaler.get_scale() if scaler is not None and squares else 1.0
        mine = [norm**2, loss, sum(pairs[::2]), float(self.examples), *metrics]
        of_pieces = [*(square / scale**2 for square in squares), *pairs[::2], *pairs[1::2]] if squares else []
        sharded = self.ranks.kind == "sharded"
        if not sharded:  # Pieces are the parts of each rank; of shards, the same part of all ranks is one.
            of_pieces = list(vars(Pieces.of(of_pieces)).values())
        if self.ranks.count > 1:
            found = self.ranks.summed([*mine, *of_pieces], gradients[0].device)
            mine, of_pieces = found[: len(mine)], found[len(mine) :]
        square, loss, weight, examples, *metrics = mine
        pieces = Pieces.of(of_pieces) if sharded else Pieces(*of_pieces)
        norm = math.sqrt(square) if sharded else norm
        return Read(loss, weight, examples, norm, dict(zip(self.metrics, metrics, strict=True)), pieces)


def _swapped(leaves: list[nn.Parameter], total: torch.Tensor) -> torch.Tensor:
    """Backward of one part of a sharded module, whose parameters know no hooks: |shard of its gradient|^2."""
    before = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    total.backward()
    found = [norm.float() if norm.dtype is not torch.float64 else norm for norm in norms_of(gradients_of(leaves))]
    for leaf, sum_so_far in zip(leaves, before, strict=True):
        if sum_so_far is not None and leaf.grad is not None:
            leaf.grad += sum_so_far
        elif sum_so_far is not None:
            leaf.grad = sum_so_far
    return torch.stack([norm * norm for norm in found]).sum()
