"""Tensors as numbers of the host, read together: what waits for the device, in one file."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ladle.core.errors import ArgumentError, must

NARROW = (torch.float16, torch.bfloat16)


def norm_of(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """|G| over all gradients, `f32[]` at least. Raises `ArgumentError` where there is none, or one is sparse.

    >>> norm_of([torch.tensor([3.0]), torch.tensor([[4.0]])])
    tensor(5.)
    """
    if not gradients:
        why = "none of the optimiser's parameters took part in the loss"
        raise ArgumentError(must("loss", "depend on the parameters", "no gradient", why, "a loss of the model's outputs"))
    if any(one.layout is not torch.strided for one in gradients):
        why = "one division and one norm are taken of all gradients"
        raise ArgumentError(must("gradients", "be dense", "a sparse one", why, "nn.Embedding(..., sparse=False)"))
    narrow = any(one.dtype in NARROW for one in gradients)
    norms = torch._foreach_norm(gradients, 2, torch.float32) if narrow else torch._foreach_norm(gradients)
    if any(one.device != norms[0].device for one in norms):
        norms = [one.to(norms[0].device) for one in norms]
    return torch.linalg.vector_norm(torch.stack(list(norms)))


def numbers_of(values: Sequence[torch.Tensor | float]) -> list[float]:
    """All `values` as numbers: tensors are read together, once. On the processor reading waits for nothing.

    >>> numbers_of([torch.tensor(0.5), 2.0])
    [0.5, 2.0]
    """
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if all(one.device.type == "cpu" for one in tensors):
        return [float(value) for value in values]
    device = next(one.device for one in tensors if one.device.type != "cpu")
    found = iter(torch.stack([one.detach().to(device, torch.float64) for one in tensors]).tolist())
    return [next(found) if isinstance(value, torch.Tensor) else value for value in values]
