from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.iterable import IterableLoader
from ladle.feed.loader import Loader
from ladle.feed.workers_test import alone

few = settings(max_examples=20, deadline=None)


class Stream(torch.utils.data.IterableDataset):
    """`n` numbers with a random one beside; in several workers each its own part."""

    def __init__(self, n: int, shares: bool = True) -> None:
        self.n, self.shares, self.epoch = n, shares, -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        info = torch.utils.data.get_worker_info() if self.shares else None
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for i in range(first, self.n, step):
            yield {"i": i, "epoch": self.epoch, "u": random.random() + np.random.rand() + float(torch.rand(()))}


class Stateful(Stream):
    """The same with a state of its own; counts what it yields."""

    at, yielded = 0, 0

    def __iter__(self) -> Any:
        for i in range(self.at, self.n):
            self.at, self.yielded = i + 1, self.yielded + 1
            yield {"i": i, "u": random.random()}
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def column(batches: Any, name: str) -> list[Any]:
    return list(itertools.chain(*(np.asarray(batch[name]).tolist() for batch in batches)))


def test_a_stream_is_read_in_its_own_order_pass_after_pass():
    loader = Loader(Stream(10), 4, to="torch")
    assert isinstance(loader, IterableLoader)
    for epoch in range(2):
        batches = list(loader)
        assert [len(batch["i"]) for batch in batches] == [4, 4, 2]
        assert (column(batches, "i"), set(column(batches, "epoch"))) == (list(range(10)), {epoch})
    assert sum(1 for _ in Loader(Stream(10), 4, drop_last=True)) == 2
    assert len(list(zip(loader, loader, strict=True))) == 3
    assert [type(batch) for batch in Loader(Stream(3), 2, collate_fn=tuple)] == [tuple, tuple]


@pytest.mark.parametrize("kind", [Stream, Stateful])
@given(n=st.integers(1, 20), sizes=st.tuples(st.integers(1, 7), st.integers(1, 7)), steps=st.integers(0, 9))
@few
def test_going_on_anywhere_with_another_size_is_one_sequence(kind, n, sizes, steps):
    whole = column(Loader(kind(n), 3, seed=1), "u")
    loader = Loader(kind(n), sizes[0], seed=1)
    begun = list(itertools.islice(loader, steps))
    data = kind(n)
    again = Loader(data, sizes[1], seed=1)
    again.load_state_dict(loader.state_dict())
    rest = list(again)
    ended = steps > -(-n // sizes[0])  # The loop saw the end of the pass, and this is the next one.
    assert ended or column(begun, "u") + column(rest, "u") == whole
    if kind is Stateful and not ended:
        assert data.yielded == n - len(column(begun, "u"))


class Counted(Stream):
    """Counts its passes, in its state."""

    passes = 0

    def __iter__(self) -> Any:
        for i in range(self.n):
            yield {"i": 100 * self.passes + i}
        self.passes += 1

    def state_dict(self) -> dict[str, int]:
        return {"passes": self.passes}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.passes = state["passes"]


@pytest.mark.parametrize("batches", [3, 4], ids=["before the end is seen", "after it"])
def test_a_state_at_the_end_of_a_pass_has_what_the_dataset_counts(batches):
    class Whole(Counted):
        def __iter__(self) -> Any:
            self.passes += 1
            return iter([{"i": 100 * self.passes + i} for i in range(self.n)])

    for kind in (Counted, Whole):
        loader = Loader(kind(5), 2)
        list(itertools.islice(loader, batches))
        again = Loader(kind(5), 2)
        again.load_state_dict(loader.state_dict())
        rest = [column(again, "i") for _ in range(2)]
        assert ([] in rest) == (batches == 3)
        assert next(one for one in rest if one) == column(loader, "i")


def check_persistent_passes() -> None:
    resized = Loader(Stateful(20), 3, num_workers=1)
    batches = iter(resized)
    found = [next(batches)["i"].tolist()]
    resized.batch_size = 5
    found += [batch["i"].tolist() for batch in batches]
    assert found == [[0, 1, 2], [*range(3, 8)], [*range(8, 13)], [*range(13, 18)], [18, 19]]
    resized.close()
    loader = Loader(Counted(5), 1, num_workers=1, persistent_workers=True)
    assert [column(loader, "i")[0] for _ in range(3)] == [0, 100, 200]
    loader.close()


@pytest.mark.slow
def test_reading_ahead_does_not_begin_another_pass():
    alone("ladle.feed.iterable_test", "check_persistent_passes")


def test_single_items_of_a_stream():
    assert [item["i"] for item in Loader(Stream(3), None)] == [0, 1, 2]


def test_ranks_take_equal_shares_of_each_batch_or_are_refused():
    parts = [column(Loader(Stream(11), 4, shard=Shard(k, 2), drop_last=True), "i") for k in range(2)]
    assert parts == [[0, 2, 4, 6], [1, 3, 5, 7]]
    uneven = [[len(batch["i"]) for batch in Loader(Stream(7), 4, shard=Shard(k, 2), uneven=True)] for k in range(2)]
    assert uneven == [[2, 2], [2, 1]]
    with pytest.raises(ArgumentError, match="drop_last must be True for several ranks"):
        Loader(Stream(7), 4, shard=Shard(0, 2))
    with pytest.raises(ArgumentError, match="batch_size must be shared evenly by 2 ranks"):
        Loader(Stream(7), 5, shard=Shard(0, 2), drop_last=True)


@pytest.mark.slow
def test_processes_share_a_stream_that_shares_itself():
    alone("ladle.feed.iterable_test", "check_shares")


def check_shares() -> None:
    loader = Loader(Stream(22), 4, num_workers=2)
    first, second = list(loader), list(loader)
    assert sorted(column(first, "i")) == sorted(column(second, "i")) == list(range(22))
    assert first[0]["i"].tolist() == [0, 2, 4, 6] and first[1]["i"].tolist() == [1, 3, 5, 7]
    assert set(column(second, "epoch")) == {1}
    head = list(itertools.islice(Loader(Stream(22), 4, num_workers=2), 3))
    begun = Loader(Stream(22), 4, num_workers=2)
    list(itertools.islice(begun, 3))
    again = Loader(Stream(22), 4, num_workers=2)
    again.load_state_dict(begun.state_dict())
    assert column(head, "u") + column(again, "u") == column(first, "u")
    for one in (loader, begun, again):
        one.close()
    with pytest.raises(DataError, match="dataset must share itself among 2 workers"):
        list(Loader(Stream(22, shares=False), 4, num_workers=2))
    with pytest.raises(DataError, match="dataset must share itself among 2 workers"):
        list(Loader(Stream(22, shares=False), 4, num_workers=2, worker_init_fn=abs))
    split = Loader(Part(22), 4, num_workers=2, worker_init_fn=take_part)
    assert sorted(column(split, "i")) == list(range(22))
    with pytest.raises(ArgumentError, match="num_workers must be the state's"):
        Loader(Stream(22), 4).load_state_dict(begun.state_dict())

    loader = Loader(Stream(10), 4, num_workers=1)
    assert column(loader, "u") == column(Loader(Stream(10), 3), "u")
    loader.close()


class Part(Stream):
    """Numbers of a part that is given by whoever begins the worker."""

    first, step = 0, 1

    def __iter__(self) -> Any:
        return ({"i": i} for i in range(self.first, self.n, self.step))


def take_part(number: int) -> None:
    info: Any = torch.utils.data.get_worker_info()
    info.dataset.first, info.dataset.step = number, info.num_workers


class Used(Stream):
    """An iterator of its own, which does not go back."""

    at = 0

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        self.at += 1
        if self.at > self.n:
            raise StopIteration
        return {"i": self.at}

    def get_state(self) -> int:
        return self.at

    def set_state(self, at: int) -> None:
        self.at = at


def test_a_stream_that_is_used_up_is_named_and_its_first_state_is_kept():
    loader = Loader(Used(3), 2)
    begun = loader.state_dict()
    assert column(loader, "i") == [1, 2, 3]
    with pytest.raises(DataError, match="dataset must begin anew with each pass; got 'no example in pass 1'"):
        list(loader)
    loader.load_state_dict(begun)
    assert column(loader, "i") == [1, 2, 3]
    assert [list(Loader(Stream(0), 2)) for _ in range(2)] == [[], []]


def test_an_augmentation_and_the_loops_own_numbers():
    def shifted(row: Any, key: np.ndarray) -> Any:
        return {**row, "u": int(key[0])}

    sizes = [column(Loader(Stream(9), size, augment=shifted), "u") for size in (2, 5)]
    assert sizes[0] == sizes[1] and len(set(sizes[0])) == 9
    random.seed(3)
    drawn = [random.random() for _ in Loader(Stream(9), 2)]
    random.seed(3)
    assert drawn == [random.random() for _ in range(5)]


@pytest.mark.slow
def test_streams_of_libraries_are_gone_on_with_where_they_stood():
    datasets, grain = pytest.importorskip("datasets"), pytest.importorskip("grain")
    hf = datasets.Dataset.from_dict({"i": list(range(12))}).to_iterable_dataset(num_shards=3)
    for data in (hf, grain.MapDataset.source(range(12)).map(lambda i: {"i": i}).to_iter_dataset()):
        loader = Loader(data, 5)
        head = list(itertools.islice(loader, 1))
        again = Loader(data, 4)
        again.load_state_dict(loader.state_dict())
        assert column(head, "i") + column(again, "i") == list(range(12))


def test_what_a_stream_cannot_mean_is_refused():
    for how in ({"order": "sequential"}, {"shuffle": True}, {"sampler": [1]}, {"cut": 1}, {"batches": True}):
        with pytest.raises(ArgumentError, match="must be left out for a stream"):
            Loader(Stream(3), 2, **how)
    with pytest.raises(ArgumentError, match="workers must be processes for a stream"):
        Loader(Stream(3), 2, workers=2)
    with pytest.raises(ArgumentError, match="dataset must have a length and items"):
        Loader(iter([1, 2]), 2)

    class Broken(Stream):
        def __iter__(self) -> Any:
            yield 1
            raise ValueError("cut off")

    with pytest.raises(ExampleError, match="example 1 of pass 0 must be readable; got 'ValueError: cut off'"):
        list(Loader(Broken(3), 2))
