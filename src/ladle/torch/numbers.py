"""Tensors as numbers of the host, read together: what waits for the device, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ladle.core.errors import ArgumentError, must

NARROW = (torch.float16, torch.bfloat16)

FEW = 16
"""So many numbers in the processor's memory are read faster one by one than put together first."""


def norms_of(gradients: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Norms, `f32[]` at least, whose root of summed squares is |G| over all gradients: of each, or of all as one.

    Raises `ArgumentError` where there is no gradient, or one is sparse.

    >>> norms_of([torch.tensor([3.0]), torch.tensor([[4.0]])])
    [tensor(3.), tensor(4.)]
    """
    if not gradients:
        why = "none of the optimiser's parameters took part in the loss"
        raise ArgumentError(
            must("loss", "depend on the parameters", "no gradient", why, "a loss of the model's outputs")
        )
    narrow = False
    for one in gradients:
        if one.layout is not torch.strided:
            why = "one division and one norm are taken of all gradients"
            raise ArgumentError(must("gradients", "be dense", "a sparse one", why, "nn.Embedding(..., sparse=False)"))
        narrow = narrow or one.dtype in NARROW
    take: Any = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]
    norms = list(take(gradients, 2, torch.float32) if narrow else take(gradients))
    if len(norms) <= FEW:
        return norms
    return [torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))]


def numbers_of(values: Sequence[torch.Tensor | float]) -> list[float]:
    """All `values` as numbers: tensors are read together, once. On the processor reading waits for nothing.

    >>> numbers_of([torch.tensor(0.5), 2.0])
    [0.5, 2.0]
    """
    device, tensors = None, []
    for value in values:
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            device = device if value.is_cpu else value.device
    if device is None:
        return [float(value) for value in values]
    found = iter(torch.stack([one.detach().to(device, torch.float64) for one in tensors]).tolist())
    return [next(found) if isinstance(value, torch.Tensor) else value for value in values]
