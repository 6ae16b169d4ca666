"""`as_source`: whatever holds examples, as a source; the fastest way there is to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Source
from ladle.feed.arrays import Arrays, map_tree
from ladle.feed.source.frames import frame_columns, is_frame
from ladle.feed.source.huggingface import HuggingFace
from ladle.feed.source.items import Items, no_items
from ladle.feed.source.stack import leaf_array
from ladle.feed.source.subset import Chosen


def as_source(data: Any, threads: int = 0) -> Source:
    """A source of `data`, which is known by what it can do; no library is imported for it.

    - A source: itself. A path: what `ladle.feed.source.open.open_source` makes of it.
    - An array, or dicts and tuples of arrays or tensors: `Arrays`, nothing copied.
    - A `TensorDataset` of PyTorch: `Arrays` of its tensors, nothing copied. A `Subset` of such: `Chosen`.
    - A Hugging Face `Dataset` of numbers: `HuggingFace`; one with a transform of its own: `Items`.
    - A frame of pandas or polars, or a table of Arrow, of numbers: `Arrays` of its columns.
    - Anything else with a length and items, a list included: `Items`, asked item by item, with `threads`.

    Raises `ArgumentError` for a stream, which has no items by number: `ladle.feed.stream.iterator` is for those.

    >>> import numpy as np
    >>> type(as_source({"x": np.arange(3)})).__name__, type(as_source([1, 2, 3])).__name__
    ('Arrays', 'Items')
    """
    if isinstance(data, str | Path):
        from ladle.feed.source.open import open_source

        return open_source(data)
    fast = _fast(data)
    if fast is not None:
        return fast
    if "IterableDataset" in (kind.__name__ for kind in type(data).__mro__):  # PyTorch's has items in name only.
        raise no_items(data)
    return Items(data, threads)


def _fast(data: Any) -> Source | None:
    """A source that reads many rows at once, or None where `data` cannot."""
    kind = type(data).__name__  # Of exactly these classes: a class derived from them may make other items of the rows.
    if isinstance(data, Mapping | tuple):
        return Arrays(map_tree(_column, data))
    if _is_array(data):
        return Arrays(leaf_array(data))
    if kind == "TensorDataset" and hasattr(data, "tensors"):
        return Arrays(map_tree(leaf_array, tuple(data.tensors)))
    if kind == "Subset" and hasattr(data, "dataset") and hasattr(data, "indices"):
        base = _fast(data.dataset)
        return None if base is None else Chosen(base, data.indices)
    if _is_huggingface(data):
        # What a transform makes of rows is known to the dataset alone.
        return Items(data) if data.format["type"] == "custom" else HuggingFace(data)
    if is_frame(data):
        return Arrays(frame_columns(data))
    return data if hasattr(data, "take") and hasattr(data, "__len__") else None


def _column(leaf: Any) -> Any:
    if _is_huggingface(leaf):
        why = "each split is a data set of its own"
        raise ArgumentError(must("data", "be one data set", type(leaf).__name__, why, 'one of them, data["train"]'))
    return leaf_array(leaf) if _is_array(leaf) else leaf


def _is_array(data: Any) -> bool:
    return hasattr(data, "shape") and hasattr(data, "dtype")


def _is_huggingface(data: Any) -> bool:
    return all(hasattr(data, name) for name in ("with_format", "features", "column_names", "__getitems__"))
