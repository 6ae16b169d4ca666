"""Batch samplers of a user's own: lists of any length, resumed at any of them, told what cannot go with them."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, DataError
from ladle.feed import Loader

LISTS = [[4, 1], [0], [2, 3, 5, 1]]


class Noisy:
    """Items that draw from torch's generator."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, id: int) -> Any:
        return id, torch.rand(()).item()


class Shuffled:
    """Lists of two and more, in an order of their own each pass."""

    def __init__(self) -> None:
        self.sampler = RandomSampler(range(6))
        self.told: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.told.append(epoch)

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        ids = list(self.sampler)
        cut = 1 + ids[0] % 4
        return iter([ids[:cut], ids[cut:]])


def ids_of(batches: Any) -> list[Any]:
    return [batch[0].tolist() for batch in batches]


def test_the_batches_are_those_of_a_data_loader():
    data = torch.utils.data.TensorDataset(torch.arange(6) * 10)
    expected = [batch[0].tolist() for batch in DataLoader(data, batch_sampler=LISTS)]  # pyright: ignore[reportArgumentType]
    loader = Loader(data, batch_sampler=LISTS, to="torch")
    assert ids_of(loader) == expected == [[40, 10], [0], [20, 30, 50, 10]]
    assert len(loader) == 3 and loader.batch_size is None and loader.batch_sampler is LISTS
    assert list(loader.sampler) == [4, 1, 0, 2, 3, 5, 1]
    arrays = Loader({"x": np.arange(6.0)}, batch_sampler=LISTS)
    assert [batch["x"].tolist() for batch in arrays] == LISTS
    items = Loader(Noisy(), batch_sampler=LISTS, collate_fn=lambda items: [item[0] for item in items])
    assert list(items) == LISTS


PROCESSES = [
    pytest.param({"num_workers": 2, "persistent_workers": stay}, marks=pytest.mark.long) for stay in (False, True)
]


@pytest.mark.parametrize("how", [{}, *PROCESSES])
def test_a_run_is_resumed_at_any_list_and_draws_the_same(how: dict[str, Any]):
    def loader() -> Any:
        return Loader(Noisy(), batch_sampler=Shuffled(), seed=3, **how)

    def told(batches: Any) -> list[Any]:
        return [(ids.tolist(), drawn.tolist()) for ids, drawn in batches]

    whole = loader()
    passes = [told(whole) for _ in range(3)]
    assert all(sorted(id for ids, _ in one for id in ids) == list(range(6)) for one in passes)
    assert passes[0] != passes[1] != passes[2]
    for stop in (3,) if how else range(6):
        first = loader()
        for epoch in range(stop // 2):
            assert told(first) == passes[epoch]
        part = iter(first)
        for _ in range(stop % 2):
            next(part)
        for again in (loader(), copy.copy(first)):
            again.load_state_dict(first.state_dict())
            assert told(again) == passes[stop // 2][stop % 2 :]
        first.close()
    whole.close()


def test_a_sampler_that_wants_its_pass_is_told():
    batches = Shuffled()
    loader = Loader(Noisy(), batch_sampler=batches)
    list(loader), list(loader)
    assert batches.told == [0, 1]


class Mine(BatchSampler):
    """Its first list twice."""

    def __len__(self) -> int:
        return super().__len__() + 1

    def __iter__(self) -> Any:
        lists = list(super().__iter__())
        return iter([lists[0], *lists])


def test_what_is_derived_from_a_batch_sampler_is_asked_itself():
    assert ids_of(Loader(Noisy(), batch_sampler=Mine(SequentialSampler(range(6)), 4, False))) == [
        [0, 1, 2, 3],
        [0, 1, 2, 3],
        [4, 5],
    ]
    Own = type("BatchSampler", (Mine,), {})
    assert len(ids_of(Loader(Noisy(), batch_sampler=Own(SequentialSampler(range(6)), 4, True)))) == 2


def test_bad_examples_are_left_out_of_their_list():
    class Damaged(Noisy):
        def __getitem__(self, id: int) -> Any:
            if id == 1:
                raise OSError("damaged")
            return id, 0.0

    loader = Loader(Damaged(), batch_sampler=LISTS, bad="skip")
    assert ids_of(loader) == [[4], [0], [2, 3, 5]] and loader.bad_ids == [1]
    with pytest.raises(DataError, match="damaged"):
        next(iter(Loader(Damaged(), batch_sampler=LISTS)))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"batch_size": 32}, "batch_size must be left out where batch_sampler is given"),
        ({"batch_size": 64}, "batch_size must be left out where batch_sampler is given"),
        ({"batch_size": None}, "batch_size must be left out where batch_sampler is given"),
        ({"drop_last": True}, "drop_last must be left out where batch_sampler is given"),
        ({"sampler": [1]}, "exclude each other"),
        ({"shuffle": True}, "exclude each other"),
        ({"order": "sequential"}, "sampler must be left out where order is given"),
        ({"batches": True}, "batches must be left out where batch_sampler is given"),
        ({"shard": Shard(0, 2)}, "shard must be left out where batch_sampler is given"),
        ({"batch_sampler": iter(LISTS)}, "batch_sampler must be an iterable with a length"),
    ],
)
def test_what_cannot_go_with_it_is_named(how: dict[str, Any], said: str):
    with pytest.raises(ArgumentError, match=said):
        Loader(Noisy(), **{"batch_sampler": LISTS, **how})
    loader = Loader(Noisy(), batch_sampler=LISTS)
    with pytest.raises(ArgumentError, match="batch_size must stay as it is"):
        loader.batch_size = 32


@pytest.mark.parametrize("lists", [[[0], []], [0, 1]])
def test_lists_that_are_none_are_named(lists: Any):
    with pytest.raises(DataError, match="batch_sampler must yield lists of at least one number"):
        list(Loader(Noisy(), batch_sampler=lists))
    with pytest.raises(ArgumentError, match="ids must be in 0 .. 5; got 6"):
        list(Loader(Noisy(), batch_sampler=[[6]]))
