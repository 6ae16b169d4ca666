"""`ReadStream`: the next batch of a dataset that is iterated over, by whoever holds the iterator."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ladle.core.cursor import Shard
from ladle.core.errors import DataError, ExampleError, must
from ladle.feed.augment import Augment
from ladle.feed.source.generators import kept
from ladle.feed.source.places import Places
from ladle.feed.source.stack import stacked

PLACES = 2**40
"""Places of a pass, for the keys of its examples: how many there will be is not known."""


@dataclass(frozen=True)
class Key:
    """`size` examples of pass `epoch` from the one number `start` on.

    - `state`: the dataset's there, for who does not stand there already. It says nothing new of what is asked for.
    """

    epoch: int
    start: int
    size: int
    state: Any = field(default=None, compare=False)


class Part(NamedTuple):
    """A batch, or None where none is left; how many examples it took, and the state of the dataset behind it."""

    batch: Any
    count: int
    state: Any


@dataclass(eq=False)
class ReadStream:
    """A function of its key, with an iterator kept for the key that follows.

    - `number`, `count`: which worker of how many this is. `collate`: a list of examples -> a batch.
    """

    dataset: Any
    shard: Shard
    seed: int
    drop_last: bool
    uneven: bool
    collate: Callable[[list[Any]], Any] | None = None
    augment: Augment | None = None
    number: int = 0
    count: int = 1
    _iterator: Iterator[Any] | None = field(default=None, repr=False)
    _at: tuple[int, int] = field(default=(-1, -1), repr=False)
    _end: tuple[int, int, Any] = field(default=(-1, 0, None), repr=False)
    """Where the last pass ended that has, and the state there."""
    _kept: list[Any] = field(default_factory=list, repr=False)
    """Examples that were read before they were asked for."""
    split: bool = False
    """Whether a `worker_init_fn` has asked which part of the stream is this worker's."""

    def __call__(self, key: Key) -> Part:
        epoch, end, state = self._end
        if key.state is None and key.epoch == epoch and key.start >= end:  # Read ahead, beyond the end.
            return Part(None, 0, state)
        with kept() as states:
            if self._iterator is None or self._at != (key.epoch, key.start):
                self._begin(key, states)
            assert self._iterator is not None
            items = self._items(key, states)
            taken = len(items)
            self._at = key.epoch, key.start + taken
            if taken < key.size:
                self._iterator = None
                if self.drop_last:
                    items = []
            state = state_of(self.dataset, self._iterator)
            if taken < key.size:
                self._end = (*self._at, state)
            if not items:
                return Part(None, taken, state)
            return Part(self._batch(items, key), taken, state)

    def _begin(self, key: Key, states: Any) -> None:
        """An iterator at `key`: by the dataset's own state where there is one, else by reading up to there."""
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(key.epoch)
        states.seed(self._keys(key.epoch, 0, 1)[0])
        self._end, self._kept = (-1, 0, None), []
        info = told_worker(self)
        if key.state is not None and key.state[0] == "dataset":
            self.dataset.load_state_dict(copy.deepcopy(key.state[1]))
        self._iterator = iter(self.dataset)
        if key.state is not None and key.state[0] != "dataset":
            load = getattr(self._iterator, "set_state", None) or self._iterator.load_state_dict  # type: ignore
            load(copy.deepcopy(key.state[1]))
        self._at = key.epoch, key.start if key.state is not None else 0
        while self._at[1] < key.start:
            if not self._items(Key(key.epoch, self._at[1], 1), states):
                return
            self._at = key.epoch, self._at[1] + 1
        if self.count > 1 and info is not None:
            self._require_shared(info, key, states)

    def _require_shared(self, info: _Info, key: Key, states: Any) -> None:
        """Raises `DataError` where each of several workers would read all of the stream."""
        if self.split:
            return
        if not info.asked:
            self._kept = self._items(replace(key, size=1), states)
        if not info.asked:
            why = "each of them iterates over it, and would hand out all of its examples"
            remedy = "num_workers=1, or a dataset that asks torch.utils.data.get_worker_info() which part is its own"
            raise DataError(must("dataset", f"share itself among {self.count} workers", "one stream", why, remedy))

    def _items(self, key: Key, states: Any) -> list[Any]:
        items, self._kept = self._kept, []
        keys = self._keys(key.epoch, key.start, key.size)
        assert self._iterator is not None
        for place in range(len(items), key.size):
            states.seed(keys[place])
            try:
                items.append(next(self._iterator))
            except StopIteration:
                break
            except Exception as error:
                self._iterator = None
                said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                what, why = f"example {key.start + place} of pass {key.epoch}", "the dataset raised it"
                remedy = "iterating over the dataset to see it"
                raise ExampleError(must(what, "be readable", said, why, remedy), [key.start + place]) from error
        return items

    def _keys(self, epoch: int, start: int, size: int) -> np.ndarray:
        return self._places(epoch, start, size).keys()

    def _places(self, epoch: int, start: int, size: int) -> Places:
        position = epoch * PLACES + np.arange(start, start + size) * self.count + self.number
        return Places(position, PLACES, self.seed)

    def _batch(self, items: list[Any], key: Key) -> Any:
        index, count = self.shard.index, self.shard.count
        if len(items) % count and not self.uneven:
            got, why = f"a batch of {len(items)} examples", "a rank without its share would leave the others waiting"
            remedy = "drop_last=True, or uneven=True to take them as they are"
            raise DataError(must("every batch", f"be shared evenly by {count} ranks", got, why, remedy))
        own = range(index, len(items), count)
        items = [items[at] for at in own]
        if self.augment is not None:
            keys = self._places(key.epoch, key.start, key.size).keys(self.augment.purpose)
            items = [self.augment.function(item, keys[at]) for item, at in zip(items, own, strict=True)]
        return stacked(items, [key.start + at for at in own]) if self.collate is None else self.collate(items)


class _Info:
    """What torch tells a worker of itself, and whether it was asked."""

    def __init__(self, reader: ReadStream) -> None:
        self.asked, self.seed = False, reader.seed
        self._number, self._count, self._dataset = reader.number, reader.count, reader.dataset

    @property
    def dataset(self) -> Any:
        self.asked = True
        return self._dataset

    @property
    def id(self) -> int:
        self.asked = True
        return self._number

    @property
    def num_workers(self) -> int:
        self.asked = True
        return self._count


def told_worker(reader: ReadStream) -> _Info | None:
    """In one of several processes: torch's word about which of them this is."""
    if reader.count == 1:
        return None
    info = _Info(reader)
    worker = sys.modules.get("torch.utils.data._utils.worker")
    if worker is not None:
        worker._worker_info = info  # type: ignore[attr-defined]
    return info


def state_before(dataset: Any) -> tuple[str, Any] | None:
    """That of a dataset that nothing was read of yet, where it has one by then."""
    try:
        return state_of(dataset, None) or state_of(None, dataset)
    except Exception:  # Some have a state only once they are iterated over.
        return None


def state_of(dataset: Any, iterator: Any) -> tuple[str, Any] | None:
    """What can be gone on from: the state of the iterator, or of the dataset, and which; None where neither has one."""
    for kind, owner, get, put in (
        ("iterator", iterator, "get_state", "set_state"),
        ("iterator", iterator, "state_dict", "load_state_dict"),
        ("dataset", dataset, "state_dict", "load_state_dict"),
    ):
        if hasattr(owner, get) and hasattr(owner, put):
            return kind, copy.deepcopy(getattr(owner, get)())
    return None
