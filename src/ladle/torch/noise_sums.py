"""What the pieces of an update tell of its noise: squares of their gradients, by hooks that live for one backward pass.

A piece is a micro-batch, or a part of one. The formulas are those of `ladle.core.moments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from ladle.core.errors import ArgumentError, must
from ladle.core.moments import pair, pair_sums


@dataclass
class Watched:
    """Squared norms of the gradients that one backward pass made, `f32[]` each, and how often each leaf had one."""

    squares: list[torch.Tensor] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def square(self) -> torch.Tensor:
        """|g|^2 over all leaves. Raises `ArgumentError` where a leaf had its gradient in several pieces."""
        if max(self.calls, default=0) > 1:
            why = "a parameter had its gradient in pieces, whose squares are not that of their sum"
            remedy = "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), or gauge=None"
            raise ArgumentError(must("gauge", "be None with reentrant checkpointing", "a gauge", why, remedy))
        if not self.squares:
            return torch.zeros(())
        return torch.stack([square.to(self.squares[0].device) for square in self.squares]).sum()


@contextmanager
def watching(parameters: Sequence[torch.nn.Parameter]) -> Iterator[Watched]:
    """Watch the gradients of one backward pass: what is added to `.grad`, before any rank's is added to it.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> with watching([w]) as seen:
    ...     (3 * w).sum().backward()
    >>> round(seen.square().item())
    18
    """
    seen = Watched(calls=[0] * len(parameters))
    handles = [leaf.register_hook(_Look(seen, at)) for at, leaf in enumerate(parameters)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Look:
    """The hook of one leaf."""

    seen: Watched
    at: int

    def __call__(self, gradient: torch.Tensor) -> None:
        self.seen.calls[self.at] += 1
        # In float32 at least: squares of half precision overflow.
        wide = torch.promote_types(gradient.dtype, torch.float32)
        norm = torch.linalg.vector_norm(local(gradient), dtype=wide)
        self.seen.squares.append(norm * norm)


def local(gradient: torch.Tensor) -> torch.Tensor:
    """What this process holds of a gradient: all of it, but for a sharded one."""
    return gradient if type(gradient) is torch.Tensor else getattr(gradient, "to_local", lambda: gradient)()


def gradients_of(leaves: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """What this process holds of the gradients of those leaves that have one."""
    return [local(leaf.grad) for leaf in leaves if leaf.grad is not None]


@dataclass
class Pieces:
    """Sums over the pieces j of one update, m_j the weight of piece j and q_j the sum of its squared weights.

    - `micro_sq`: of |G_j|^2 / m_j, G_j its weighted sum of gradients. `spread`: of q_j / m_j. `weight_sq`: of q_j.
    - `count`: pieces with any weight.
    """

    micro_sq: float = 0.0
    count: float = 0.0
    weight_sq: float = 0.0
    spread: float = 0.0

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Pieces:
        """Those of so many squares, then as many weights, then as many sums of squared weights."""
        pieces, count = cls(), len(numbers) // 3
        for at in range(count):
            pieces.add(numbers[at], numbers[count + at], numbers[2 * count + at])
        return pieces

    def add(self, square: float, weight: float, weight_sq: float) -> None:
        if weight > 0:
            self.micro_sq += square / weight
            self.count += 1
            self.weight_sq += weight_sq
            self.spread += weight_sq / weight

    def sums(self, weight: float, grad_sq: float, examples: float) -> dict[str, float]:
        """What the update adds to an `Observation`; zeros below two pieces.

        - `weight`: of the whole update. `grad_sq`: |g|^2 of its mean gradient. `examples`: drawn, whatever they weigh.

        >>> pieces = Pieces()
        >>> for gradient in (1.0, 3.0):  # mean gradients of two pieces of two examples each
        ...     pieces.add(square=(2 * gradient) ** 2, weight=2.0, weight_sq=2.0)
        >>> pieces.sums(weight=4.0, grad_sq=4.0, examples=4.0)["noise/trace"]
        4.0
        """
        if self.count < 2:
            return NONE
        whole = self.weight_sq / weight
        trace, square = pair(self.micro_sq, grad_sq, weight, self.spread, whole)
        return pair_sums(trace * examples * whole / weight, square, examples)


NONE = dict.fromkeys(pair_sums(0.0, 0.0, 0.0), 0.0)
"""The sums of an update that is not measured."""
