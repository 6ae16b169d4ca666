"""What other loops read of a loader: its examples one by one, and the numbers of a pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.protocols import Source
from ladle.feed.arrays import map_tree
from ladle.feed.source.request import require_ids


@dataclass(frozen=True, eq=False)
class Examples:
    """A source as a dataset of single examples: what `len(loader.dataset)` and `loader.dataset[3]` stand for."""

    source: Source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, id: int) -> Any:
        if not -len(self) <= id < len(self):
            raise IndexError(f"there are {len(self)} examples")
        rows = self.source.take(require_ids([id % len(self)], len(self)))
        return map_tree(lambda leaf: leaf[0], rows)


@dataclass(frozen=True, eq=False)
class Numbers:
    """The example numbers of the pass that comes next, one by one: a `DataLoader`'s `sampler`."""

    of: Callable[[], np.ndarray]
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(self.of().tolist())


def in_sequence(numbers: Numbers, dataset: Any) -> Any:
    """The same for an order that is 0, 1, 2, ...: as torch's own `SequentialSampler` where torch is loaded, which is
    how other loops tell that nothing is shuffled.
    """
    data = sys.modules.get("torch.utils.data")
    return numbers if data is None else data.SequentialSampler(dataset)  # type: ignore[attr-defined]


@dataclass(frozen=True, eq=False)
class NumbersInBatches:
    """The same in batches: a `DataLoader`'s `batch_sampler`."""

    sampler: Numbers
    batch_size: int
    drop_last: bool

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        ids = list(self.sampler)
        for at in range(0, len(ids), self.batch_size):
            if not self.drop_last or at + self.batch_size <= len(ids):
                yield ids[at : at + self.batch_size]


def dataset_of(data: Any, source: Source) -> Any:
    """What was handed over, where it has items by number; else its source as `Examples`."""
    if data is source or isinstance(data, Mapping | tuple | str | Path) or not hasattr(data, "__getitem__"):
        return Examples(source)
    if hasattr(data, "columns") or (hasattr(data, "column_names") and not hasattr(data, "features")):
        return Examples(source)  # A frame is asked for columns by its brackets.
    return data
