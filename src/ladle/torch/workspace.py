"""Sizes that no trace knows: what a library's recurrent layer keeps for its backward pass, asked of the library."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily

RECURRENT = "mkldnn_rnn_layer"
"""The processor's LSTM. Its last output is a block of bytes whose size oneDNN decides; as a fake it has none."""


FEW = 8
"""Rows from which on blocks of rows are rounded up no more."""


def workspace_bytes(func: Any, args: tuple[Any, ...]) -> int | None:
    """Bytes of the workspace that this call makes; None for any other operation.

    The layer is run on that many rows, or on `FEW` and twice as many: the workspace is a line in the rows.
    """
    if getattr(func, "overloadpacket", None) is not getattr(torch.ops.aten, RECURRENT, ()):
        return None
    inputs, *others = args
    steps, rows, features = inputs.shape
    shapes = tuple(tuple(leaf.shape) for leaf in others[:4])
    how = (features, shapes, inputs.dtype, tuple(map(_plain, others[6:])))
    if rows <= 2 * FEW:
        return _bytes(steps, rows, *how)
    one, two = _bytes(steps, FEW, *how), _bytes(steps, 2 * FEW, *how)
    return one + (rows - FEW) * (two - one) // FEW


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@lru_cache(64)
def _bytes(
    steps: int, rows: int, features: int, shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype, how: tuple[Any, ...]
) -> int:
    hidden = shapes[1][-1]
    with unset_fake_temporarily(), torch.enable_grad():  # Without it the layer keeps nothing.
        inputs, state = torch.zeros(steps, rows, features, dtype=dtype), torch.zeros(rows, hidden, dtype=dtype)
        weights = [torch.zeros(shape, dtype=dtype) for shape in shapes]
        found = getattr(torch.ops.aten, RECURRENT)(inputs, *weights, state, state, *map(_listed, how))
    return found[-1].untyped_storage().nbytes()


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
