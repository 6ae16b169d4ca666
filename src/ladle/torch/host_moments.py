"""Gradient moments in a training loop that someone else owns: what its backward passes made is watched, never changed.

A host calls backward on losses that it has divided already. Written with a weight u_i for each example,

    piece j adds    G_j = sum_i u_i grad l_i      u_i = 1/(k m_j): the mean over its m_j rows, over k micro-batches
    the host steps by    g = sum_j G_j / R        R processes, whose gradients are averaged
    the mean gradient is    g R / U               U = sum of all u_i: 1, but for a short last window

so unequal micro-batches, and a window that is divided by more of them than it has, are exact by `core.moments.pair`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from ladle.core.moments import Gauge, Moments
from ladle.torch.losses import Number, weighted
from ladle.torch.noise_sums import NONE, Pieces, gradients_of, watching
from ladle.torch.numbers import norms_of, numbers_of
from ladle.torch.ranks import ONE
from ladle.torch.tree import cut


class Share(NamedTuple):
    """What a piece weighs in the host's loss: sums of u_i and of u_i^2 over its `rows`.

    A weight that lies on the device stays there, and is read with the squares.

    >>> Share.mean(rows=4, of=2)
    Share(weight=0.5, weight_sq=0.0625, rows=4)
    """

    weight: Number
    weight_sq: Number
    rows: int

    @classmethod
    def mean(cls, rows: int, of: float) -> Share:
        """A mean over `rows`, divided by `of` micro-batches."""
        return cls(1 / of, 1 / (rows * of * of), rows)


@dataclass
class Meter:
    """Adds up the moments of updates that a host makes: `begin`, a `piece` around each backward, `end` before its step.

    - `leaves`: the parameters that are trained. `ranks`: processes that average their gradients.
    - `stride`: one update in so many is measured. A window's sums are in `sums` until they are taken.

    >>> w = nn.Parameter(torch.zeros(2))
    >>> meter = Meter([w], stride=1)
    >>> meter.begin()
    >>> for x in ([1.0, 0.0], [3.0, 0.0]):
    ...     with meter.piece(Share.mean(rows=1, of=2)):
    ...         ((w * torch.tensor(x)).sum() / 2).backward()
    >>> meter.end()
    True
    >>> meter.take().trace
    2.0
    """

    leaves: list[nn.Parameter]
    ranks: int = 1
    stride: int = 16
    updates: int = 0
    examples: int = 0
    open: bool = False
    sums: dict[str, float] = field(default_factory=lambda: dict(NONE))
    _shares: list[Share] = field(default_factory=list)
    _squares: list[torch.Tensor] = field(default_factory=list)

    @property
    def due(self) -> bool:
        """Whether the next update is measured."""
        return self.updates % self.stride == 0

    def begin(self) -> None:
        """A new update; one that was left in the middle is forgotten."""
        self.open = True
        self._shares, self._squares = [], []

    @contextmanager
    def piece(self, share: Share) -> Iterator[None]:
        """Around one backward pass; hooks are on the parameters only where the update is measured."""
        if not self.due:
            yield
            self._shares.append(share)
            return
        with watching(self.leaves) as seen:
            yield
        self._shares.append(share)
        self._squares.append(seen.square())

    def end(self, scale: float = 1.0, *, scaled: bool = False) -> bool:
        """Before clipping and the host's step. `scale`: of the losses; gradients are still `scaled` by it, or not.

        True where the update was measured; one whose gradient is not finite, or that had one piece, is not.
        """
        shares, squares, measured = self._shares, self._squares, self.due
        rows = sum(share.rows for share in shares)
        self._count(rows)
        gradients = gradients_of(self.leaves)
        if not measured or not gradients or len(shares) * self.ranks < 2:
            return False
        norms = norms_of(gradients)
        numbers = numbers_of([*norms, *squares, *_weights(shares)])
        norm, numbers = math.hypot(*numbers[: len(norms)]) / (scale if scaled else 1.0), numbers[len(norms) :]
        numbers[: len(shares)] = [square / scale**2 for square in numbers[: len(shares)]]
        own = [_total(numbers), float(rows), *vars(Pieces.of(numbers)).values()]
        if self.ranks > 1:
            own = ONE.summed(own, gradients[0].device)
        weight, examples, *rest = own
        return self._add(Pieces(*rest), weight, norm * self.ranks, examples)

    def cut(self, losses: Iterable[tuple[torch.Tensor, Share]]) -> bool:
        """The moments of an update of one micro-batch: gradients of its parts' losses, which leave `.grad` alone.

        The sum of these losses is the one of the whole update, up to a factor.
        """
        shares, squares = list[Share](), list[torch.Tensor]()
        total: list[torch.Tensor | None] = [None] * len(self.leaves)
        for loss, share in losses:
            found = torch.autograd.grad(loss, self.leaves, allow_unused=True)
            squares.append(_square(found))
            total = [_sum(a, b) for a, b in zip(total, found, strict=True)]
            shares.append(share)
        *numbers, square = numbers_of([*squares, *_weights(shares), _square(total)])
        rows = float(sum(share.rows for share in shares))
        return self._add(Pieces.of(numbers), _total(numbers), math.sqrt(square), rows)

    def pass_over(self, rows: int, last: bool = True) -> None:
        """Count a micro-batch that was measured by `cut`, or not at all; `last`: its update ends with it."""
        self._shares.append(Share(0.0, 0.0, rows))
        if last:
            self._count(sum(share.rows for share in self._shares))

    def take(self) -> Moments:
        """The moments since this was last called."""
        sums, self.sums = self.sums, dict(NONE)
        return Moments.from_sums(sums)

    def _count(self, rows: int) -> None:
        self.open = False
        self.updates += 1
        self.examples += rows * self.ranks

    def _add(self, pieces: Pieces, weight: float, norm: float, examples: float) -> bool:
        """`norm`: of the sum of all u_i grad l_i. A piece without weight, all of its tokens left out, is none."""
        if not (math.isfinite(norm) and math.isfinite(pieces.micro_sq)) or pieces.count < 2:
            return False
        for name, value in pieces.sums(weight, (norm / weight) ** 2, examples).items():
            self.sums[name] += value
        return True


def parts_of(model: Any, batch: Any, rows: int, gauge: Gauge, loss: Any) -> Iterator[tuple[torch.Tensor, Share]]:
    """A batch in pieces, each with the loss that a mean over all rows has of it. `loss(model, rows) -> f32[rows]`."""
    size = gauge.piece(rows)
    for start in range(0, rows, size):
        real = min(size, rows - start)
        found = weighted(loss(model, cut(batch, start, start + real, real)), real, real, None)
        yield found.loss / rows, Share(found.weight / rows, found.weight_sq / rows**2, real)


def _weights(shares: Sequence[Share]) -> list[Number]:
    """Weights, then sums of squared weights, as `Pieces.of` has them behind the squares."""
    return [*(share.weight for share in shares), *(share.weight_sq for share in shares)]


def _total(numbers: Sequence[float]) -> float:
    """The weight of all: the second third of what `Pieces.of` takes."""
    count = len(numbers) // 3
    return sum(numbers[count : 2 * count])


def _square(gradients: Sequence[torch.Tensor | None]) -> torch.Tensor:
    norms = norms_of([one for one in gradients if one is not None])
    return torch.stack([norm.double() ** 2 for norm in norms]).sum()


def _sum(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else one + other


def stride_of(gauge: Gauge, updates: float | None) -> int:
    """One update in so many is measured, of passes of `updates` that have pieces as they are; None where they have not.

    >>> stride_of(Gauge(), 64), stride_of(Gauge(), math.inf), stride_of(Gauge(), None)
    (4, 16, 16)
    >>> stride_of(Gauge(per_example=True), None)
    1
    """
    if updates is None:
        return 1 if gauge.per_example else gauge.every
    return gauge.stride(int(updates)) if math.isfinite(updates) and updates >= 1 else gauge.every
