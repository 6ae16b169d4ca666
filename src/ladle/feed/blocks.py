"""`Blocks`: a shuffle for files where random rows are slow: whole blocks in random order, the rows of a few mixed.

    blocks     permuted anew each pass by a keyed bijection, then taken `mix` at a time: a window
    rows       of a window permuted by a keyed bijection of their own

A row group of a Parquet file is decoded whole or not at all, and a cold disk reads 128 neighbours as fast as one row:
so a block is read once a pass, and `mix` of them are in memory at a time. The price is that rows of one block come
close together. `quality` says before a run how much, for data that is sorted by block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Source
from ladle.core.seed import seed_words
from ladle.core.spec import require_count
from ladle.feed.bijection import NARROW, ROUNDS, finalise, host_while, permute, round_keys, sides
from ladle.feed.keys import BLOCKS, stream
from ladle.feed.order import BLOCK

WINDOW = 65_536
"""Rows that a window holds at least, where nothing else is asked: small blocks are mixed by the hundred."""

# A chain that is one link longer than that of `ladle.feed.order`: the last link is the window.
_OF_BLOCKS = 0  # Windows are numbered on from here.


@dataclass(frozen=True, eq=False)
class Blocks:
    """Every example exactly once per pass, block by block, `mix` blocks mixed; implements `ladle.core.protocols.Order`.

    - `sizes`: `i64[blocks]` examples in each block, in the order of their ids. `mix`: blocks mixed at a time.

    Memory: 16 bytes a block, and a few times 16,384 ids. Raises `ArgumentError` for sizes that are not whole numbers
    of at least 1, a bad seed, or `mix` below 1.

    >>> order = Blocks([3, 2, 3], seed=1, mix=2)
    >>> order.ids(0, 8).tolist(), order.ids(8, 8).tolist()
    ([5, 6, 7, 3, 4, 1, 0, 2], [0, 6, 2, 5, 7, 1, 3, 4])
    """

    sizes: Any = field(repr=False)
    seed: int = 0
    mix: int = 8

    once: ClassVar[bool] = True
    """Every pass holds every example exactly once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", _checked_sizes(self.sizes))
        object.__setattr__(self, "mix", min(require_count("mix", self.mix), len(self.sizes)))
        seed_words(self.seed)

    @classmethod
    def of(cls, source: Source, seed: int = 0, mix: int | None = None) -> Blocks:
        """The order of a source's own `blocks`. By default as many are mixed as `mixed` says.

        Raises `ArgumentError` for a source that has no blocks.
        """
        sizes = getattr(source, "blocks", None)
        if sizes is None:
            why, remedy = "a source in memory has no blocks to keep together", "Permuted(len(source))"
            raise ArgumentError(must("source", "have blocks", type(source).__name__, why, remedy))
        return cls(sizes, seed, mixed(sizes) if mix is None else mix)

    @property
    def epoch_size(self) -> int:
        return self._examples

    @cached_property
    def _examples(self) -> int:
        return int(self.sizes.sum())

    def ids(self, start: int, count: int) -> np.ndarray:
        """`i64[count]` ids at positions `start .. start + count`. Pure; neighbouring calls share what they compute."""
        parts, stop = [np.empty(0, np.int64)], start + count
        while start < stop:
            epoch, place = divmod(start, self.epoch_size)
            ends = _windows(self, epoch % 2**32)[1]
            window = int(np.searchsorted(ends, place, side="right"))
            piece, inside = divmod(place - (int(ends[window - 1]) if window else 0), BLOCK)
            part = _piece(self, epoch % 2**32, window, piece)[inside : inside + stop - start]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts)

    def quality(self, batch: int) -> float:
        """Variance between batches, over that of a true shuffle, on data sorted by block; 1 is a shuffle.

            1 + b (1 - k / K) / k          K blocks of equal size, k mixed, b examples a batch

        What a batch sees of the data is what its window holds: k blocks drawn from K without replacement, each class
        in whole blocks. A batch of many windows counts them all as mixed. On data without any order among its blocks
        the ratio is 1 whatever the batch. Source: fits simulated orders; the formula is that of a cluster sample
        (W. Cochran, "Sampling techniques", 3rd ed. 1977, chapter 9).

        >>> Blocks([65_536] * 77, mix=8).quality(1024)
        115.7012987012987
        """
        blocks, rows = len(self.sizes), self.mix * self.epoch_size / len(self.sizes)
        batch = min(require_count("batch", batch), self.epoch_size)
        seen = min(max(self.mix, self.mix * batch / rows), blocks)
        return 1 + batch * (1 - seen / blocks) / seen

    def describe(self, batch: int) -> str:
        """One line to print before a run.

        >>> Blocks([100] * 10, mix=5).describe(32)
        '10 blocks, 5 mixed (about 500 rows): batches of 32 vary 4.2 times as much as shuffled ones if sorted by block'
        """
        blocks, rows = len(self.sizes), round(self.mix * self.epoch_size / len(self.sizes))
        ratio = f"{self.quality(batch):.3g} times as much as shuffled ones if sorted by block"
        return f"{blocks:,} blocks, {self.mix:,} mixed (about {rows:,} rows): batches of {batch:,} vary {ratio}"


def mixed(sizes: Any) -> int:
    """How many blocks to mix where nobody said: 8, or as many small ones as hold `WINDOW` rows; at most all.

    >>> mixed([1_000_000] * 20), mixed([128] * 10_000), mixed([128] * 100)
    (8, 512, 100)
    """
    return min(max(8, -(-WINDOW * len(sizes) // max(int(np.sum(sizes)), 1))), len(sizes))


@lru_cache(maxsize=4)
def _windows(order: Blocks, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks in the order of a pass (`i64[blocks]`), and the place after the last row of each window."""
    blocks = _shuffled(order, epoch, _OF_BLOCKS, 0, len(order.sizes), len(order.sizes)).astype(np.int64)
    return blocks, np.add.reduceat(order.sizes[blocks], np.arange(0, len(blocks), order.mix)).cumsum()


@lru_cache(maxsize=16)
def _piece(order: Blocks, epoch: int, window: int, piece: int) -> np.ndarray:
    """`i64[<= BLOCK]` ids of one piece of a window. A pure function of its arguments: keeping it changes nothing."""
    own = _windows(order, epoch)[0][window * order.mix : (window + 1) * order.mix]
    sizes = order.sizes[own]
    after = sizes.cumsum()
    rows, first = int(after[-1]), piece * BLOCK
    row = _shuffled(order, epoch, _OF_BLOCKS + 1 + window, first, min(first + BLOCK, rows), rows)
    shift = _first_ids(order)[own] + sizes - after
    if (sizes == sizes[0]).all():  # A division in short words is faster than a search.
        return row.astype(np.int64) + shift[row // row.dtype.type(sizes[0])]
    row = row.astype(np.int64)
    return row + shift[np.searchsorted(after, row, side="right")]


@lru_cache(maxsize=4)
def _first_ids(order: Blocks) -> np.ndarray:
    return order.sizes.cumsum() - order.sizes


def _shuffled(order: Blocks, epoch: int, purpose: int, start: int, stop: int, n: int) -> np.ndarray:
    """Where the bijection of `0 .. n-1` for one purpose sends `start .. stop`: `u32` or `u64[stop - start]`."""
    word = np.uint32 if n <= NARROW else np.uint64
    keys = round_keys(seed_words(order.seed), np.uint32(epoch), stream(BLOCKS), ROUNDS * np.dtype(word).itemsize // 4)
    keys = finalise(keys ^ np.uint32(purpose))
    a, b = sides(n)
    places = np.arange(start, stop, dtype=word)
    return permute(places, word(n), word(a), word(b), keys=keys, xp=np, while_loop=host_while)


def _checked_sizes(sizes: Any) -> np.ndarray:
    values = np.array(sizes)
    if values.ndim != 1 or not 1 <= len(values) <= NARROW or values.dtype.kind not in "iu" or values.min() < 1:
        got = f"an array of shape {values.shape} and type {values.dtype}"
        if values.ndim == 1 and values.dtype.kind in "iu" and len(values):
            got = f"a block of {values.min()}"
        why = "blocks are taken whole, and an empty one has no row to take"
        raise ArgumentError(must("sizes", "be one whole number >= 1 per block", got, why, "source.blocks"))
    values = values.astype(np.int64)
    values.setflags(write=False)
    return values
