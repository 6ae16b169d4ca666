"""Random examples: alike whatever the batch size, the readers, and wherever a run is resumed; and the loop's own."""

from __future__ import annotations

import copy
import itertools
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.batch import Rows
from ladle.core.errors import ArgumentError
from ladle.feed.augment import Augment, draws, generator
from ladle.feed.augment_images import RandomImages
from ladle.feed.host import Stack
from ladle.feed.loader import Loader
from ladle.feed.pad import Pad
from ladle.feed.source.items import Items
from ladle.feed.source.subset import Chosen
from ladle.feed.workers_test import alone

N = 23
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Random:
    """Items that draw from all shared generators; every third from one only."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> dict[str, Any]:
        drawn = [random.random(), 0.0, 0.0] if i % 3 else [random.random(), np.random.rand(), float(torch.rand(()))]
        return {"id": i, "u": np.array(drawn)}


class Many(Random):
    def __getitems__(self, ids: list[int]) -> list[Any]:
        return [self[id] for id in ids]


def rows(loader: Loader, passes: int = 2) -> dict[str, np.ndarray]:
    batches = list(itertools.chain(*(list(loader) for _ in range(passes))))
    loader.close()
    return {name: np.concatenate([np.asarray(batch[name]) for batch in batches]) for name in batches[0]}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


STAGES: dict[str, Any] = {
    "row": lambda row, key: {**row, "x": row["x"] + draws(key, 1)[0]},
    "numpy's generator": lambda row, key: {**row, "x": row["x"] + generator(key).normal(size=3)},
    "images": Augment(RandomImages(pad=2, jitter=0.3), whole=True),
}


@pytest.mark.parametrize("dataset", [Random(), Many()], ids=["items", "many at a time"])
@given(size=st.integers(1, 30), cut=st.integers(0, 2 * N), seed=st.integers(0, 2**64 - 1))
@few
def test_any_size_and_any_place_to_resume_has_the_same_random_items(dataset, size, cut, seed):
    whole = rows(Loader(dataset, 4, seed=seed))
    loader = Loader(dataset, size, seed=seed)
    loader.load_state_dict({**loader.state_dict(), "drawn": cut, "epoch": cut // N})
    rest = rows(loader, 2 - cut // N) if cut < 2 * N else {}
    assert all(np.array_equal(rest[name], whole[name][cut:]) for name in rest)
    assert len(np.unique(whole["u"][:, 0])) == 2 * N


@pytest.mark.slow
def test_processes_have_the_same_random_items_and_augmentation():
    alone("ladle.feed.loader_random_test", "check_processes")


@given(size=st.integers(1, 30), workers=st.integers(1, 2), cut=st.integers(0, N - 1))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def check_processes(size: int, workers: int, cut: int) -> None:
    stage = Augment(RandomImages(pad=2, jitter=0.3), whole=True)
    for data, augment in ((Random(), None), ({"x": IMAGES, "id": np.arange(N)}, stage)):
        whole = rows(Loader(data, 4, augment=augment))
        loader = Loader(data, size, workers=workers, processes=True, augment=augment)
        loader.load_state_dict({**loader.state_dict(), "drawn": cut})
        assert all(np.array_equal(part, whole[name][cut:]) for name, part in rows(loader).items())


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
@given(size=st.integers(1, 30), workers=st.integers(0, 2), cut=st.integers(0, N - 1))
@few
def test_a_keyed_stage_is_alike_for_any_size_readers_and_resume(stage, size, workers, cut):
    data = (
        {"x": IMAGES, "id": np.arange(N)} if isinstance(stage, Augment) else {"x": np.zeros((N, 3)), "id": np.arange(N)}
    )
    whole = rows(Loader(data, 5, augment=stage, seed=9))
    loader = Loader(data, size, augment=stage, workers=workers, seed=9)
    loader.load_state_dict({**loader.state_dict(), "drawn": cut})
    assert all(np.array_equal(part, whole[name][cut:]) for name, part in rows(loader).items())
    first, second = (whole["x"][np.argsort(whole["id"][k * N : k * N + N]) + k * N] for k in (0, 1))
    assert not np.array_equal(first, second), "another pass has other numbers"


def test_the_loops_own_generators_are_as_they_were():
    def loop(data: Any) -> list[float]:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        drawn: list[float] = []
        for _ in Loader(data, 4):
            drawn += [random.random(), np.random.rand(), float(torch.rand(()))]
        return drawn

    assert loop(Random()) == loop({"x": np.arange(N)})


class Backwards(Stack):
    """Asks for the rows one by one, the last one first."""

    def __call__(self, source: Any, ids: np.ndarray, *how: Any) -> Rows:
        found = [source.take(ids[at : at + 1]) for at in range(len(ids) - 1, -1, -1)][::-1]
        return Rows({name: np.concatenate([row[name] for row in found]) for name in found[0]})


def test_a_wrapped_or_collated_dataset_draws_by_its_place_too():
    whole = rows(Loader(Random(), 4, seed=5))
    assert same(rows(Loader(Chosen(Items(Random()), range(N)), 7, seed=5)), whole)
    assert same(rows(Loader(Random(), 7, seed=5, collate=Backwards())), whole)
    batches = [batch.data["u"][: batch.real] for batch in Loader(Random(), 6, seed=5, batches=True)]
    assert np.array_equal(np.concatenate(batches), whole["u"][:N])


def test_threads_are_refused_for_what_draws_from_generators_that_they_share():
    for how in ({"data": Random(), "workers": 2}, {"data": Items(Random(), threads=2)}):
        with pytest.raises(ArgumentError, match=r"draw no random numbers in threads; .*it draws from np.random and"):
            list(Loader(batch_size=4, **how))
    assert len(list(Loader(list(range(N)), 4, workers=2))) == 6


def test_a_copy_draws_alike_and_goes_on_from_the_same_place():
    loader = Loader(Random(), 5, seed=2, augment=_id)
    for _ in range(2):
        next(iter(loader))
    for twin in (pickle.loads(pickle.dumps(loader)), copy.copy(loader), copy.deepcopy(loader)):
        assert twin.state_dict() == loader.state_dict()
        assert sum(1 for _ in twin) == 4


def _id(row: Any, key: np.ndarray) -> Any:
    return row


def test_numbers_of_keys_are_uniform_and_their_own():
    keys = np.stack(np.meshgrid(np.arange(100), np.arange(50)), -1).reshape(-1, 2).astype(np.uint32)
    u = draws(keys, 4)
    assert np.all((u >= 0) & (u < 1)) and len(np.unique(u)) == u.size
    counts = np.histogram(u, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # Chi-squared of 19 degrees: 0.9993 of all.
    assert np.array_equal(draws(keys[7], 2), u[7, :2])
    assert abs(np.corrcoef(u.T) - np.eye(4)).max() < 0.06


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_moved_mirrored_and_lightened_as_the_formula_has_it(dtype):
    images = IMAGES if dtype == np.uint8 else (IMAGES / 255).astype(dtype)
    keys = np.stack([np.arange(N), np.arange(N)], -1).astype(np.uint32)
    stage = RandomImages(pad=2, jitter=0.4)
    found, u = stage({"x": images, "y": keys}, keys)["x"], draws(keys, 5)
    most = 255 if dtype == np.uint8 else 1
    for i in range(N):
        wide = np.zeros((10, 9, 3))
        wide[2:8, 2:7] = images[i]
        dy, dx = int(u[i, 0] * 5), int(u[i, 1] * 5)
        moved = wide[dy : dy + 6, dx : dx + 5]
        moved = moved[:, ::-1] if u[i, 2] < 0.5 else moved
        contrast, light = 1 + 0.4 * (2 * u[i, 3] - 1), 0.4 * (2 * u[i, 4] - 1) / 2
        right = np.clip(contrast * (moved - moved.mean()) + moved.mean() + most * light, 0, most)
        np.testing.assert_allclose(found[i], right, atol=0.51 if most == 255 else 1e-6)
        assert np.array_equal(stage({"x": images[i]}, keys[i])["x"], found[i])
    assert found.dtype == dtype and set(np.unique(u[:, 2] < 0.5)) == {True, False}
    assert np.array_equal(RandomImages(0, flip=False)(images, keys), images)


def test_stages_that_cannot_be_are_refused():
    for how, says in (({"pad": -1}, "pad must be a whole number"), ({"jitter": 2}, "jitter must be from 0 to 1")):
        with pytest.raises(ArgumentError, match=says):
            RandomImages(**how)
    with pytest.raises(ArgumentError, match="row 'x' must be an image"):
        list(Loader({"x": np.zeros(4)}, augment=Augment(RandomImages(), whole=True)))
    with pytest.raises(ArgumentError, match="augment must return 4 rows"):
        list(Loader({"x": np.zeros(4)}, augment=Augment(lambda rows, keys: {"x": np.zeros(3)}, whole=True)))
    with pytest.raises(ArgumentError, match="collate must be left out where augment has one"):
        Loader({"x": np.zeros(4)}, collate=Pad(), augment=Augment(_id, collate=Pad()))
