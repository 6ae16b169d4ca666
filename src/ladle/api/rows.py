"""`as_inputs`, `as_rows`: what a trained model is asked about, in the form of the data that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.foreign import is_number, is_small, require_narrow, rows_of
from ladle.core.frames import is_frame
from ladle.data.dataset import PIXELS


def as_inputs(x: Any, data: Any, name: str = "x") -> Any:
    """Inputs of whatever library as arrays: pixels divided as those of `data` were, single numbers made rows.

    Raises `DataError` for a frame where the model was trained on encoded columns, masked or missing values, words and
    objects, arrays of different lengths, and whole numbers beyond 32 bits.
    """
    _refuse_raw_table(x, data, name)
    return _each(rows_of(x, name), data, name)


def as_rows(rows: Any, data: Any) -> Any:
    """Rows with their targets, such as `data.test`: inputs as `as_inputs` makes them, everything of one length.

    Raises `DataError` besides where classes are given as words: targets are the numbers that the data has.
    """
    if not isinstance(rows, Mapping):
        why = "a loss needs inputs and targets"
        raise DataError(must("rows", "be a mapping", type(rows).__name__, why, '{"x": x, "y": y}'))
    if "x" in rows:
        _refuse_raw_table(rows["x"], data, "rows 'x'")
    made = rows_of(dict(rows), "rows")
    if "y" in made and not isinstance(made["y"], Mapping | tuple) and made["y"].dtype.kind in "USO":
        classes = ", ".join(getattr(data, "classes", ())[:6])
        why, remedy = "targets are the numbers of classes", f"numbers from 0, in this order: {classes}"
        raise DataError(must("rows 'y'", "be numbers", str(made["y"].dtype), why, remedy))
    return {key: _each(leaf, data if key == "x" else None, f"rows {key!r}") for key, leaf in made.items()}


def _each(tree: Any, data: Any, name: str) -> Any:
    if isinstance(tree, Mapping):
        return {key: _each(leaf, None, f"{name} {key!r}") for key, leaf in tree.items()}
    if isinstance(tree, tuple):
        made = [_each(leaf, None, f"{name} {at}") for at, leaf in enumerate(tree)]
        return type(tree)(*made) if hasattr(tree, "_fields") else tuple(made)
    if not is_number(tree.dtype):
        why = "a model computes with numbers"
        raise DataError(must(name, "hold numbers", str(tree.dtype), why, f"{name}.astype(float)"))
    known = _known(data)
    if known is None:
        require_narrow(tree, name, "ids numbered from 0 without gaps, or float32")
        return tree
    if tree.ndim == 1 and known.shape[1:] == (1,):
        tree = tree[:, None]
    if known.dtype != np.float32 or not (tree.dtype.kind in "biuf" or is_small(tree.dtype)):
        require_narrow(tree, name, "numbers as those of the data")
        return tree
    scaled = tree.dtype == np.uint8 and PIXELS in getattr(data, "notes", ())
    tree = tree.astype(np.float32, copy=False)
    return np.divide(tree, np.float32(255), out=tree) if scaled else tree


def _known(data: Any) -> np.ndarray | None:
    """The inputs that the model was trained on, as far as they are one array in memory."""
    part = getattr(data, "train", None)
    x = part.get("x") if isinstance(part, Mapping) else None
    return x if isinstance(x, np.ndarray) else None


def _refuse_raw_table(x: Any, data: Any, name: str) -> None:
    """A file's columns were standardised and encoded: a frame's cells would be taken for what came of that."""
    if is_frame(x) and getattr(data, "target", None) is not None:
        got, why = type(x).__name__, f"the columns of {data.name} were encoded, and a frame's are not"
        raise DataError(must(name, "be encoded as data.valid['x'] is", got, why, "data.valid['x'], or data.test['x']"))
