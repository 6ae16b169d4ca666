"""The average of the weights against a loop of NumPy, through lanes, switches of size, and resuming."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import ladle
from ladle.core.errors import ArgumentError
from ladle.core.scaling.coupling import Coupling

DATA = ladle.data.load("digits")
MODEL = ladle.models.mlp(64, 16, 10)


def task(**options):
    return ladle.Task(MODEL, "cross_entropy", DATA, lr=0.01, **{"ema": 0.9, **options})


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


def test_what_was_not_averaged_cannot_be_asked_for():
    run = ladle.fit(task(ema=None), size=64, until="1 steps")
    with pytest.raises(ArgumentError, match="run must have an average"):
        run.averaged()
    with pytest.raises(ArgumentError, match="valid_ema_loss"):
        ladle.fit(task(ema=None), size=64, until="30 epochs, valid_ema_loss <= 0.1")
