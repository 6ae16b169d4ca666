"""`Fold`: some examples of a set, in a new order each pass. Which ones is data, so all folds share one program.

`Tabled`: an order whose first passes are worked out beforehand. Its program is one look-up, which compiles sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Order
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import NARROW, ROUNDS, host_while, permute, round_keys, sides
from ladle.feed.keys import stream

FOLD = 0xE000_0000
"""What its keys are for; beside those of `ladle.feed.keys`."""


@dataclass(frozen=True, eq=False)
class Fold:
    """The examples `members`, each at most once in a pass of `epoch_size` places, in a fresh order each pass.

    Folds of a cross-validation differ by one example where their number does not divide that of all. So that all of
    them share one compiled program, a pass may be one place shorter than there are members: it then leaves another
    member out each time.

    - `members`: `i64[m]` ids. `epoch_size`: at most `m`. `room`: the length of the table, at least `m`.

    Raises `ArgumentError` for more places than members, or a bad seed.

    >>> order = Fold(np.array([2, 3, 5, 7, 11]), epoch_size=4, seed=0, room=6)
    >>> order.ids(0, 8).tolist()
    [3, 2, 5, 11, 2, 5, 11, 3]
    """

    members: np.ndarray = field(repr=False)
    epoch_size: int
    seed: int = 0
    room: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.epoch_size <= len(self.members) <= NARROW:
            why = "a pass holds an example once at most"
            raise ArgumentError(
                must("epoch_size", f"be from 1 to {len(self.members)}", self.epoch_size, why, "more members")
            )
        seed_words(self.seed)

    @property
    def examples(self) -> int:
        """Ids are below this."""
        return int(np.max(self.members)) + 1

    @property
    def program(self) -> FoldProgram:
        return FoldProgram(self.epoch_size)

    def tables(self) -> Mapping[str, np.ndarray]:
        count = len(self.members)
        rows, columns = sides(count)
        member = np.zeros(max(self.room, count), np.uint32)
        member[:count] = self.members
        numbers = {"count": count, "rows": rows, "columns": columns}
        words = {name: np.asarray(value, np.uint32) for name, value in numbers.items()}
        return {"seed": seed_words(self.seed), "member": member, **words}

    def ids(self, start: int, count: int) -> np.ndarray:
        parts, stop, tables = [np.empty(0, np.int64)], start + count, self.tables()
        while start < stop:
            epoch, place = divmod(start, self.epoch_size)
            places = np.arange(place, min(self.epoch_size, place + stop - start), dtype=np.uint32)
            parts.append(self.program(tables, np.uint32(epoch), places, np, host_while).astype(np.int64))
            start += len(places)
        return np.concatenate(parts)


@dataclass(frozen=True)
class FoldProgram:
    """`Fold` as a function. Reads `seed` (`u32[2]`), `member` (`u32[room]`), `count` and its `rows` and `columns`."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        table = {name: xp.asarray(value) for name, value in tables.items()}
        n, a, b = (table[name] for name in ("count", "rows", "columns"))
        keys = round_keys(table["seed"], epoch, stream(FOLD), ROUNDS)
        return table["member"][permute(offset, n, a, b, keys=keys, xp=xp, while_loop=while_loop)]


@dataclass(frozen=True, eq=False)
class Tabled:
    """The first `passes` passes of an order as a table of ids: 4 bytes a place. The device must not go beyond them.

    For many short runs: a search compiles for seconds and trains for milliseconds, and hashing is a part of both.

    >>> order = Tabled(Fold(np.arange(5), epoch_size=5), passes=3)
    >>> order.tables()["ids"].shape, order.ids(2, 3).tolist() == order.order.ids(2, 3).tolist()
    ((3, 5), True)
    """

    order: Order
    passes: int

    def __post_init__(self) -> None:
        require_count("passes", self.passes)

    @property
    def epoch_size(self) -> int:
        return self.order.epoch_size

    @property
    def program(self) -> TabledProgram:
        return TabledProgram(self.epoch_size)

    def tables(self) -> Mapping[str, np.ndarray]:
        return self._tables

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        ids = self.order.ids(0, self.passes * self.epoch_size).astype(np.uint32)
        return {"ids": ids.reshape(self.passes, self.epoch_size)}

    def ids(self, start: int, count: int) -> np.ndarray:
        return self.order.ids(start, count)


@dataclass(frozen=True)
class TabledProgram:
    """`Tabled` as a function. Reads `ids` (`u32[passes, epoch_size]`)."""

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        return xp.asarray(tables["ids"])[epoch, offset]
