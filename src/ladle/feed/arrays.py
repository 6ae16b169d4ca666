"""Data in memory: `Arrays` answers with rows by number. Functions over trees of arrays, for every source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.errors import DataError, must
from ladle.core.foreign import tree_of


@dataclass(frozen=True, eq=False)
class Arrays:
    """Examples in arrays; implements `ladle.core.protocols.Source`.

    - `tree`: nested dicts and tuples of arrays, of whatever library (see `ladle.core.foreign.as_array`), whose leading
      axis counts examples. Nothing is copied but bytes in the order of another machine; memory-mapped arrays stay on
      disk until their rows are taken.

    Raises `DataError` where there is no array, no example, an array without a leading axis, of Python objects or with
    masked or missing values, or where the arrays disagree about the number of examples.

    >>> source = Arrays({"x": np.arange(6).reshape(3, 2), "y": np.array([0, 1, 0])})
    >>> len(source), source.take(np.array([2, 0]))["x"].tolist()
    (3, [[4, 5], [0, 1]])
    """

    tree: Any

    gathers = True
    """Many rows cost little more than one: those of several batches may be taken at once."""

    def __post_init__(self) -> None:
        for name, leaf in leaves(self.tree):
            _require_readable(leaf, f"data {name!r}" if name else "data")
        object.__setattr__(self, "tree", tree_of(self.tree, "data"))
        _check_arrays(dict(leaves(self.tree)))

    def __len__(self) -> int:
        return len(next(leaf for _, leaf in leaves(self.tree)))

    @property
    def in_memory(self) -> bool:
        """Whether no array is mapped from a file: rows are then gathered faster than a thread could hand them over."""
        return not any(_mapped(leaf) for _, leaf in leaves(self.tree))

    def take(self, ids: np.ndarray) -> Any:
        """Rows `ids` (`i64[k]`) of every array, in that order."""
        return map_tree(lambda leaf: leaf.take(ids, axis=0), self.tree)


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """`function` of every leaf of nested mappings and tuples, in the same nesting.

    >>> map_tree(abs, {"a": (-1, -2)})
    {'a': (1, 2)}
    """
    if isinstance(tree, Mapping):
        return {name: map_tree(function, branch) for name, branch in tree.items()}
    if isinstance(tree, tuple):
        branches = [map_tree(function, branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)
    return function(tree)


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with where it is.

    >>> list(leaves({"x": (1, 2), "y": 3}))
    [('x.0', 1), ('x.1', 2), ('y', 3)]
    """
    if isinstance(tree, Mapping | tuple):
        named = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
        for name, branch in named:
            yield from leaves(branch, f"{path}.{name}" if path else str(name))
    else:
        yield path, tree


def _mapped(leaf: Any) -> bool:
    while isinstance(leaf, np.ndarray):
        if isinstance(leaf, np.memmap):
            return True
        leaf = leaf.base
    return False


def _require_readable(leaf: Any, name: str) -> None:
    """Refuse a file's bytes in the order of another machine: converted, all of it would be in memory."""
    if isinstance(leaf, np.ndarray) and not leaf.dtype.isnative and _mapped(leaf):
        got, why = leaf.dtype.str, "its bytes lie in a file, in the order of another machine"
        remedy = "a copy of it, x.astype(x.dtype.newbyteorder('=')), in memory or in a file of its own"
        raise DataError(must(name, "be numbers of this machine", got, why, remedy))


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    if not arrays:
        raise DataError(must("data", "hold an array", "none", "examples are its rows", '{"x": x, "y": y}'))
    for name, array in arrays.items():
        argument = f"data {name!r}" if name else "data"
        if array.dtype == object:
            got, remedy = "Python objects (rows of unequal length, or None)", "numbers of one type, rows of one length"
            raise DataError(must(argument, "be an array of numbers", got, "objects do not fit on a device", remedy))
        if array.ndim == 0:
            raise DataError(
                must(argument, "count examples along its first axis", array, "it has no axis", "[value] * n")
            )
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        why, remedy = "row i of each belongs to example i", "arrays of one length"
        raise DataError(must("data", "have equally many rows in every array", counts, why, remedy))
    if not all(counts.values()):
        raise DataError(must("data", "hold at least one example", 0, "there is nothing to learn from", "more data"))
