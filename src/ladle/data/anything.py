"""`as_data`: what a user calls data, as `Data`. Where another word is needed (a target, a kind) the loader is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.core.errors import DataError, must
from ladle.core.frames import is_frame, require_read
from ladle.data.dataset import Data, arrays
from ladle.data.loader import load


def as_data(data: Any) -> Any:
    """`data` as it is where it is `Data`; else loaded from a name or path, or made of `{"x": X, "y": y}` or `(X, y)`.

    The mapping may also hold "weight" and "valid", as `arrays` takes them.

    Raises `DataError` for anything else, with the call that takes it.

    >>> as_data(([[0.0], [1.0], [2.0], [3.0], [4.0]], [0, 0, 1, 1, 1])).kind
    'classification'
    """
    if isinstance(data, Data) or (hasattr(data, "kind") and not is_frame(data)):  # A column may be called that.
        return data
    if isinstance(data, str | Path):
        return load(str(data))
    if isinstance(data, Mapping) and {"x", "y"} <= set(data) <= {"x", "y", "weight", "valid"}:
        return arrays(data["x"], data["y"], **{name: data[name] for name in ("weight", "valid") if name in data})
    if isinstance(data, tuple) and len(data) == 2:
        return arrays(*data)
    if is_frame(data):
        require_read(data, "data")
        why, remedy = (
            "no column of a frame is known to be the target",
            "ladle.data.arrays(frame[inputs], frame[target])",
        )
    else:
        why, remedy = "nothing says which part is the target", 'ladle.data.arrays(X, y), {"x": X, "y": y} or a path'
    raise DataError(must("data", "be a ladle.data.Data or what makes one", type(data).__name__, why, remedy))
