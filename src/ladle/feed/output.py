"""What a batch is handed out as: NumPy arrays, JAX arrays or torch tensors. The one file of the feed that knows both.

NumPy and torch share the memory of what was read: nothing is copied. On JAX's CPU backend that holds where the rows
happen to be aligned; on an accelerator this is the transfer, begun by the thread that read the rows, so that it
overlaps with the step.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.core.foreign import is_small, require_narrow
from ladle.core.npy import one_line
from ladle.feed.arrays import leaves, map_tree

OUTPUTS = ("numpy", "jax", "torch")


def output_named(to: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What turns a tree of NumPy arrays into what the user wants: `"numpy"`, `"jax"`, `"torch"`, or their own function.

    Raises `ArgumentError` for another name, or a library that is not installed.

    >>> output_named("numpy")({"x": np.arange(2)})
    {'x': array([0, 1])}
    """
    if callable(to):
        return to
    if to not in OUTPUTS:
        raise ArgumentError(
            must("to", "be a known output", to, "a function may be any other", nearest(str(to), OUTPUTS))
        )
    if to == "numpy":
        return _as_it_is
    try:
        importlib.import_module(to)
    except ImportError:
        why, remedy = "it is not installed", f"pip install {to}, or to='numpy'"
        raise ArgumentError(must("to", "be of an installed library", to, why, remedy)) from None
    return _to_jax if to == "jax" else _to_torch


def _as_it_is(tree: Any) -> Any:
    return tree


def _to_jax(tree: Any) -> Any:
    import jax

    if jax.dtypes.canonicalize_dtype(np.int64).itemsize < 8:
        for path, leaf in leaves(tree):
            require_narrow(leaf, f"data {path!r}" if path else "data", "to='numpy', or jax.config's jax_enable_x64")
    return _each(jax.device_put, tree, "jax")


def _to_torch(tree: Any) -> Any:
    import torch

    def tensor(leaf: np.ndarray) -> Any:
        if leaf.dtype.kind in "SU":
            return leaf  # torch has no text; a DataLoader leaves it alone as well.
        leaf = leaf if leaf.flags.writeable else leaf.copy()
        if is_small(leaf.dtype):  # The same bits: torch has such types of its own, NumPy has them from `ml_dtypes`.
            bits = torch.from_numpy(leaf.view(np.int16 if leaf.dtype.itemsize == 2 else np.uint8))
            return bits.view(getattr(torch, leaf.dtype.name))
        return torch.from_numpy(leaf)

    return _each(tensor, tree, "torch")


def _each(convert: Callable[[Any], Any], tree: Any, to: str) -> Any:
    """`convert` of every array. Raises `DataError` with the name of one that the library has no type for."""
    try:
        return map_tree(convert, tree)
    except (TypeError, ValueError, AttributeError, OverflowError):
        for path, leaf in leaves(tree):
            try:
                convert(leaf)
            except (TypeError, ValueError, AttributeError, OverflowError) as error:
                name, why = f"data {path!r}" if path else "data", f"{to} has no such type ({one_line(error)})"
                remedy = "to='numpy', or the data without it"
                raise DataError(must(name, "be numbers", str(leaf.dtype), why, remedy)) from None
        raise
