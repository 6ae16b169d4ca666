"""`Seen`: a running digest of the examples consumed. At the end of a pass it proves that each was used exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ladle.core.hashing import SPREAD, finalise

PROVABLE = 2**27
"""Passes of more examples than this are not proved: what they have to add up to would take over a second to compute."""


@dataclass(frozen=True)
class Seen:
    """The ids consumed in a pass, as their number and a sum of hashes.

        total = sum_i H(id_i)   mod 2**64

    It is the same for any order of them, any cut into batches and any hosts (whose sums are added), and it is part of
    the cursor, so it goes on across a resume. Two passes that differ in an example agree by chance once in 2**64.

    >>> half = Seen().add(np.array([3, 1]), epoch=0)
    >>> half.proves(4), half.add(np.array([0, 2]), epoch=0).proves(4), half.add(np.array([0, 1]), epoch=0).proves(4)
    (None, True, False)
    """

    epoch: int = 0
    count: int = 0
    total: int = 0

    def add(self, ids: np.ndarray, epoch: int) -> Seen:
        """With `ids` (`i64[k]`) of pass `epoch`; those of an earlier pass are forgotten."""
        count, total = (self.count, self.total) if epoch == self.epoch else (0, 0)
        return Seen(epoch, count + len(ids), (total + _total(ids)) % 2**64)

    def joined(self, others: Iterable[Seen]) -> Seen:
        """What this and others saw together, of the newest pass that one of them has seen."""
        every = [self, *others]
        newest = max(one.epoch for one in every)
        same = [one for one in every if one.epoch == newest]
        return Seen(newest, sum(one.count for one in same), sum(one.total for one in same) % 2**64)

    def proves(self, n: int) -> bool | None:
        """Whether examples `0 .. n - 1` were consumed exactly once each; None before the pass is whole."""
        return None if self.count < n else self.count == n and self.total == _whole(n)

    def to_json(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "count": self.count, "total": f"{self.total:016x}"}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Seen:
        return cls(int(value["epoch"]), int(value["count"]), int(value["total"], 16))


def _total(ids: np.ndarray) -> int:
    spread = np.uint64(SPREAD[8])
    return int(finalise((ids.astype(np.uint64) + np.uint64(1)) * spread).sum(dtype=np.uint64))


@lru_cache(maxsize=4)
def _whole(n: int) -> int:
    step = 2**20
    parts = (_total(np.arange(first, min(first + step, n))) for first in range(0, n, step))
    return sum(parts) % 2**64
