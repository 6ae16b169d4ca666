"""Batches as trees of tensors: dicts, tuples, lists and named tuples, as loaders make them. Rows are the first axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from ladle.core.errors import ArgumentError, must

ARRAYS = (torch.Tensor, np.ndarray)


def mapped(convert: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with `convert` of each of its leaves, and its containers of the same kinds.

    >>> mapped(lambda leaf: leaf + 1, {"x": 1, "pair": (2, [3])})
    {'x': 2, 'pair': (3, [4])}
    """
    if type(tree) is torch.Tensor:  # What most leaves are: asking whether it is a Mapping takes longer than a view.
        return convert(tree)
    if isinstance(tree, Mapping):
        made = {name: mapped(convert, leaf) for name, leaf in tree.items()}
        return made if type(tree) is dict else type(tree)(made)  # type: ignore[call-arg]
    if isinstance(tree, tuple | list):
        parts = [mapped(convert, leaf) for leaf in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return convert(tree)


def leaves(tree: Any, path: str = "batch") -> Iterator[tuple[str, Any]]:
    """Every leaf with where it stands: `("batch['x']", tensor)`."""
    if isinstance(tree, Mapping):
        for name, leaf in tree.items():
            yield from leaves(leaf, f"{path}[{name!r}]")
    elif isinstance(tree, tuple | list):
        for at, leaf in enumerate(tree):
            yield from leaves(leaf, f"{path}[{at}]")
    else:
        yield path, tree


def has_rows(leaf: Any) -> bool:
    """Whether a leaf is an array with a first axis. Texts, None and single numbers are of the batch as a whole."""
    return isinstance(leaf, ARRAYS) and leaf.ndim > 0


def rows_of(batch: Any) -> int:
    """How many rows a batch has. Raises `ArgumentError` where its arrays do not agree, or there is none.

    >>> rows_of({"x": torch.zeros(8, 3), "y": torch.zeros(8), "name": "train"})
    8
    """
    parts = batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, tuple | list) else (batch,)
    if all(type(leaf) is torch.Tensor and leaf.ndim for leaf in parts):  # What most batches are, in half of the time.
        found = {leaf.shape[0] for leaf in parts}
        if len(found) == 1:
            return found.pop()
    counts = {path: len(leaf) for path, leaf in leaves(batch) if has_rows(leaf)}
    if len(set(counts.values())) != 1:
        got = ", ".join(f"{path} {rows}" for path, rows in counts.items()) or type(batch).__name__
        why = "row i of each is of example i, and an update is cut by rows"
        remedy = "tensors of equal length in a dict, tuple or list, examples first"
        raise ArgumentError(must("batch", "have one number of rows", got, why, remedy))
    return next(iter(counts.values()))


def cut(batch: Any, start: int, stop: int, rows: int) -> Any:
    """Rows `start .. stop` of a batch, filled up to `rows` with copies of them. Views where nothing is filled up."""
    if stop - start == rows:
        return mapped(lambda leaf: leaf[start:stop] if has_rows(leaf) else leaf, batch)
    places = np.arange(rows) % (stop - start) + start
    return taken(batch, torch.from_numpy(places))


def taken(batch: Any, index: torch.Tensor) -> Any:
    """The rows at places `index`, `i64[rows]`, of a batch: copies.

    >>> taken({"x": torch.arange(4), "name": "train"}, torch.tensor([3, 0]))
    {'x': tensor([3, 0]), 'name': 'train'}
    """

    def of_leaf(leaf: Any) -> Any:
        if not has_rows(leaf):
            return leaf
        return leaf[index.to(leaf.device)] if isinstance(leaf, torch.Tensor) else leaf[index.numpy()]

    return mapped(of_leaf, batch)
