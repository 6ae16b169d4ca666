"""`stacked`: many examples, each a tree of its own, as one tree of arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ladle.core.errors import DataError, ExampleError, must
from ladle.core.foreign import as_array
from ladle.feed.arrays import map_tree

_EXACT = {bool: np.bool_, int: np.int64, float: np.float64}


def stacked(items: Sequence[Any], ids: Sequence[int], count: int | None = None) -> Any:
    """One tree with leading axis `len(items)`, of examples that are trees alike.

    Dicts, tuples and named tuples keep their kind; a list of numbers is a row, any other list is a tuple. Leaves are
    numbers (`i64`, `f64`, `bool`), strings, arrays, and whatever `numpy.asarray` takes as it is: tensors of PyTorch
    and JAX on the CPU, images of Pillow.

    Raises `DataError` where an example differs from the first in structure, shape or type; `ExampleError` where
    a leaf is None (a filtered example) or some other object.

    - `ids`: what the examples are called in errors. `count`: keep the first `count` rows; 0 leaves only their kind.

    >>> stacked([{"x": [1, 2], "y": 0}, {"x": [3, 4], "y": 1}], ids=[7, 8])["x"].tolist()
    [[1, 2], [3, 4]]
    """
    rows = _stacked(list(items), list(ids), "")
    return rows if count is None else map_tree(lambda leaf: leaf[:count], rows)


def leaf_array(leaf: Any) -> np.ndarray:
    """A leaf as an array, without a copy where that can be; see `ladle.core.foreign.as_array`."""
    return as_array(leaf)


def _stacked(items: list[Any], ids: list[int], path: str) -> Any:
    first = items[0]
    if isinstance(first, Mapping):
        _require_alike(items, ids, path, lambda item: sorted(item) if isinstance(item, Mapping) else type(item))
        return {name: _stacked([item[name] for item in items], ids, _below(path, name)) for name in first}
    if isinstance(first, tuple) or (isinstance(first, list) and not _is_row(first)):
        if set(map(type, items)) != {type(first)} or len(set(map(len, items))) > 1:
            _require_alike(items, ids, path, lambda item: len(item) if isinstance(item, tuple | list) else type(item))
        branches = [_stacked(list(branch), ids, _below(path, at)) for at, branch in enumerate(zip(*items, strict=True))]
        return type(first)(*branches) if hasattr(first, "_fields") else tuple(branches)
    kind = _EXACT.get(type(first))
    if kind is not None and all(type(item) is type(first) for item in items):
        try:
            return np.array(items, kind)
        except OverflowError:
            pass  # A number beyond 64 bits is refused below, with its example.
    return _rows(items, ids, path)


def _rows(items: list[Any], ids: list[int], path: str) -> np.ndarray:
    if hasattr(items[0], "detach") and len({(type(item), getattr(item, "dtype", None)) for item in items}) == 1:
        try:  # Tensors alike are put together by their own library, in half of the time.
            return leaf_array(sys.modules["torch"].stack(items))
        except (TypeError, RuntimeError):
            pass  # The example that differs is named below.
    if type(items[0]) is np.ndarray and items[0].ndim and _alike(items):
        return np.concatenate(items).reshape(len(items), *items[0].shape)  # `np.stack` makes a view of each first.
    rows = [_array(item, id, path) for item, id in zip(items, ids, strict=True)]
    text = rows[0].dtype.kind in "US"  # Strings are as wide as they are long.
    _require_alike(rows, ids, path, lambda row: (row.shape, row.dtype.kind if text else row.dtype))
    return np.stack(rows)


def _alike(items: list[Any]) -> bool:
    """Whether all are arrays of one shape and one type of numbers in this machine's byte order. False is no verdict."""
    dtype, shape = items[0].dtype, items[0].shape
    return (
        dtype.kind in "biufc"
        and dtype.isnative
        and all(type(item) is np.ndarray and item.dtype is dtype and item.shape == shape for item in items)
    )


def _array(item: Any, id: int, path: str) -> np.ndarray:
    try:
        row = leaf_array(item)
    except DataError:
        raise _refused(item, id, path) from None
    if row.dtype == object:
        raise _no_array(id, path, "None" if item is None else type(item).__name__)
    return row


def _refused(item: Any, id: int, path: str) -> ExampleError:
    """What `as_array` has to say, with the example's name, which is not made up for each that it takes."""
    try:
        as_array(item, f"example {id}{f' at {path!r}' if path else ''}")
    except DataError as error:
        return ExampleError(str(error), [id])
    return _no_array(id, path, type(item).__name__)


def _no_array(id: int, path: str, got: str) -> ExampleError:
    what, remedy = f"example {id}{f' at {path!r}' if path else ''}", "collate=, which makes arrays of what it is"
    return ExampleError(must(what, "be numbers or arrays of one shape", got, "rows stand in one array", remedy), [id])


def _require_alike(items: list[Any], ids: list[int], path: str, kind: Callable[[Any], Any]) -> None:
    kinds = list(map(kind, items))
    for id, found in zip(ids, kinds, strict=True):
        if found != kinds[0]:
            got = f"{_told(kinds[0])} in example {ids[0]}, {_told(found)} in example {id}"
            what, remedy = f"data {path!r}" if path else "examples", "one shape and type for all, or collate="
            raise DataError(must(what, "be alike in all examples", got, "rows stand in one array", remedy))


def _told(kind: Any) -> str:
    if isinstance(kind, tuple):
        return f"{kind[1]} of shape {kind[0]}"
    if isinstance(kind, int):
        return f"{kind} parts"
    return kind.__name__ if isinstance(kind, type) else f"entries {', '.join(map(str, kind))}"


def _is_row(item: list[Any]) -> bool:
    return all(
        isinstance(leaf, bool | int | float | np.number) or (isinstance(leaf, list) and _is_row(leaf)) for leaf in item
    )


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)
