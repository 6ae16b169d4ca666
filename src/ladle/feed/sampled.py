"""`Sampled`: the order of a sampler, as a `DataLoader` takes them."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.source.generators import kept
from ladle.feed.source.places import Places
from ladle.feed.source.request import require_ids

PASSES = 4
"""Passes whose numbers are kept."""


class Sampled:
    """Numbers of examples as a sampler has them, anew for each pass; implements `ladle.core.protocols.Order`.

    The shared random generators are set from (seed, pass) while it is asked, so that `RandomSampler`,
    `WeightedRandomSampler` and their like answer alike for the same pass, also in a resumed run. A sampler with a
    generator of its own answers as it likes. One with `set_epoch` is told the pass.

    - `sampler`: an iterable with a length. `examples`: how many there are to choose from. `seed`: of the run.

    Raises `ArgumentError` for what is no sampler; `DataError` where it answers with another count or with no numbers.

    >>> Sampled([2, 0, 1], 3).ids(1, 4).tolist()
    [0, 1, 2, 0]
    """

    changes = True
    """A sampler is the user's object: it may answer otherwise in another pass."""
    name, what = "sampler", "numbers"

    def __init__(self, sampler: Any, examples: int, seed: int = 0) -> None:
        if not hasattr(sampler, "__iter__") or not hasattr(sampler, "__len__") or not len(sampler):
            why, remedy = "a position is a place in what it yields", "range(n), a list, or order="
            got = type(sampler).__name__
            raise ArgumentError(must(self.name, "be an iterable with a length of at least 1", got, why, remedy))
        self.sampler, self.examples, self.seed = sampler, examples, seed
        self.epoch_size = len(sampler)
        self._passes: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def prepare(self, epoch: int) -> Any:
        """`i64[epoch_size]`: the numbers of a pass; asks the sampler once for each."""
        with self._lock:
            if epoch not in self._passes:
                told: Any = (
                    self.sampler if hasattr(self.sampler, "set_epoch") else getattr(self.sampler, "sampler", None)
                )
                if hasattr(told, "set_epoch"):
                    told.set_epoch(epoch)
                with kept() as states:
                    states.seed(Places(np.array([epoch * self.epoch_size]), self.epoch_size, self.seed).keys()[0])
                    found = list(self.sampler)
                if len(found) != self.epoch_size:
                    got, why = f"{len(found)} in pass {epoch}", "a position is a place in what it yields"
                    remedy = f"a {self.name} whose length is what it yields"
                    raise DataError(must(self.name, f"yield its {self.epoch_size} {self.what}", got, why, remedy))
                self._passes[epoch] = self._checked(found)
                for old in sorted(self._passes)[:-PASSES]:
                    del self._passes[old]
            return self._passes[epoch]

    def _checked(self, found: list[Any]) -> Any:
        return require_ids(whole(found, self.name), self.examples)

    def ids(self, start: int, count: int) -> np.ndarray:
        """`i64[count]` example ids at positions `start .. start + count`."""
        parts, stop = [], start + count
        while start < stop:
            epoch, offset = divmod(start, self.epoch_size)
            parts.append(self.prepare(epoch)[offset : offset + stop - start])
            start += len(parts[-1])
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()


def whole(found: Any, name: str) -> list[int]:
    """Numbers of examples as ints. Raises `DataError` for others than whole ones."""
    ids = list(found)
    for id in ids:
        if isinstance(id, bool) or not hasattr(id, "__index__"):
            why, remedy = "they number examples", "batch_sampler= for lists of numbers, or a source for what has names"
            raise DataError(must(name, "yield whole numbers", id, why, remedy))
    return [id.__index__() for id in ids]
