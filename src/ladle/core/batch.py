"""`Batch`: examples with weights. `Draw`: which examples a window consumes, before any byte is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Examples in arrays of one fixed shape.

    - `data`: a tree (dict) of arrays whose leading axis counts examples.
    - `weight`: `f32[examples]`; 0 marks padding, which then has no say in any sum.
    - `position`: `i64[examples]`, each example's place in the order of the whole run: what its random numbers
      (dropout) are derived from, so that they do not depend on how the batch was cut.
    - `ids`: `i64[examples]`, which examples of the source they are. `real`: how many rows, from the first on, are
      examples of this batch; the others are padding.
    - `sums`: what was counted in making it, to be added up: `tokens` and `token_slots` (their ratio is what padding
      wastes), `bad` (examples left out), sizes of sampled layers.
    - `bad`: ids of examples that could not be read and were left out (their rows have weight 0).
    """

    data: Any
    weight: np.ndarray
    position: np.ndarray
    ids: np.ndarray
    real: int
    sums: Mapping[str, float] = field(default_factory=dict)
    bad: tuple[int, ...] = ()


class Rows(NamedTuple):
    """What a collate makes of some examples: arrays of one shape, perhaps a weight for each, and what it counted.

    - `data`: tree of arrays with leading axis `rows`. `weight`: `f32[rows]` or None for all one.
    - `sums`: see `Batch.sums`.
    """

    data: Any
    weight: np.ndarray | None = None
    sums: Mapping[str, float] = {}


class Draw(Protocol):
    """What a feed hands out for one compiled call: `updates` batches, cut at every epoch's end.

    A draw is a plan of positions. Host data is read from it one micro-batch at a time, so that memory never grows
    with `size`; data that lives on the device is gathered by the compiled program from `start` alone.
    """

    @property
    def start(self) -> int:
        """Position of the first example."""
        ...

    @property
    def epoch_size(self) -> int:
        """Positions in one pass."""
        ...

    @property
    def counts(self) -> tuple[int, ...]:
        """Examples in each update, all shards together."""
        ...

    def ids(self) -> list[np.ndarray]:
        """`i64[...]` example ids of each update that belong to this shard."""
        ...

    def micro_batches(self, update: int, micro_size: int) -> Iterator[Batch]:
        """The rows of one update that belong to this shard, in micro-batches of exactly `micro_size` rows."""
        ...


def batch_ends(start: int, size: int, updates: int, epoch_size: int) -> np.ndarray:
    """Positions at which each of the next `updates` batches ends: `i64[updates]`.

    A batch never crosses an epoch: the last one of an epoch holds what is left.

        end_k = min(end_{k-1} + size, (end_{k-1} // epoch_size + 1) * epoch_size)

    >>> batch_ends(0, 4, 5, 10).tolist()
    [4, 8, 10, 14, 18]
    """
    size = min(size, epoch_size)
    per_epoch = -(-epoch_size // size)
    epoch, offset = divmod(start, epoch_size)
    batch = np.arange(1, updates + 1, dtype=np.int64)
    # Inside the first epoch batches start at `offset`; every later epoch starts afresh.
    left = -(-(epoch_size - offset) // size)
    inside = np.minimum(offset + np.minimum(batch, left) * size, epoch_size)
    later, index = np.divmod(np.maximum(batch - left - 1, 0), per_epoch)
    after = (later + 1) * epoch_size + np.minimum((index + 1) * size, epoch_size)
    return epoch * epoch_size + np.where(batch <= left, inside, after)


def window_end(start: int, size: int, updates: int, epoch_size: int) -> int:
    """Where the last of the next `updates` batches ends: `batch_ends(...)[-1]`, at once for any number of them.

    >>> window_end(0, 4, 5, 10), window_end(0, 1, 2**31 - 1, 10)
    (18, 2147483647)
    """
    epoch, offset = divmod(start, epoch_size)
    left = -(-(epoch_size - offset) // size)
    if updates <= left:
        return epoch * epoch_size + min(offset + updates * size, epoch_size)
    later, index = divmod(updates - left - 1, -(-epoch_size // size))
    return (epoch + later + 1) * epoch_size + min((index + 1) * size, epoch_size)


def updates_until(start: int, stop: int, size: int, epoch_size: int) -> int:
    """How many batches of `size` it takes from position `start` to reach `stop` or pass it.

    >>> updates_until(0, 10, 4, 10), updates_until(0, 11, 4, 10), updates_until(8, 8, 4, 10)
    (3, 4, 0)
    """
    if stop <= start:
        return 0
    epoch, offset = divmod(start, epoch_size)
    last_epoch, last_offset = divmod(stop, epoch_size)
    if epoch == last_epoch:
        return -(-(last_offset - offset) // size)
    whole = (last_epoch - epoch - 1) * -(-epoch_size // size)
    return -(-(epoch_size - offset) // size) + whole + -(-last_offset // size)
