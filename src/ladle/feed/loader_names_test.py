"""Names that are known from a `DataLoader`, and what a loop may do with a loader."""

from __future__ import annotations

import copy
import inspect
import itertools
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, WeightedRandomSampler

from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, DataError, ExampleError, RunError
from ladle.feed.loader import Loader
from ladle.feed.workers_test import alone

N = 20


class Squares:
    def __init__(self) -> None:
        self.asked: list[int] = []
        self.factor = 1

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        self.asked.append(i)
        return torch.tensor(i), torch.tensor(self.factor * i * i)


def first(loader: Loader) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain(*batches))


def test_shuffle_and_samplers_say_which_examples_come():
    assert first(Loader(Squares(), 8, shuffle=False)) == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    assert flat(first(Loader(Squares(), 8, shuffle=True, seed=1))) == flat(first(Loader(Squares(), 8, seed=1)))
    loader = Loader(Squares(), 3, sampler=[5, 5, 2, 0])
    assert (len(loader), first(loader)) == (2, [[5, 5, 2], [0]])
    batches = BatchSampler(SequentialSampler(range(7)), 3, drop_last=True)
    assert first(Loader(Squares(), batch_sampler=batches)) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("make", [lambda n: RandomSampler(range(n)), lambda n: WeightedRandomSampler([1.0] * n, 2 * n)])
def test_random_samplers_are_alike_for_a_pass_and_in_a_resumed_run(make):
    loader = Loader(Squares(), 6, sampler=make(N), seed=4)
    passes = [flat(first(loader)) for _ in range(3)]
    assert passes[0] != passes[1]
    again = Loader(Squares(), 7, sampler=make(N), seed=4)
    again.load_state_dict({**again.state_dict(), "drawn": 2 * len(passes[0]), "epoch": 2})
    torch.rand(3)
    assert flat(first(again)) == passes[2]


def test_collate_fn_sees_one_batch_of_items_and_may_make_anything():
    seen = []
    loader = Loader(
        Squares(), 8, shuffle=False, collate_fn=lambda items: seen.append(len(items)) or [type(items), *items]
    )
    assert [batch[0] for batch in loader] == [list] * 3
    assert seen == [8, 8, 4]
    texts = Loader({"x": np.arange(4)}, 3, shuffle=False, collate_fn=lambda items: [f"{item['x']}" for item in items])
    assert list(texts) == [["0", "1", "2"], ["3"]]
    with pytest.raises(ArgumentError, match="collate_fn must stand without"):
        Loader(Squares(), collate_fn=list, batches=True)


def test_without_a_batch_size_items_come_one_by_one():
    loader = Loader(Squares(), None, shuffle=False)
    assert (len(loader), [int(pair[1]) for pair in loader]) == (N, [i * i for i in range(N)])
    assert (loader.batch_size, int(next(iter(copy.copy(loader)))[0])) == (None, 0)
    halves = Loader([{"x": 2.0}, {"x": 4.0}], batch_size=None, shuffle=False, collate_fn=lambda item: item["x"] / 2)
    assert list(halves) == [1.0, 2.0]


def test_items_are_read_one_batch_at_a_time_in_the_callers_thread_and_a_change_is_seen():
    data = Squares()
    loader = Loader(data, 4, shuffle=False)
    batches = iter(loader)
    next(batches)
    assert data.asked == [0, 1, 2, 3]
    next(batches)
    assert len(data.asked) == 8
    loader.batch_size = 5
    data.factor = 10
    assert next(batches)[1].tolist() == [10 * i * i for i in range(8, 13)]
    assert data.asked == list(range(13))


def test_a_dataset_that_grows_is_noticed():
    data = [1, 2, 3]
    loader = Loader(data, 2)
    assert sum(1 for _ in loader) == 2
    data.append(4)
    with pytest.raises(ArgumentError, match="data must keep its 3 examples; got 4"):
        list(loader)


def test_readers_stop_with_the_pass_and_share_it():
    data = Squares()
    for workers, depth in ((1, None), (3, None), (2, 7)):
        data.asked.clear()
        loader = Loader(data, 3, workers=workers, depth=depth)
        assert sum(1 for _ in loader) == 7
        loader.close()
        assert sorted(data.asked) == list(range(N))


@pytest.mark.slow
def test_processes_see_a_change_between_passes_unless_they_persist():
    alone("ladle.feed.loader_names_test", "check_changes")


def check_changes() -> None:
    data = Squares()
    for persistent in (False, True):
        data.factor = 1
        loader = Loader(data, 5, num_workers=2, persistent_workers=persistent)
        assert int(next(iter(loader))[1].max()) > 0 and loader.num_workers == 2
        data.factor = 0
        assert (sum(int(batch[1].sum()) for batch in loader) == 0) is not persistent
        loader.close()


class Faulty(Squares):
    def __getitem__(self, i: int) -> Any:
        if i == 13:
            raise ValueError("no such page")
        return super().__getitem__(i)


@pytest.mark.parametrize("how", [{}, {"workers": 2}, {"collate_fn": list}], ids=str)
def test_an_error_belongs_to_the_batch_that_holds_the_example(how):
    loader, seen = Loader(Faulty(), 4, shuffle=False, **how), 0
    with pytest.raises(ExampleError, match="example 13 must be readable") as caught:
        for _ in loader:
            seen += 1
    assert (seen, caught.value.ids, loader.state_dict()["drawn"]) == (3, (13,), 12)
    assert sum(len(batch[0]) for batch in Loader(Faulty(), 4, bad="skip")) == N - 1


def test_an_error_among_many_rows_waits_for_its_batch():
    class Rows:
        gathers = True

        def __len__(self) -> int:
            return N

        def take(self, ids: np.ndarray) -> Any:
            if 13 in ids:
                raise ExampleError("example 13 is damaged", [13])
            return {"x": ids}

    seen = 0
    with pytest.raises(ExampleError, match="example 13 is damaged"):
        for _ in Loader(Rows(), 2, order="sequential"):
            seen += 1
    assert seen == 6


def test_waiting_has_an_end():
    class Slow(Squares):
        def __getitem__(self, i: int) -> Any:
            if i > 3:
                time.sleep(0.3)
            return super().__getitem__(i)

    loader = Loader(Slow(), 2, shuffle=False, workers=1, timeout=0.05)
    with pytest.raises(RunError, match=r"examples 4, 5, ... took longer than timeout=0.05 seconds"):
        list(loader)
    loader.close()


def test_a_default_is_told_from_the_same_number_when_given():
    lists = BatchSampler(SequentialSampler(range(N)), 6, drop_last=False)
    with pytest.raises(ArgumentError, match="batch_size must be left out where batch_sampler is given; got 64"):
        Loader(Squares(), 64, batch_sampler=lists)
    loader = Loader(Squares(), batch_sampler=lists)
    assert (loader.batch_size, type(loader.seed), copy.copy(loader).batch_size) == (6, int, 6)
    assert str(inspect.signature(Loader.__init__).parameters["batch_size"].default) == "64"
    assert Loader(Squares()).batch_size == Loader(Squares(), 64).batch_size == 64


def test_a_generator_draws_the_seed():
    seeds = [Loader(Squares(), generator=torch.Generator().manual_seed(3)).seed for _ in range(2)]
    assert seeds[0] == seeds[1] != Loader(Squares(), generator=torch.Generator().manual_seed(4)).seed


def test_what_loops_read_of_a_loader_is_there():
    data = Squares()
    loader = Loader(data, 6, shuffle=False, drop_last=True)
    assert (loader.dataset, len(loader), loader.num_workers, loader.pin_memory) == (data, 3, 0, False)
    assert (loader.collate_fn, loader.timeout, loader.generator, loader.worker_init_fn) == (None, 0, None, None)
    assert list(loader.sampler) == list(range(N)) and list(loader.batch_sampler)[2] == list(range(12, 18))
    assert isinstance(loader.sampler, SequentialSampler) and not isinstance(Loader(data, 6).sampler, SequentialSampler)
    given = Loader(data, 6, sampler=(weighted := WeightedRandomSampler([1.0] * N, 12)))
    assert given.sampler is weighted and list(given.batch_sampler) == first(given)
    arrays = Loader({"x": np.arange(5)}, 2)
    assert (len(arrays.dataset), arrays.dataset[3], arrays.dataset[-1]["x"]) == (5, {"x": 3}, 4)
    assert Loader({"x": np.arange(5)}, 2, num_workers=1, multiprocessing_context="spawn").num_workers == 1
    beside = DataLoader(loader.dataset, batch_sampler=loader.batch_sampler)
    assert [batch[0].tolist() for batch in beside] == first(loader)
    with pytest.raises(AttributeError, match="no attribute 'fetcher'"):
        loader.fetcher  # noqa: B018


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"num_worker": 2}, "num_worker must be an argument of Loader.*'num_workers'"),
        ({"shuffle": True, "sampler": [1]}, "exclude each other"),
        ({"shuffle": True, "order": "sequential"}, "shuffle must be left out where order is given"),
        ({"sampler": [1], "order": "sequential"}, "sampler must be left out where order is given"),
        ({"sampler": 3}, "sampler must be an iterable with a length"),
        ({"shuffle": "yes"}, "shuffle must be True or False"),
        ({"timeout": -1}, "timeout must be seconds"),
        ({"num_workers": -1}, "num_workers must be a whole number from 0 on"),
        ({"drop_last": "no"}, "drop_last must be True or False"),
        ({"collate_fn": 3}, "collate_fn must be a function"),
        ({"pin_memory": True}, "pin_memory must be of tensors"),
        ({"in_order": False}, "in_order must be True"),
        ({"prefetch_factor": 2}, "prefetch_factor must be left out where there are no workers"),
        ({"prefetch_factor": 2, "num_workers": 2, "depth": 2}, "prefetch_factor must be left out where depth is given"),
        ({"timeout": 1}, "timeout must be left out where there are no workers"),
        ({"timeout": 1, "workers": 0}, "timeout must be left out where there are no workers"),
        ({"persistent_workers": True}, "persistent_workers must be left out where there are no workers"),
        ({"multiprocessing_context": "spawn"}, "multiprocessing_context must be left out where there are no workers"),
        ({"batch_size": None, "drop_last": True}, "drop_last must be False where batch_size is None"),
        ({"generator": np.random.default_rng(0), "seed": 0}, "seed must be left out where generator is given"),
        ({"labels": [1] * N}, "labels must be left out; got \"order='auto'\""),
        ({"num_workers": 2, "workers": 2}, "num_workers must be left out where workers is given"),
        ({"multiprocessing_context": "thread", "num_workers": 1}, "multiprocessing_context must be known here"),
        ({"pin_memory_device": "cuda"}, "pin_memory_device must be left out"),
        ({"to": "torch:nowhere"}, "to must name a device of torch"),
        ({"to": "numpy:0"}, "to must be a known output"),
    ],
    ids=lambda one: one if isinstance(one, str) else "-".join(one),  # Values may have an address in their names.
)
def test_names_that_cannot_be_are_refused_in_a_sentence(how, says):
    with pytest.raises(ArgumentError, match=says):
        list(Loader(Squares(), **how))


def test_a_sampler_that_lies_is_named():
    class Short:
        def __len__(self) -> int:
            return 5

        def __iter__(self) -> Any:
            return iter([0, 1])

    with pytest.raises(DataError, match="sampler must yield its 5 numbers; got '2 in pass 0'"):
        list(Loader(Squares(), sampler=Short()))
    with pytest.raises(ArgumentError, match="ids must be in 0 .. 19"):
        list(Loader(Squares(), sampler=[20]))


def test_tensors_by_name_cannot_be_unpacked_into_their_names():
    data = {"x": np.arange(4), "y": np.arange(4)}
    with pytest.raises(ArgumentError, match="a batch must be asked by name; got \"'x', 'y'\""):
        for _, (_, _) in enumerate(Loader(data, 2, to="torch")):
            pass
    with pytest.raises(ArgumentError, match="a batch must be asked by name"):
        for _, _ in Loader(data, 2, to="torch"):
            pass
    batch = next(iter(Loader(data, 2, to="torch")))
    assert [*batch] == list(batch) == sorted(batch) == [name for name in batch] == ["x", "y"]
    x, y = batch.values()
    assert dict(**batch) == {"x": x, "y": y} and isinstance(batch, dict)


STATES: dict[str, Any] = {
    "negative": {"drawn": -5}, "fraction": {"drawn": 3.7}, "text": {"drawn": "x"}, "beyond": {"drawn": 45},
    "flag": {"drawn": True}, "pass": {"epoch": -1},
}  # fmt: skip


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_states_that_cannot_be_are_refused(change):
    loader = Loader(Squares(), 4)
    with pytest.raises(ArgumentError, match="the state's (drawn|epoch) must"):
        loader.load_state_dict({**loader.state_dict(), "epoch": 0, **change})
    for state in (None, {}, {"_snapshot": {}}):
        with pytest.raises(ArgumentError, match="state must be that of a Loader"):
            loader.load_state_dict(state)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="epoch must be a whole number"):
        loader.set_epoch(-1)
    assert sum(1 for _ in loader) == 5


def test_ranks_have_equal_shares_or_a_sentence():
    for how in ({"batch_size": 5}, {"batch_size": 6}, {"batch_size": 1}):
        with pytest.raises(ArgumentError, match="every batch must be shared evenly by 4 ranks"):
            Loader(Squares(), **how, shard=Shard(0, 4))
    with pytest.raises(ArgumentError, match="got 'a last batch of 6 examples'.*drop_last=True"):
        Loader(list(range(22)), 8, shard=Shard(0, 4))
    assert [len(batch) for batch in Loader(list(range(22)), 8, shard=Shard(1, 4), drop_last=True)] == [2, 2]
    parts = [[len(batch) for batch in Loader(list(range(22)), 8, shard=Shard(k, 4), uneven=True)] for k in range(4)]
    assert parts == [[2, 2, 2], [2, 2, 2], [2, 2, 1], [2, 2, 1]]


@pytest.mark.parametrize("to", ["torch", "jax"])
def test_numbers_of_another_byte_order_and_short_floats_are_handed_over_and_text_is_not(to):
    big = Loader({"x": np.arange(6).astype(">f4")}, 3, order="sequential", to=to)
    assert np.asarray(next(iter(big))["x"]).tolist() == [0, 1, 2]
    short = torch.arange(6, dtype=torch.bfloat16)
    batch = next(iter(Loader({"x": short}, 3, order="sequential", to=to)))["x"]
    assert "bfloat16" in str(batch.dtype) and [float(x) for x in batch] == [0, 1, 2]
    with pytest.raises(DataError, match="data 'x' must be numbers; got 'datetime64"):
        next(iter(Loader({"x": np.array(["2020-01-01"], "datetime64[D]")}, 1, to=to)))
    with pytest.raises(DataError, match="data .x. must have a value in every cell"):
        Loader({"x": np.ma.masked_equal(np.arange(4), 2)}, 2, to=to)
