"""`Filled`: a new shuffle of all rows each pass, over data that was filled up to a rung, its order a table.

places   0 ........ n - 1   n ........ places - 1
ids      a permutation      the rows that fill up, which weigh nothing: they end the last batch of a pass

Data of 1,437 and of 1,438 rows, as folds leave them, so share one compiled program: the number of rows is data of it.
The last batch is what it would have been, for a ragged end is masked by weights anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ladle.feed.order import order_ids

PASSES = 16
"""Passes whose order lies on the device at once, at most."""

MOST_PLACES = 2**22
"""Places of all of them together, at most, unless one pass has more: 16 MiB."""


def filled_to(rows: int, size: int | None, multiple: int = 64) -> int:
    """Places of a pass: whole batches of `size`, or for None (all rows in one batch) the next `multiple`.

    >>> filled_to(1437, 64), filled_to(1438, 64), filled_to(100, None)
    (1472, 1472, 128)
    """
    step = size or multiple
    return -(-rows // step) * step


def passes_at_once(places: int) -> int:
    """How many passes one table holds: a function of its width alone, so that programs are shared.

    >>> passes_at_once(1472), passes_at_once(1_000_000), passes_at_once(10_000_000)
    (16, 4, 1)
    """
    return max(1, min(PASSES, MOST_PLACES // places))


@dataclass(frozen=True, eq=False)
class Filled:
    """The order of passes `first .. first + passes_at_once(places)`.

    - `rows`: that are shuffled, by `(seed, pass)`. `places`: of a pass, `rows` or more.
    - `place`: puts the table where the program reads it, once.
    """

    rows: int
    places: int
    seed: int
    first: int = 0
    passes: int | None = None
    place: Callable[[Any], Any] = lambda tree: tree

    @property
    def epoch_size(self) -> int:
        return self.places

    @property
    def program(self) -> FilledProgram:
        return FilledProgram(self.places)

    @cached_property
    def _host(self) -> dict[str, np.ndarray]:
        held = passes_at_once(self.places)
        ids = np.zeros((held, self.places), np.uint32)
        ids[:, self.rows :] = np.arange(self.rows, self.places, dtype=np.uint32)
        for at in range(held if self.passes is None else min(held, self.passes)):
            random = np.random.Generator(np.random.PCG64((self.seed, self.first + at)))
            ids[at, : self.rows] = random.permutation(self.rows)
        return {"ids": ids.reshape(-1), "first": np.asarray(self.first, np.uint32)}

    @cached_property
    def _placed(self) -> dict[str, Any]:
        return self.place(self._host)

    def tables(self) -> Mapping[str, Any]:
        return self._placed

    def ids(self, start: int, count: int) -> np.ndarray:
        return order_ids(self, start, count)


@dataclass(frozen=True)
class FilledProgram:
    """`Filled` as a function. Reads `ids` (`u32[passes * epoch_size]`) and `first` (`u32[]`)."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        row = (xp.asarray(epoch) - xp.asarray(tables["first"])).astype(np.uint32)
        return xp.asarray(tables["ids"])[row * np.uint32(self.epoch_size) + offset]
