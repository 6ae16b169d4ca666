"""`Chosen`: some examples of a source, as a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ladle.core.errors import DataError, ExampleError, must
from ladle.core.protocols import Source
from ladle.feed.source.request import require_ids
from ladle.feed.source.wrapping import pass_on


@dataclass(frozen=True, eq=False)
class Chosen:
    """The examples `numbers` of a source, renumbered from 0; implements `ladle.core.protocols.Source`.

    Raises `ArgumentError` for numbers of no example, `DataError` for none at all, `ExampleError` with ids as numbered
    here.

    >>> from ladle.feed.arrays import Arrays
    >>> Chosen(Arrays(np.array([10, 20, 30])), [2, 0]).take(np.array([0, 1, 1])).tolist()
    [30, 10, 10]
    """

    source: Source
    numbers: Any
    memory_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        numbers = require_ids(self.numbers, len(self.source))
        if not len(numbers):
            why, remedy = "there is nothing to learn from", "numbers=[0, 1]"
            raise DataError(must("numbers", "choose at least one example", 0, why, remedy))
        object.__setattr__(self, "numbers", numbers)
        held = getattr(self.source, "memory_bytes", None)
        if held is not None:
            object.__setattr__(self, "memory_bytes", held)
        pass_on(self, [self.source], self._take_at)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, ids: np.ndarray) -> Any:
        """The chosen examples at `ids` (`i64[k]`), in that order."""
        return self._chosen(ids, self.source.take)

    def _take_at(self, ids: np.ndarray, places: Any) -> Any:
        return self._chosen(ids, lambda numbers: self.source.take_at(numbers, places))  # type: ignore[attr-defined]

    def _chosen(self, ids: np.ndarray, take: Callable[[np.ndarray], Any]) -> Any:
        ids = require_ids(ids, len(self))
        numbers = self.numbers[ids]
        try:
            return take(numbers)
        except ExampleError as error:
            raise ExampleError(str(error), ids[np.isin(numbers, error.ids)].tolist()) from error
