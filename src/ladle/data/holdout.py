"""Examples set aside from a source that is too large to be copied: which, and the source without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, ExampleError, must
from ladle.core.protocols import Source

RUNS = 8
"""Validation rows of a source in blocks come from so many blocks: reading a row reads its block."""


@dataclass(frozen=True, eq=False)
class Without:
    """A source without some examples; implements `ladle.core.protocols.Source`. Costs memory for those left out alone.

        id = i + #{j : held_j - j <= i}                     (i-th example that is kept; held ascending)

    - `source`: any source. `held`: `i64[k]`, ascending, the ids left out.

    >>> class Numbers:
    ...     def __len__(self): return 6
    ...     def take(self, ids): return ids * 10
    >>> Without(Numbers(), np.array([0, 3])).take(np.arange(4)).tolist()
    [10, 20, 40, 50]
    """

    source: Any
    held: np.ndarray

    def __len__(self) -> int:
        return len(self.source) - len(self.held)

    def take(self, ids: np.ndarray) -> Any:
        """The kept examples `ids` (`i64[k]`). Raises `ExampleError` with ids as numbered here."""
        inside = self.ids_in_source(ids)
        try:
            return self.source.take(inside)
        except ExampleError as error:
            raise ExampleError(str(error), ids[np.isin(inside, error.ids)]) from error

    def ids_in_source(self, ids: np.ndarray) -> np.ndarray:
        """What the kept examples `ids` are called in the source."""
        return ids + np.searchsorted(self.held - np.arange(len(self.held)), ids, side="right")

    def __getattr__(self, name: str) -> Any:
        if name == "blocks":  # Only where the source has blocks: a feed asks whether there are any.
            blocks = self.source.blocks
            ends = np.cumsum(blocks)
            return blocks - np.diff(np.searchsorted(self.held, np.concatenate([[0], ends])))
        if name.startswith("__") or name in ("source", "held"):
            raise AttributeError(name)
        return getattr(self.source, name)


def held_out(source: Source, valid: float | int, seed: int) -> np.ndarray:
    """`i64[k]` ascending ids to validate on: `valid` of them, or that share (at most 20,000).

    Drawn at random; of a source in blocks, as runs from at most `RUNS` random blocks. Raises `ArgumentError`.

    >>> held_out(range(100), 5, seed=0).tolist()   # anything with a length
    [40, 53, 61, 74, 94]
    """
    n = len(source)
    if isinstance(valid, bool) or not isinstance(valid, int | float) or valid < 0 or (valid >= 1 and valid % 1):
        why, remedy = "it says how much to validate on", "valid=0.05, or a number of examples"
        raise ArgumentError(must("valid", "be a share below 1 or a whole number", valid, why, remedy))
    count = int(valid) if valid >= 1 else min(round(n * valid), 20_000)
    if count >= n:
        raise ArgumentError(must("valid", f"leave some of {n} examples", count, "training needs rows", "valid=0.05"))
    if count == 0:
        return np.arange(0)
    generator = np.random.Generator(np.random.Philox(key=seed))
    blocks = getattr(source, "blocks", None)
    if blocks is None or len(blocks) < 2:
        return _distinct(generator, n, count)
    # As many blocks as hold them, each in equal part; every block keeps a row.
    chosen = generator.permutation(len(blocks))
    room = np.cumsum(blocks[chosen] - 1)
    if room[-1] < count:
        return _distinct(generator, n, count)
    chosen = chosen[: max(RUNS, int(np.searchsorted(room, count)) + 1)]
    share = np.minimum(blocks[chosen] - 1, -(-count // len(chosen)))
    for at in range(len(chosen)):  # What small blocks lack is taken from the others.
        share[at] += min(int(blocks[chosen[at]]) - 1 - int(share[at]), max(count - int(share.sum()), 0))
    share = np.diff(np.minimum(np.cumsum(share), count), prepend=0)
    first = (np.cumsum(blocks) - blocks)[chosen]
    runs = [np.arange(begin, begin + size) for begin, size in zip(first, share, strict=True)]
    return np.sort(np.concatenate(runs))


def _distinct(generator: np.random.Generator, n: int, count: int) -> np.ndarray:
    """`count` different numbers below `n`, ascending; memory for `count` of them."""
    found = np.arange(0)
    while len(found) < count:
        more = generator.integers(0, n, 2 * (count - len(found)) + 8)
        found = np.unique(np.concatenate([found, more]))
    return np.sort(generator.permutation(found)[:count])
