"""A run gone through by windows is the run of `fit`, whatever is done between two of them."""

from __future__ import annotations

import gc
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ladle
from ladle.core import record
from ladle.feed import HostFeed, Permuted, Replay

HOW = {"size": 16, "window": 160, "until": "3 epochs", "lr": 1e-2}


@pytest.fixture(scope="module")
def task() -> ladle.Task:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 5)).astype(np.float32)
    data = ladle.data.arrays(x, (x[:, 0] > 0).astype(np.int32), valid=0.2)
    return ladle.Task(ladle.models.linear(5, 2), ladle.losses.cross_entropy, data)


def leaves(params):
    return [np.array(leaf) for leaf in jax.tree.leaves(params)]


def test_it_is_the_run_of_fit(task, tmp_path):
    plain = ladle.fit(task, **HOW, out=tmp_path / "fit")
    going, stood = ladle.windows(task, **HOW, out=tmp_path / "windows"), []
    for window in going:
        stood.append((window.line["examples"], leaves(window.params)))
    run = going.end("not asked")
    assert (run.status, run.why) == (plain.status, plain.why)
    assert [line["examples"] for line in run.metrics] == [line["examples"] for line in plain.metrics]
    assert [line.get("train_loss") for line in run.metrics] == [line.get("train_loss") for line in plain.metrics]
    for one, other in zip(leaves(run.params), leaves(plain.params), strict=True):
        np.testing.assert_array_equal(one, other)
    # It waits before every window, and never after the last.
    assert [at for at, _ in stood] == [line["examples"] for line in run.metrics][:-1]
    assert not np.array_equal(stood[0][1][0], stood[-1][1][0])
    assert run.checkpoint is not None and run.checkpoint.is_dir()


def test_what_is_noted_is_in_the_record_of_the_coming_window(task, tmp_path):
    going = ladle.windows(task, **HOW, out=tmp_path / "run")
    for number, _ in enumerate(going):
        going.note(reward=number, steps=np.float32(2.5))
    lines = record.read_lines(tmp_path / "run" / record.METRICS_FILE)
    assert [line.get("reward") for line in lines] == [None, *map(float, range(len(lines) - 1))]
    assert lines[-1]["steps"] == 2.5 and going.end().metrics[-1]["reward"] == len(lines) - 2


def test_left_early_it_ends_as_it_says_and_goes_on_later(task, tmp_path):
    whole = ladle.fit(task, **HOW)
    going = ladle.windows(task, **HOW, out=tmp_path / "run")
    for window in going:
        if window.line["updates"] >= 20:
            break
    run = going.end("solved")
    assert (run.status, run.why, run.final["updates"]) == ("stopped", "solved", 20)
    assert going.end() is run and list(going) == []
    resumed = ladle.fit(task, **HOW, out=tmp_path / "run", resume=True)
    for one, other in zip(leaves(resumed.params), leaves(whole.params), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_that_nobody_ends_is_interrupted_and_goes_on_later(task, tmp_path):
    going = ladle.windows(task, **HOW, out=tmp_path / "run")
    next(going), next(going)
    del going
    gc.collect()
    known = json.loads((tmp_path / "run" / record.RUN_FILE).read_text())
    assert (known["status"], known["why"]) == ("interrupted", "left by the loop around it")
    assert ladle.fit(task, **HOW, out=tmp_path / "run", resume=True).final["epoch"] == 3


def test_the_first_stand_is_enough_to_end(task):
    run = ladle.windows(task, **HOW).end()
    assert (run.status, run.final["updates"]) == ("stopped", 0)


def test_two_side_by_side_leave_the_signals_as_they_were(task):
    before = signal.getsignal(signal.SIGINT)
    one, other = ladle.windows(task, **HOW), ladle.windows(task, **HOW)
    one.end(), other.end()
    assert signal.getsignal(signal.SIGINT) is before


def test_one_that_diverges_warns_the_loop_around_it(task):
    exploding = ladle.windows(task.with_(optimizer="sgd"), **{**HOW, "lr": 1e38})
    with pytest.warns(ladle.DivergedWarning) as told:
        assert list(exploding)
    assert [one.filename for one in told] == [__file__]
    assert exploding.end().status == "diverged"


def test_refusals(task):
    with pytest.raises(ladle.ArgumentError, match="size must be at least 1"):
        ladle.windows(task, size=0)
    going = ladle.windows(task, **HOW)
    with pytest.raises(ladle.ArgumentError, match=r"note\(reward\) must be a number; got 'much'"):
        going.note(reward="much")
    next(going)
    going.note(train_loss=0.0)
    with pytest.raises(ladle.ArgumentError, match="note must give names of its own; got 'train_loss'"):
        next(going)
    with pytest.raises(ladle.RunError, match="run must have come to an end; got 'an error in the middle'"):
        going.end()


def test_a_replay_that_grows_between_windows_is_what_updates_see():
    """The mean of what was added last is what a constant learns, however often the data move on."""
    replay = Replay(32, {"y": np.float32(0)})
    data = ladle.data.streamed(ladle.feed.Arrays({"y": np.zeros(1, np.float32)}), valid=0, name="replay")
    task = ladle.Task.functions(
        lambda key: {"mean": jnp.zeros(())},
        lambda params, batch: (batch["y"] - params["mean"]) ** 2,
        data,
        feed=lambda seed: HostFeed(replay, Permuted(32, seed)),
        optimizer="sgd",
        lr=0.25,
    )
    with pytest.raises(ladle.DataError, match="replay must hold an example"):
        ladle.fit(task, size=16, until="2 steps")
    going, means = ladle.windows(task, size=16, window=32, until="20 steps"), []
    for number, window in enumerate(going):
        means.append(float(window.params["mean"]))
        replay.add({"y": np.full(32, number, np.float32)})
    assert np.allclose(means[:3], [0, 0, 0.75])  # Twice half way to 1 from 0.
    assert going.end().final["updates"] == 20
