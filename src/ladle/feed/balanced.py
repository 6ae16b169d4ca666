"""`Balanced`: every class equally often, however many examples it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import host_while, permute, round_keys, sides
from ladle.feed.keys import BALANCED, ROUNDS_OF_CLASSES, for_each, stream
from ladle.feed.stratified import checked_labels

BLOCK = 4096
"""Positions evaluated at once: enough to make the cost per call vanish."""


@dataclass(frozen=True, eq=False)
class Balanced:
    """Every class equally often in every stretch; implements `ladle.core.protocols.Order`.

    The `k` classes have their turns in rounds, in a new order in each. The first `p` positions hold `p / k` of every
    class, give or take less than 1; any stretch, such as a batch, give or take less than 2. Each class goes on through
    passes of its own, each of its examples exactly once per pass of the class, shuffled anew: examples of a class that
    is ten times rarer come ten times as often, evenly spread. All of it is a function of the position.

    - `labels`: `[n]` whole numbers, booleans or strings, one class each.
    - `draws`: positions in one pass; `n` by default. It is a mere number: the passes of the classes go on across it.

    Raises `ArgumentError` for labels that are not a class each, or a bad seed.

    >>> order = Balanced([0, 0, 0, 0, 1, 1], seed=0)
    >>> order.ids(0, 8).tolist()
    [0, 5, 4, 3, 2, 5, 4, 1]
    """

    labels: Any = field(repr=False)
    seed: int = 0
    draws: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checked_labels(self.labels))
        object.__setattr__(self, "draws", require_count("draws", self.examples if self.draws is None else self.draws))
        seed_words(self.seed)

    @property
    def examples(self) -> int:
        """Ids are below this."""
        return len(self.labels)

    @property
    def epoch_size(self) -> int:
        assert self.draws is not None
        return self.draws

    def ids(self, start: int, count: int) -> np.ndarray:
        """`i64[count]` ids at positions `start .. start + count`, from whole blocks: neighbouring calls share them."""
        first, last = start // BLOCK, (start + count - 1) // BLOCK
        blocks = [_block(self, number) for number in range(first, last + 1)]
        return np.concatenate([np.empty(0, np.int64), *blocks])[start - first * BLOCK :][:count]

    def at(self, position: np.ndarray) -> np.ndarray:
        """`i64[k]` ids at any positions (`i64[k]`)."""
        table, seed, first_pass = self._tables, seed_words(self.seed), np.uint32(0)
        k = len(table["count"])
        turn, place = np.divmod(position, k)
        keys = for_each(round_keys(seed, first_pass, stream(ROUNDS_OF_CLASSES)), turn)
        own = _permuted(place, *np.array([k, *sides(k)]), keys=keys)
        n, a, b = (table[name][own] for name in ("count", "rows", "columns"))
        epoch, inside = np.divmod(turn, n)
        keys = for_each(round_keys(seed, first_pass, (own + BALANCED).astype(np.uint32)), epoch)
        return table["member"][table["first"][own] + _permuted(inside, n, a, b, keys=keys)]

    @cached_property
    def _tables(self) -> Mapping[str, np.ndarray]:
        """Per class `first` (where its members begin), `count`, and the sides of its bijection; `member`: `i64[n]`."""
        _, class_of, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        rows, columns = zip(*(sides(int(count)) for count in counts), strict=True)
        return {
            "member": np.argsort(class_of, kind="stable"),
            "first": np.cumsum(counts) - counts,
            "count": counts,
            "rows": np.array(rows),
            "columns": np.array(columns),
        }


@lru_cache(maxsize=8)
def _block(order: Balanced, number: int) -> np.ndarray:
    """Ids of one block of positions. A pure function of its arguments: remembering it changes nothing."""
    return order.at(np.arange(number * BLOCK, (number + 1) * BLOCK, dtype=np.int64))


def _permuted(x: np.ndarray, *shape: Any, keys: np.ndarray) -> np.ndarray:
    """`i64[k]`: where the bijections of `n`, `a`, `b` (`i64[]` or `i64[k]`, below 2**31) send `x`."""
    n, a, b = (value.astype(np.uint32) for value in shape)
    return permute(x.astype(np.uint32), n, a, b, keys=keys, xp=np, while_loop=host_while).astype(np.int64)
