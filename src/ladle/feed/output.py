"""What a batch is handed out as: NumPy arrays, JAX arrays or torch tensors. The one file of the feed that knows both.

NumPy and torch share the memory of what was read: nothing is copied. On JAX's CPU backend that holds where the rows
happen to be aligned; on an accelerator this is the transfer, begun by the thread that read the rows, so that it
overlaps with the step.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must, nearest
from ladle.core.foreign import is_small, require_narrow
from ladle.core.npy import one_line
from ladle.feed.arrays import leaves, map_tree
from ladle.feed.named import Named

OUTPUTS = ("numpy", "jax", "torch")


def output_named(to: str | Callable[[Any], Any], pinned: bool = False) -> Callable[[Any], Any]:
    """What turns a tree of NumPy arrays into what the user wants: `"numpy"`, `"jax"`, `"torch"`, or their own function.

    `"torch:cuda:0"` (or another device of torch's) puts tensors there. `pinned`: tensors in page-locked memory, where
    torch has an accelerator.

    Raises `ArgumentError` for another name, a library that is not installed, or memory that is to be pinned for no
    tensors.

    >>> output_named("numpy")({"x": np.arange(2)})
    {'x': array([0, 1])}
    """
    name, _, device = to.partition(":") if isinstance(to, str) else ("", "", "")
    if pinned and name != "torch":
        why, remedy = "only torch's tensors lie in such memory", 'to="torch"'
        raise ArgumentError(must("pin_memory", "be of tensors", f"to={to!r}", why, remedy))
    if callable(to):
        return to
    if name not in OUTPUTS or (device and name != "torch"):
        raise ArgumentError(
            must("to", "be a known output", to, "a function may be any other", nearest(str(to), OUTPUTS))
        )
    if name == "numpy":
        return _as_it_is
    try:
        library = importlib.import_module(name)
    except ImportError:
        why, remedy = "it is not installed", f"pip install {name}, or to='numpy'"
        raise ArgumentError(must("to", "be of an installed library", to, why, remedy)) from None
    if name == "jax":
        return _to_jax
    pinned = pinned and library.accelerator.is_available()
    if not device and not pinned:
        return _to_torch
    try:
        place = library.device(device or "cpu")
        library.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ArgumentError(must("to", "name a device of torch", to, why, "to='torch'")) from None
    return partial(_placed, device=place, pinned=pinned)


def _as_it_is(tree: Any) -> Any:
    return tree


def _to_jax(tree: Any) -> Any:
    import jax

    if jax.dtypes.canonicalize_dtype(np.int64).itemsize < 8:
        for path, leaf in leaves(tree):
            if isinstance(leaf, np.ndarray):
                require_narrow(leaf, f"data {path!r}" if path else "data", "to='numpy', or jax.config's jax_enable_x64")

    def array(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray) or leaf.dtype.kind in "SU":
            return leaf  # JAX has no text.
        return jax.device_put(_native(leaf))

    return _each(array, tree, "jax")


def _to_torch(tree: Any) -> Any:
    import torch

    if type(tree) is dict and all(map(_shared, tree.values())):  # What most data is, in half of the time.
        return Named([(name, torch.from_numpy(leaf)) for name, leaf in tree.items()])
    return _named(_each(_tensor, tree, "torch"))


def _shared(leaf: Any) -> bool:
    """Whether torch takes the array as it is, without a copy."""
    if type(leaf) is not np.ndarray:
        return False
    return leaf.dtype.kind in "biuf" and leaf.dtype.isnative and leaf.flags.writeable and not is_small(leaf.dtype)


def _named(tree: Any) -> Any:
    return Named(tree) if type(tree) is dict else tree


def _tensor(leaf: Any) -> Any:
    import torch

    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind in "SU":
        return leaf  # torch has no text; a DataLoader leaves it alone as well.
    if is_small(leaf.dtype):  # The same bits: torch has such types of its own, NumPy has them from `ml_dtypes`.
        bits = leaf.view(np.int16 if leaf.dtype.itemsize == 2 else np.uint8)
        return torch.from_numpy(bits if bits.flags.writeable else bits.copy()).view(getattr(torch, leaf.dtype.name))
    leaf = _native(leaf)
    return torch.from_numpy(leaf if leaf.flags.writeable else leaf.copy())


def _placed(tree: Any, device: Any, pinned: bool) -> Any:
    def move(leaf: Any) -> Any:
        tensor = _tensor(leaf)
        if not hasattr(tensor, "pin_memory"):
            return tensor
        tensor = tensor.pin_memory() if pinned else tensor
        return tensor if device.type == "cpu" else tensor.to(device, non_blocking=pinned)

    return _named(_each(move, tree, "torch"))


def _native(leaf: np.ndarray) -> np.ndarray:
    """In the byte order of this machine: no device knows another."""
    return leaf if leaf.dtype.isnative else leaf.astype(leaf.dtype.newbyteorder("="))


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
