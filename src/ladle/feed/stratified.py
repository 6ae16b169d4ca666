"""`Stratified`: every example once per pass, the classes in proportion in every batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.foreign import as_array
from ladle.core.seed import seed_words
from ladle.feed.bijection import NARROW, permute, round_keys, sides
from ladle.feed.keys import STRATIFIED
from ladle.feed.layout import interleave
from ladle.feed.order import order_ids, read_only


@dataclass(frozen=True, eq=False)
class Stratified:
    """Every example exactly once per pass, the classes in proportion in every stretch.

    With `k` classes, of which class `c` has `n_c` of the `n` examples, the first `p` positions of a pass hold
    `p * n_c / n` of class `c`, give or take `1 - 1 / (2k - 2)`; hence any stretch of `p` positions within a pass,
    such as a batch, give or take twice that (see `ladle.feed.layout.interleave`). Which class stands where is the same
    in each pass; which of its examples is shuffled anew, by a keyed bijection of each class.

    - `labels`: `[n]` whole numbers, booleans or strings, one class each.

    Raises `ArgumentError` for labels that are not a class each, or a bad seed.

    >>> Stratified([0, 0, 0, 0, 1, 1], seed=0).ids(0, 6).tolist()
    [3, 4, 2, 0, 5, 1]
    """

    labels: Any = field(repr=False)
    seed: int = 0

    once: ClassVar[bool] = True
    """Every pass holds every example exactly once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checked_labels(self.labels))
        seed_words(self.seed)

    @property
    def epoch_size(self) -> int:
        return len(self.labels)

    @property
    def program(self) -> StratifiedProgram:
        return StratifiedProgram(self.epoch_size)

    def tables(self) -> Mapping[str, np.ndarray]:
        return self._tables

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        _, class_of, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        first = np.cumsum(counts) - counts
        place = interleave(counts)
        class_at = np.repeat(np.arange(len(counts)), counts)[place]
        rows, columns = zip(*(sides(int(count)) for count in counts), strict=True)
        tables = {
            "class": class_at,
            "rank": place - first[class_at],
            "member": np.argsort(class_of, kind="stable"),
            "first": first,
            "count": counts,
            "rows": np.array(rows),
            "columns": np.array(columns),
        }
        words = {name: value.astype(np.uint32) for name, value in tables.items()}
        return read_only({"seed": seed_words(self.seed), **words})

    def ids(self, start: int, count: int) -> np.ndarray:
        return order_ids(self, start, count)


@dataclass(frozen=True)
class StratifiedProgram:
    """`Stratified` as a function.

    Reads `seed` (`u32[2]`); per place `class` and `rank` within it; `member`, the ids class by class; and per class
    `first` (where its members begin), `count`, and the `rows` and `columns` of its bijection; all `u32`.
    """

    epoch_size: int

    def __call__(
        self, tables: Mapping[str, Any], epoch: Any, offset: Any, xp: Any, while_loop: Callable[..., Any]
    ) -> Any:
        table = {name: xp.asarray(value) for name, value in tables.items()}
        own = table["class"][offset]
        n, a, b = (table[name][own] for name in ("count", "rows", "columns"))
        keys = round_keys(table["seed"], epoch, own + STRATIFIED)
        rank = permute(table["rank"][offset], n, a, b, keys=keys, xp=xp, while_loop=while_loop)
        return table["member"][table["first"][own] + rank]


def checked_labels(labels: Any) -> np.ndarray:
    """One class for each example, or an `ArgumentError`."""
    values = np.array(as_array(labels, "labels"))
    if values.ndim != 1 or not 1 <= len(values) <= NARROW or values.dtype.kind not in "biuSU":
        got = f"an array of shape {values.shape} and type {values.dtype}"
        be = "be one whole number, boolean or string per example"
        raise ArgumentError(must("labels", be, got, "each names one example's class", "labels.astype(int)"))
    return values
