from __future__ import annotations

import itertools
import json
from typing import Any

import jax
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ladle
from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, DataError, ExampleError
from ladle.feed.arrays import Arrays
from ladle.feed.loader import Loader
from ladle.feed.order import Permuted

N = 47
DATA = {"x": np.arange(N, dtype=np.float32)[:, None] * [1.0, 2.0], "id": np.arange(N)}
few = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
HOWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two threads": {"workers": 2},
    "whole batches": {"batches": True},
    "whole batches, two threads": {"batches": True, "workers": 2, "depth": 5},
}
loaders = pytest.mark.parametrize("how", HOWS.values(), ids=HOWS)


def ids_of(batch: Any) -> list[int]:
    if isinstance(batch, ladle.Batch):
        return batch.ids[: batch.real].tolist()
    return batch["id"].tolist()


class Damaged:
    """Examples 3 and 30 cannot be read."""

    def __len__(self) -> int:
        return N

    def take(self, ids: np.ndarray) -> Any:
        bad = [int(id) for id in np.unique(ids) if id in (3, 30)]
        if bad:
            raise ExampleError(f"examples {bad} are damaged", bad)
        return {"id": ids}


@loaders
def test_an_epoch_is_every_example_once_and_the_last_batch_is_ragged(how):
    loader = Loader(DATA, 10, seed=3, **how)
    for epoch in range(3):
        batches = [ids_of(batch) for batch in loader]
        assert [len(batch) for batch in batches] == [10, 10, 10, 10, 7]
        assert list(itertools.chain(*batches)) == Permuted(N, 3).ids(epoch * N, N).tolist()
        assert loader.epoch == epoch + 1
    assert len(loader) == 5


@loaders
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8), data=st.data())
@few
def test_stopping_anywhere_and_going_on_with_another_size_and_hosts_is_one_sequence(how, sizes, data):
    seen, state = [], Loader(DATA, 1, seed=5).state_dict()
    for size in sizes:
        hosts, steps = data.draw(st.sampled_from([1, 2, 3, 8])), data.draw(st.integers(1, 4))
        parts = []
        for host in range(hosts):
            loader = Loader(DATA, size, seed=5, shard=Shard(host, hosts), uneven=True, **how)
            loader.load_state_dict(state)
            taken = [ids_of(batch) for batch in itertools.islice(loader, steps)]
            parts.append((taken, json.loads(json.dumps(loader.state_dict()))))
            loader.close()
        (state,) = [dict(after) for after in {json.dumps(after): after for _, after in parts}.values()]
        for step in zip(*(taken for taken, _ in parts), strict=True):
            dealt = itertools.chain(*itertools.zip_longest(*step))  # Each host's stride, put together again.
            seen += [id for id in dealt if id is not None]
    assert seen == Permuted(N, 5).ids(0, len(seen)).tolist()
    assert len(json.dumps(state)) < 200


@loaders
def test_the_size_may_change_between_any_two_batches(how):
    loader, seen = Loader(DATA, 4, seed=1, **how), []
    for number, batch in enumerate(loader):
        seen.append(ids_of(batch))
        loader.batch_size = 4 + number
    assert [len(batch) for batch in seen] == [4, 4, 5, 6, 7, 8, 9, 4]
    assert list(itertools.chain(*seen)) == Permuted(N, 1).ids(0, N).tolist()


@loaders
def test_each_iteration_is_a_pass_and_one_can_be_chosen_or_gone_on_with(how):
    loader = Loader(DATA, 10, **how)
    first = ids_of(next(iter(loader)))
    state = loader.state_dict()
    assert (state["drawn"], state["epoch"]) == (10, 0)
    assert list(itertools.chain(*map(ids_of, loader))) == Permuted(N, 0).ids(N, N).tolist()
    loader.load_state_dict(state)
    rest = list(itertools.chain(*(ids_of(batch) for batch in loader)))
    assert sorted(first + rest) == list(range(N))
    loader.set_epoch(7)
    assert ids_of(next(iter(loader))) == Permuted(N, 0).ids(7 * N, 10).tolist()
    assert loader.epoch == 7


@loaders
def test_iterators_of_one_loader_do_not_disturb_each_other(how):
    loader = Loader(DATA, 10, **how)
    pairs = [(ids_of(a), ids_of(b)) for a, b in zip(loader, loader, strict=True)]
    assert len(pairs) == 5
    for epoch in range(2):
        assert list(itertools.chain(*(pair[epoch] for pair in pairs))) == Permuted(N, 0).ids(epoch * N, N).tolist()
    assert sum(1 for _ in loader for _ in loader) == 25


@loaders
def test_a_state_after_the_last_batch_is_the_empty_rest_of_its_pass(how):
    loader, states = Loader(DATA, 10, **how), []
    for _ in loader:
        states.append(loader.state_dict())
    again = Loader(DATA, 10, **how)
    again.load_state_dict(states[-1])
    assert [sum(1 for _ in again) for _ in range(3)] == [0, 5, 5]
    again.load_state_dict(loader.state_dict())
    assert (again.epoch, sum(1 for _ in again)) == (1, 5)


@loaders
def test_a_smaller_last_batch_can_be_left_out(how):
    loader = Loader(DATA, 10, drop_last=True, **how)
    for epoch in range(3):
        batches = [ids_of(batch) for batch in loader]
        assert [len(batch) for batch in batches] == [10] * 4
        assert batches[0] == Permuted(N, 0).ids(epoch * N, 10).tolist()
    assert len(loader) == 4


@loaders
def test_damaged_examples_are_errors_with_their_id_or_left_out_and_counted(how):
    with pytest.raises(ExampleError, match="are damaged") as caught:
        list(Loader(Damaged(), 10, **how))
    assert set(caught.value.ids) <= {3, 30}
    loader = Loader(Damaged(), 10, bad="skip", **how)
    seen = []
    for batch in loader:
        if isinstance(batch, ladle.Batch):
            seen += batch.ids[(batch.weight > 0)].tolist()
            assert batch.sums.get("bad", 0) == len(batch.bad)
        else:
            seen += ids_of(batch)
    assert sorted(seen) == [id for id in range(N) if id not in (3, 30)]
    assert sorted(loader.bad_ids) == [3, 30]


@pytest.mark.slow
def test_processes_hand_out_the_same_batches():
    loader = Loader(DATA, 10, seed=2, workers=2, processes=True, to="torch")
    batches = list(loader)
    assert torch.is_tensor(batches[0]["x"])
    assert list(itertools.chain(*(batch["id"].tolist() for batch in batches))) == Permuted(N, 2).ids(0, N).tolist()
    loader.close()


def test_numpy_and_torch_share_memory_and_jax_has_its_own_arrays():
    batch = next(iter(Loader(DATA, 8, order="sequential")))
    assert isinstance(batch["x"], np.ndarray)
    (tensor,) = itertools.islice((b["x"] for b in Loader(DATA, 8, order="sequential", to="torch")), 1)
    assert tensor.tolist() == batch["x"].tolist()
    assert tensor.numpy().base is not None
    (array,) = itertools.islice((b["x"] for b in Loader(DATA, 8, order="sequential", to="jax")), 1)
    assert isinstance(array, jax.Array)
    assert next(iter(Loader(DATA, 8, to=lambda tree: tree["id"].sum(), order="sequential"))) == 28


def test_tuples_stay_tuples_as_a_data_loader_has_them():
    x, y = torch.arange(12.0).reshape(6, 2), torch.arange(6)
    pairs = list(Loader(torch.utils.data.TensorDataset(x, y), 4, order="sequential", to="torch"))
    assert [tuple(part.shape) for part in pairs[0]] == [(4, 2), (4,)]
    assert pairs[1][1].tolist() == [4, 5]


def test_any_position_of_a_million_million_is_as_near_as_the_first():
    class Endless:
        def __len__(self) -> int:
            return 10**12

        def take(self, ids: np.ndarray) -> Any:
            return {"id": ids}

    loader = Loader(Endless(), 256)
    loader.load_state_dict({"drawn": 10**11, "carry": {}, "seed": 0, "examples": 10**12, "order": "Permuted"})
    assert ids_of(next(iter(loader))) == Permuted(10**12).ids(10**11, 256).tolist()
    assert len(json.dumps(loader.state_dict())) < 120


def test_arrays_on_the_disk_are_known_from_those_in_memory(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5))
    assert Arrays(np.arange(5)).in_memory
    assert not Arrays(np.load(tmp_path / "x.npy", mmap_mode="r")).in_memory


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "the loader's seed must be the state's; got 1"),
        ({"data": {"id": np.arange(5)}}, "the loader's examples must be the state's; got 5"),
        ({"order": "sequential"}, "the loader's order must be the state's; got 'Sequential'"),
    ],
)
def test_a_state_of_something_else_is_refused(change, says):
    state = Loader(DATA, 10).state_dict()
    with pytest.raises(ArgumentError, match=says):
        Loader(**{"data": DATA, "batch_size": 10, **change}).load_state_dict(state)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"order": "random"}, "order must be a known name"),
        ({"order": "blocks"}, "order must be of a source in blocks"),
        ({"order": "stratified"}, "labels must be given with order='stratified'"),
        ({"to": "cupy"}, "to must be a known output"),
        ({"bad": "ignore"}, "bad must be 'raise' or 'skip'"),
        ({"shard": Shard(2, 2)}, "shard must have an index below its count"),
        ({"workers": -1}, "workers must be a whole number"),
        ({"order": Permuted(N + 1)}, f"order must be over {N} examples"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_read(how, says):
    with pytest.raises(ArgumentError, match=says):
        Loader(DATA, **how)


def test_data_that_is_none_is_refused():
    with pytest.raises(DataError):
        Loader({"x": np.zeros(3), "y": np.zeros(4)})
