"""`Places`: where in a run examples are read, which is what their random numbers are a function of."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ladle.core.seed import seed_words
from ladle.feed.bijection import round_keys
from ladle.feed.keys import EXAMPLES, for_each, stream


class Places(NamedTuple):
    """Places of some examples.

    - `position`: `i64[k]`, in the order of the whole run. `epoch_size`: positions in a pass. `seed`: of the run.
    """

    position: np.ndarray
    epoch_size: int
    seed: int = 0

    @property
    def epoch(self) -> np.ndarray:
        """`i64[k]`: the pass of each."""
        return self.position // self.epoch_size

    def keys(self, purpose: int = EXAMPLES) -> np.ndarray:
        """`u32[k, 2]`: a key for each example, hashed from the seed, what it is for, its pass, and its place in it.

        Two places of one run share a key with a chance of 2**-64.

        >>> Places(np.array([3, 4, 13]), 10).keys().shape
        (3, 2)
        """
        epoch, place = divmod(self.position, self.epoch_size)
        if len(epoch) and epoch[0] == epoch[-1] and (epoch == epoch[0]).all():
            return for_each(_of_pass(self.seed, purpose, int(epoch[0])), place).T
        return for_each(_of_run(self.seed, purpose), epoch, place).T


@lru_cache(64)
def _of_run(seed: int, purpose: int) -> np.ndarray:
    return round_keys(seed_words(seed), np.uint32(0), stream(purpose), count=2)


@lru_cache(64)  # Most batches are of one pass, and its words take longer than those of a batch's places.
def _of_pass(seed: int, purpose: int, epoch: int) -> np.ndarray:
    return for_each(_of_run(seed, purpose), np.array([epoch]))


def taken(source: Any, ids: np.ndarray, places: Places) -> Any:
    """The rows `ids` of a source, which is told where they stand if it asks for that (`take_at`)."""
    at = getattr(source, "take_at", None)
    return source.take(ids) if at is None else at(ids, places)


class Placed:
    """A source as a collate function sees it: asked for some of `ids`, it knows the place of each."""

    def __init__(self, source: Any, ids: np.ndarray, places: Places) -> None:
        self._source, self._ids, self._places = source, ids, places

    def __len__(self) -> int:
        return len(self._source)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def take(self, ids: np.ndarray) -> Any:
        """The rows `ids`; of an id that stands at several places, each row is read as at its own one where all are
        asked for, at most with a stand-in for those that cannot be read; else all are read as at the first.
        """
        ids, own, places = np.asarray(ids), self._ids, self._places
        if ids.shape == own.shape and len(set(ids[ids != own].tolist())) <= 1:
            return self._source.take_at(ids, places)
        known, first = np.unique(own, return_index=True)
        at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        if not np.array_equal(known[at], ids):
            return self._source.take(ids)
        return self._source.take_at(ids, places._replace(position=places.position[first[at]]))


def placed(source: Any, ids: np.ndarray, places: Places) -> Any:
    """`source` itself, or as `Placed` where it asks for places."""
    return Placed(source, ids, places) if hasattr(source, "take_at") else source
