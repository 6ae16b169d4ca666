"""The average of the weights against a loop of NumPy, through lanes, switches of size, and resuming."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.api.critical_steps import measure_steps
from ladle.core.errors import ArgumentError
from ladle.core.scaling.coupling import Coupling

DATA = ladle.data.load("digits")
Y = np.arange(96) % 3
X = (np.random.default_rng(0).standard_normal((96, 4)) + Y[:, None]).astype(np.float32)
MODEL = ladle.models.mlp(64, 16, 10)


def task(**options):
    return ladle.Task(**{"model": MODEL, "loss": "cross_entropy", "data": DATA, "lr": 0.01, "ema": 0.9, **options})


def weights(run) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(run.params)]).astype(np.float64)


@pytest.mark.parametrize("lane", ["device", "host"])
def test_the_average_is_the_weighted_mean_of_all_weights_after_updates(lane: str):
    runs = [ladle.fit(task(lane=lane), size=128, until=f"{steps} steps") for steps in range(1, 6)]
    each = [weights(run) for run in runs]
    share = np.array([0.1 * 0.9 ** (4 - i) for i in range(5)])
    expected = np.tensordot(share / share.sum(), each, 1)
    np.testing.assert_allclose(weights(runs[-1].averaged()), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(weights(runs[0].averaged()), each[0], rtol=1e-6)  # Of one update: its weights.


def test_training_is_the_same_beside_an_average():
    plain, beside = (ladle.fit(task(ema=decay), size=64, until="1 epochs") for decay in (None, 0.99))
    np.testing.assert_array_equal(weights(plain), weights(beside))
    averaged = beside.averaged().evaluate(DATA.valid)
    assert beside.final["valid_ema_loss"] == pytest.approx(averaged["loss"], rel=1e-6)
    assert beside.final["valid_ema_accuracy"] == pytest.approx(averaged["accuracy"], rel=1e-6)
    assert "valid_ema_loss" not in plain.final


def test_a_run_may_end_by_the_average_and_be_resumed_with_it(tmp_path):
    whole = ladle.fit(task(), size=64, until="3 epochs")
    ladle.fit(task(), size=64, until="1 epochs", out=tmp_path / "run")
    rest = ladle.fit(task(), size=64, until="3 epochs", out=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(weights(whole.averaged()), weights(rest.averaged()))
    stopped = ladle.fit(task(), size=64, until="30 epochs, valid_ema_accuracy >= 0.6")
    assert stopped.status == "stopped" and stopped.final["valid_ema_accuracy"] >= 0.6


def test_a_larger_batch_takes_larger_steps_of_the_average():
    assert Coupling("linear", 64, {"ema": 0.99}).at(256)[1] == {"ema": pytest.approx(0.99**4)}
    moved = ladle.fit(task(ema=0.99), policy="0:64 1ep:128", until="2 epochs", window=128)
    assert moved.assembly.engine.constants(moved.state)["ema"] == pytest.approx(0.99**2, rel=1e-6)


@pytest.mark.parametrize(("lr", "decay"), [("auto", 0.99**4), (0.01, 0.99)])
def test_the_decay_of_a_run_is_read_as_its_rate_is(lr, decay, tmp_path):
    """With lr="auto" both are of batches of 64 and move to the size; a resume goes on with what was."""
    asked = task(ema=0.99, lr=lr)
    run = ladle.fit(asked, size=256, until="2 steps", out=tmp_path / "run")
    onward = ladle.fit(asked, size=256, until="4 steps", out=tmp_path / "run", resume=True)
    grown = ladle.fit(asked, policy="0:256 1ep:512", until="2 epochs")
    held = [one.assembly.engine.constants(one.state)["ema"] for one in (run, onward, grown)]
    assert held == pytest.approx([decay, decay, decay**2], rel=1e-6)


def test_a_run_says_that_the_decay_was_moved(capsys):
    ladle.fit(task(ema=0.99, lr="auto"), size=128, until="1 steps", show=True)
    said = " ".join("".join(capsys.readouterr()).split())
    assert "The average of the weights keeps 0.9801 of itself in an update of 128: ema is 0.99." in said


def test_the_test_part_is_judged_with_the_average_too():
    data = replace(DATA, test=DATA.valid)
    run = ladle.fit(task(ema=0.9, data=data), size=64, until="1 epochs")
    for name in ("loss", "accuracy"):
        assert run.final[f"test_ema_{name}"] == run.final[f"valid_ema_{name}"]
    assert run.final["test_ema_loss"] != run.final["test_loss"] == run.final["valid_loss"]


def test_steps_are_counted_until_the_average_is_there():
    asked = assemble(task(ema=0.9, data=ladle.data.arrays(X, Y), model=ladle.models.linear(4, 3), lr=0.03))
    counted = [
        [row["steps"] for row in measure_steps(asked, f"{metric}=0.7", sizes=[8, 16, 32], until="40 epochs").table]
        for metric in ("valid_loss", "valid_ema_loss")
    ]
    assert all(late > early for early, late in zip(*counted, strict=True))
    with pytest.raises(ArgumentError, match="the target must name a validation metric; got 'valid_ema_loss'"):
        measure_steps(task(ema=None), "valid_ema_loss=0.7")


def test_what_was_not_averaged_cannot_be_asked_for():
    run = ladle.fit(task(ema=None), size=64, until="1 steps")
    with pytest.raises(ArgumentError, match="run must have an average"):
        run.averaged()
    with pytest.raises(ArgumentError, match="valid_ema_loss"):
        ladle.fit(task(ema=None), size=64, until="30 epochs, valid_ema_loss <= 0.1")
