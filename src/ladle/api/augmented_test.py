"""`Task(augment=)`: one run, whichever lane its rows take, however it is cut, and wherever it was resumed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import torch

import ladle
from ladle.api.assembly import assemble
from ladle.core.errors import ArgumentError
from ladle.feed import Augment, HostFeed, Permuted, RandomImages, draws

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.random((180, 6, 6, 3)).astype(np.float32), RANDOM.integers(0, 3, 180)
DATA = ladle.data.arrays(X, Y, valid=0.2)
ROWS = DATA.rows
MOVED = RandomImages(pad=2)


def task(augment: Any = MOVED, **how: Any) -> ladle.Task:
    def init(key: Any) -> Any:
        return {"w": 0.1 * jax.random.normal(key, (108, 3))}

    def loss(params: Any, batch: Any) -> Any:
        return -jax.nn.log_softmax(predict(params, batch["x"]))[np.arange(len(batch["y"])), batch["y"]]

    def predict(params: Any, x: Any) -> Any:
        return x.reshape(len(x), -1) @ params["w"]

    return ladle.Task.functions(init, loss, DATA, predict=predict, augment=augment, lr=1e-2, **how)


def fit(task: ladle.Task, until: str = "2 epochs", **how: Any) -> ladle.Run:
    return ladle.fit(task, **{"size": 32, "until": until, "seed": 3, **how})


def lane(task: ladle.Task) -> str:
    return assemble(task).facts()["data"]["lane"]


def same(one: ladle.Run, other: ladle.Run) -> bool:
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


GAUGE = ladle.Gauge(parts=2, every=1)
RUNS = [(32, None), *(pytest.param(*how, marks=pytest.mark.long) for how in ((128, None), (32, GAUGE), (128, GAUGE)))]


@pytest.mark.parametrize(("size", "gauge"), RUNS)
def test_both_lanes_have_the_same_run(size: int, gauge: Any):
    device, host = (fit(task(lane=lane), size=size, gauge=gauge) for lane in ("device", "host"))
    for one, other in zip(device.metrics[1:], host.metrics[1:], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-6)
        assert one["valid_loss"] == pytest.approx(other["valid_loss"], rel=1e-6)


@pytest.mark.long
def test_one_that_changes_nothing_is_the_run_without():
    assert same(fit(task(RandomImages(pad=0, flip=False))), fit(task(None)))


def test_evaluations_see_rows_as_they_are():
    frozen, plain = (fit(task(augment, optimizer="sgd").with_(lr=1e-30)) for augment in (MOVED, None))
    assert frozen.metrics[-1]["valid_loss"] == plain.metrics[-1]["valid_loss"]
    assert frozen.metrics[-1]["train_loss"] != plain.metrics[-1]["train_loss"]


@pytest.mark.parametrize("lane", ["device", "host"])
def test_a_run_that_was_stopped_anywhere_goes_on_as_if_it_had_not(lane: str, tmp_path: Path):
    whole = fit(task(lane=lane), "300 examples", window=50)
    fit(task(lane=lane), "100 examples", out=tmp_path / "run", window=50)
    assert same(fit(task(lane=lane), "300 examples", out=tmp_path / "run", resume=True), whole)
    with pytest.raises(ArgumentError, match=r"augment must be what the run began with; got .RandomImages\(pad=1"):
        fit(task(RandomImages(pad=1), lane=lane), "400 examples", out=tmp_path / "run", resume=True)


@pytest.mark.long
def test_micro_batches_have_the_same_pixels():
    one, cut = (fit(task(), micro_size=micro_size) for micro_size in (32, 8))
    assert one.metrics[-1]["train_loss"] == pytest.approx(cut.metrics[-1]["train_loss"], rel=1e-6)


def noisy(scale: float) -> Any:
    return lambda row, key: {**row, "x": row["x"] + scale * (draws(key, 1)[0] - 0.5)}


def test_programs_are_shared_by_what_the_augmentation_is(compilations: Counter[str]):
    first = [fit(task(augment)) for augment in (MOVED, noisy(1.0))]
    compilations.clear()
    again = [fit(task(augment), seed=4) for augment in (RandomImages(pad=2), noisy(1.0))]
    assert dict(compilations) == {}
    assert not any(map(same, first, again))
    assert not same(fit(task(noisy(2.0))), first[1])
    assert compilations["_trace_window"] == 1


def test_what_cannot_be_traced_is_changed_by_the_host_or_refused_there():
    own = lambda row, key: {**row, "x": np.sort(row["x"], axis=0)}  # noqa: E731
    assert (lane(task()), lane(task(noisy(1))), lane(task(own))) == ("device", "device", "host")
    with pytest.raises(ArgumentError, match=r"augment must be a part of the update on the device; got .*lambda"):
        assemble(task(own, lane="device"))
    assert fit(task(own)).status == "finished"


def test_torch_reads_the_rows_of_the_same_places():
    model = lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 3))  # noqa: E731
    one, two = (
        ladle.torch.task(model, None, DATA, augment=augment) for augment in (MOVED, RandomImages(0, flip=False))
    )
    assert lane(one) == "host"
    assert fit(one).metrics[-1]["train_loss"] != fit(two).metrics[-1]["train_loss"]


def broken(row: Any, key: Any) -> Any:
    return {"x": row["pixels"]}


REFUSED = {
    "no function": (7, r"augment must be a function; got 'int'"),
    "random numbers of the process": (
        lambda row, key: {**row, "x": row["x"] * np.random.rand()},
        r"augment must draw its random numbers from its key; got 'np.random'",
    ),
    "no such entry": (broken, r"augment must take rows of the data; got .KeyError: 'pixels'"),
    "no targets": (lambda row, key: {"x": row["x"]}, r"augment must return rows with x, y; got 'x'; because a loss"),
    "bare arrays": (lambda row, key: row["x"], r"augment must return rows with x, y; got 'ndarray'"),
    "fewer rows": (Augment(lambda rows, keys: {"x": rows["x"][:1]}, whole=True), r"augment must return 2 rows"),
}


@pytest.mark.parametrize(("augment", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_before_work_begins(augment: Any, said: str):
    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    with pytest.raises(ArgumentError, match=said):
        assemble(task(augment))
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]


def test_a_feed_of_ones_own_brings_its_own():
    with pytest.raises(ArgumentError, match=r"augment must be left to a feed of one's own"):
        task(feed=lambda seed: HostFeed(DATA.train, Permuted(ROWS, seed)))


@pytest.mark.long
def test_a_search_changes_the_rows_of_its_folds():
    how: dict[str, Any] = {"sizes": [16], "lrs": [1e-2], "folds": 2, "until": "2 epochs"}
    found = [ladle.search(task(augment), **how).best.outcomes[0].reading for augment in (MOVED, MOVED, None)]
    assert found[0]["valid_loss"] == found[1]["valid_loss"] != found[2]["valid_loss"]
