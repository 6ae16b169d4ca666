"""`as_source`: whatever holds examples, as a source; the fastest way there is to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.foreign import is_array
from ladle.core.frames import is_frame, named_columns
from ladle.core.protocols import Source
from ladle.feed.arrays import Arrays, map_tree
from ladle.feed.source.huggingface import HuggingFace
from ladle.feed.source.items import Items, no_items
from ladle.feed.source.stack import leaf_array
from ladle.feed.source.subset import Chosen


def as_source(data: Any, threads: int = 0) -> Source:
    """A source of `data`, which is known by what it can do; no library is imported for it.

    - A source: itself. A path: what `ladle.feed.source.open.open_source` makes of it.
    - An array of whatever library, or dicts and tuples of such: `Arrays`, nothing copied where that can be.
    - A `TensorDataset` of PyTorch: `Arrays` of its tensors, nothing copied. A `Subset` of such: `Chosen`.
    - A frame of pandas, polars or Arrow: `Arrays` of its columns by name.
    - A Hugging Face `Dataset` of numbers: `HuggingFace`; one with a transform, or a format that changes types: `Items`,
      which asks the dataset itself.
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
    if _is_tree(data):
        return Arrays(map_tree(_column, data))
    if is_frame(data):
        return Arrays(named_columns(data, "data"))
    if is_array(data):
        return Arrays(data)
    if kind == "TensorDataset" and hasattr(data, "tensors"):
        return Arrays(map_tree(leaf_array, tuple(data.tensors)))
    if kind == "Subset" and hasattr(data, "dataset") and hasattr(data, "indices"):
        base = _fast(data.dataset)
        return None if base is None else Chosen(base, data.indices)
    if _is_huggingface(data):
        return None if _is_formatted(data) else HuggingFace(data)
    return data if hasattr(data, "take") and hasattr(data, "__len__") else None


def _column(leaf: Any) -> Any:
    if _is_huggingface(leaf):
        why = "each split is a data set of its own"
        raise ArgumentError(must("data", "be one data set", type(leaf).__name__, why, 'one of them, data["train"]'))
    return leaf


def _is_tree(data: Any) -> bool:
    """Whether `data` is a nesting of arrays; a source may be a named tuple too."""
    return isinstance(data, Mapping | tuple) and not hasattr(data, "take")


def _is_huggingface(data: Any) -> bool:
    return all(hasattr(data, name) for name in ("with_format", "features", "column_names", "__getitems__"))


def _is_formatted(data: Any) -> bool:
    """Whether a dataset of Hugging Face makes other rows of its table: by a transform, other types, more columns."""
    how = getattr(data, "format", None) or {}
    return how.get("type") == "custom" or bool(how.get("format_kwargs")) or bool(how.get("output_all_columns"))
