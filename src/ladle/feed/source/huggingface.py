"""`HuggingFace`: the columns of a Hugging Face `Dataset`, read from its Arrow table a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ladle.core.errors import DataError, ExampleError, must
from ladle.feed.source.request import require_ids


@dataclass(frozen=True, eq=False)
class HuggingFace:
    """A `datasets.Dataset` of numbers; implements `ladle.core.protocols.Source`.

    Rows are dicts with an entry for each column, in the dataset's order and of the type its features say (its own
    NumPy format makes `float32` of `float64` and `int64` of images in `uint8`). Lists of one length, nested ones too,
    become the further axes of an array. Selected, sorted and shuffled datasets are read as they are; transforms
    (`set_transform`) are not applied: `Items(dataset)` does that, item by item.

    Raises `DataError` for columns of anything but numbers (text, images), and lists of several lengths; `ExampleError`
    with the ids of all examples that lack a value.
    """

    dataset: Any
    _pieces: _Pieces | None = field(init=False, repr=False)
    _types: Mapping[str, Any] = field(init=False, repr=False)

    gathers = True
    """Many rows cost little more than one: those of several batches may be taken at once."""

    def __post_init__(self) -> None:
        if len(self.dataset) == 0:
            why = "there is nothing to learn from"
            raise DataError(must("dataset", "hold at least one example", 0, why, "more data"))
        by_arrow = self.dataset.with_format("arrow", columns=self.dataset.format["columns"])
        types = {part.name: part.type for part in by_arrow[[0]].schema}
        for name, kind in types.items():
            if not _numeric(kind):
                numbers = [one for one in types if _numeric(types[one])]
                why = "rows are arrays of numbers"
                remedy = (
                    f"dataset.select_columns({numbers}), dataset.map(...) to numbers, or Items(dataset, collate=...)"
                )
                raise DataError(must(f"column {name!r}", "hold numbers or lists of them", str(kind), why, remedy))
        object.__setattr__(self, "dataset", by_arrow)
        object.__setattr__(self, "_types", types)
        object.__setattr__(self, "_pieces", _pieces(by_arrow, list(types)))

    def __reduce__(self) -> tuple[Any, ...]:  # A data set on disk travels as the names of its files, a table does not.
        return HuggingFace, (self.dataset,)

    def __len__(self) -> int:
        return len(self.dataset)

    def take(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """Every column of the examples `ids` (`i64[k]`), in that order."""
        ids = require_ids(ids, len(self))
        asked = ids if len(ids) else np.zeros(1, np.int64)
        table = self.dataset[asked] if self._pieces is None else self._pieces.take(asked)
        return {name: _rows(table.column(name), asked, name)[: len(ids)] for name in self._types}


class _Pieces(NamedTuple):
    """The Arrow table of a dataset as the pieces it lies in, and the rows that examples are where they were moved.

    Rows are taken of the pieces directly: the dataset's own indexing, measured on rows of 4 + 6 numbers, took 74 us an
    example of a shuffled dataset and 188 of one in two pieces, where this takes 2.
    """

    batches: list[Any]
    starts: np.ndarray
    moved: np.ndarray | None

    def take(self, ids: np.ndarray) -> Any:
        import pyarrow as pa

        rows = ids if self.moved is None else self.moved[ids].astype(np.int64)
        if len(self.batches) == 1:
            return pa.Table.from_batches([self.batches[0].take(pa.array(rows))])
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        of = np.searchsorted(self.starts, ascending, side="right") - 1
        parts = [
            self.batches[piece].take(pa.array(ascending[of == piece] - self.starts[piece])) for piece in np.unique(of)
        ]
        back = np.empty(len(ids), np.int64)
        back[order] = np.arange(len(ids))
        return pa.Table.from_batches(parts).combine_chunks().take(pa.array(back))


def _pieces(dataset: Any, columns: list[str]) -> _Pieces | None:
    """None where a later release of `datasets` keeps its table elsewhere: then the dataset itself is asked."""
    table = getattr(getattr(dataset, "data", None), "table", None)
    indices: Any = getattr(dataset, "_indices", False)
    if table is None or indices is False or not set(columns) <= set(table.column_names):
        return None
    batches = [batch for batch in table.select(columns).to_batches() if batch.num_rows]
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    moved = None if indices is None else indices.column(0).to_numpy()
    if len(dataset) != (starts[-1] if moved is None else len(moved)):
        return None
    return _Pieces(batches, starts[:-1], moved)


def _numeric(kind: Any) -> bool:
    import pyarrow as pa

    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            kind = kind.value_type
        else:
            return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _rows(column: Any, ids: np.ndarray, name: str) -> np.ndarray:
    """A column as one array: each list is an axis."""
    import pyarrow as pa

    values = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    shape = [len(values)]
    while True:
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        if values.null_count:
            missing = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)) // max(1, len(values) // len(ids))
            bad = np.unique(ids[np.minimum(missing, len(ids) - 1)]).tolist()
            why, remedy = "a missing number cannot be learned from", "dataset.filter(...) without them"
            what = f"column {name!r} of example {bad[0]}"
            raise ExampleError(must(what, "hold numbers", None, why, remedy), bad)
        if not hasattr(values, "flatten") or not isinstance(
            values, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray
        ):
            return values.to_numpy(zero_copy_only=False).reshape(shape)
        shape.append(_length(values, ids, name))
        values = values.flatten()


def _length(values: Any, ids: np.ndarray, name: str) -> int:
    """How long every list is. Raises `DataError` where they differ."""
    lengths = values.value_lengths().to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != lengths[0])
    if len(odd):
        id = ids[odd[0] * len(ids) // len(lengths)]
        got = f"{lengths[0]} in example {ids[0]}, {lengths[odd[0]]} in example {id}"
        why, remedy = "rows stand in one array", "a tokenizer with padding, or Items(dataset, collate=...)"
        raise DataError(must(f"column {name!r}", "have lists of one length", got, why, remedy))
    return int(lengths[0])
