"""Frozen weights: they stay, the rest trains as if they were constants; weight decay by path."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ladle
from ladle.core.errors import ArgumentError
from ladle.core.paths import matches
from ladle.jax.freeze import parted, whole

DATA = ladle.data.load("digits")
MODEL = ladle.models.mlp(64, 16, 10)


def task(model=MODEL, **options):
    return ladle.Task(model, "cross_entropy", DATA, **{"lr": 0.01, **options})


def started(one):
    return jax.tree.map(np.asarray, ladle.fit(one.with_(optimizer="sgd", lr=1e-30), size=64, until="1 steps").params)


GAUGED = ladle.Gauge(every=1)
PLAINER = [pytest.param(*case, marks=pytest.mark.long) for case in (("device", None), ("host", GAUGED))]


@pytest.mark.parametrize(("lane", "gauge"), [("device", GAUGED), ("host", None), *PLAINER])
def test_frozen_weights_stay_and_the_rest_trains_as_the_rest_of_a_plain_function(lane: str, gauge):
    first = started(task())[0]
    run = ladle.fit(task(frozen="0", lane=lane), size=64, until="2 epochs", gauge=gauge)
    for name in ("weight", "bias"):
        np.testing.assert_allclose(run.params[0][name], first[name], rtol=0, atol=1e-28)
    hidden = lambda x: jax.nn.relu(x.reshape(len(x), -1) @ first["weight"] + first["bias"][None])  # noqa: E731
    last = started(task())[1]

    def loss(params, batch):
        logits = hidden(batch["x"]) @ params["weight"] + params["bias"][None]
        return ladle.losses.cross_entropy(logits, batch["y"])

    alone = ladle.Task.functions(lambda key: jax.tree.map(jnp.asarray, last), loss, DATA, lr=0.01, lane=lane)
    other = ladle.fit(alone, size=64, until="2 epochs", gauge=gauge)
    for name in ("weight", "bias"):
        np.testing.assert_allclose(run.params[1][name], other.params[name], rtol=2e-4, atol=2e-5)
    assert run.final["grad_norm"] == pytest.approx(other.final["grad_norm"], rel=1e-3)
    if gauge is not None:
        assert run.final["noise_scale"] == pytest.approx(other.final["noise_scale"], rel=1e-2)


def test_the_optimiser_keeps_nothing_for_frozen_weights():
    all_of_it, part = (ladle.fit(one, size=64, until="1 steps").state for one in (task(), task(frozen=("0.*",))))
    held = [sum(leaf.size for leaf in jax.tree.leaves(state.opt_state)) for state in (all_of_it, part)]
    assert held[0] - held[1] == 2 * (64 * 16 + 16)


def test_a_model_with_frozen_weights_is_saved_whole_and_resumed(tmp_path):
    one = task(ladle.models.mlp(64, 16, 10, batch_norm=True), frozen="0.weight")
    run = ladle.fit(one, size=64, until="2 epochs", out=tmp_path / "run")
    more = ladle.fit(one, size=64, until="3 epochs", out=tmp_path / "run", resume=True)
    whole_run = ladle.fit(one, size=64, until="3 epochs")
    for a, b in zip(*map(jax.tree.leaves, (more.params, whole_run.params)), strict=True):
        np.testing.assert_array_equal(a, b)
    run.save(tmp_path / "model")
    for folder in ("model", "run"):
        loaded = ladle.load(tmp_path / folder)
        assert set(loaded.engine.weight_types()) >= {"params.0.weight", "params.1.weight"}
    np.testing.assert_array_equal(ladle.load(tmp_path / "model").outputs(DATA.valid["x"]), run.outputs(DATA.valid["x"]))
    np.testing.assert_array_equal(ladle.load(tmp_path / "run").outputs(DATA.valid["x"]), more.outputs(DATA.valid["x"]))


def test_parted_is_the_inverse_of_whole():
    params, kept = ladle.Task(MODEL, "cross_entropy", DATA, frozen="0.bias").objective().init(jax.random.key(0))
    again, state = parted(*whole(params, kept), kept)
    assert jax.tree.structure((again, state)) == jax.tree.structure((params, kept))


def test_what_names_nothing_or_everything_is_refused():
    with pytest.raises(ArgumentError, match=r"frozen must name arrays of the model; got '2\.\*'"):
        ladle.fit(task(frozen="2.*"), size=64, until="1 steps")
    with pytest.raises(ArgumentError, match="frozen must leave an array to train"):
        ladle.fit(task(frozen="*"), size=64, until="1 steps")
    with pytest.raises(ArgumentError, match="no_decay must name arrays of the model"):
        ladle.fit(task(optimizer="adamw", no_decay="*bais"), size=64, until="1 steps")


def test_a_frozen_weight_may_be_named_among_those_that_do_not_decay():
    asked = task(optimizer="adamw", frozen="*bias", no_decay="*bias")
    run, other = (ladle.fit(one, size=256, until="1 steps") for one in (asked, asked.with_(no_decay=())))
    for a, b in zip(*map(jax.tree.leaves, (run.params, other.params)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "name", ["adamw", *(pytest.param(name, marks=pytest.mark.long) for name in ("lion", "lamb", "lars", "muon"))]
)
def test_weight_decay_leaves_alone_what_is_excluded(name: str):
    start = started(task())
    decays = {"optimizer": name, "hyper": {"weight_decay": 0.5}, "lr": 0.01}
    run = ladle.fit(task(no_decay="*weight", **decays), size=64, until="2 steps")
    free = ladle.fit(task(**{**decays, "hyper": {"weight_decay": 0.0}}), size=64, until="2 steps")
    full = ladle.fit(task(**decays), size=64, until="2 steps")
    for at in range(2):
        moved, none, all_ = (np.asarray(one.params[at]["weight"]) - start[at]["weight"] for one in (run, free, full))
        assert np.abs(all_ - none).max() > 1e-5
        np.testing.assert_allclose(moved, none, atol=0.02 * np.abs(all_ - none).max() + 1e-7)


def test_paths_are_matched_by_name_by_pattern_and_from_a_part_down():
    assert matches("0.weight", ["0"]) and matches("0.weight", ["*.weight"]) and matches("0.weight", ["?.w*"])
    assert not matches("10.weight", ["0"]) and not matches("0.weight", ["weight"])
