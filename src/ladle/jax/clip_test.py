"""Bounds of the gradient against formulas and against optax, in both lanes, with moments of the gradient before."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import ladle
from ladle.core.errors import ArgumentError
from ladle.jax.clip import clipped

DATA = ladle.data.load("digits")
MODEL = ladle.models.mlp(64, 16, 10)


def task(**options):
    return ladle.Task(MODEL, "cross_entropy", DATA, optimizer="sgd", lr=0.1, **options)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_the_bound_of_the_norm_is_optaxs(scale: float):
    tree = {"w": scale * jax.random.normal(jax.random.key(0), (5, 3)), "b": scale * jnp.ones(3)}
    norm_sq = jnp.float32(optax.tree.norm(tree, squared=True))
    mine = clipped(tree, norm_sq, {"clip": jnp.float32(1.5)})
    theirs = optax.clip_by_global_norm(1.5)
    expected, _ = theirs.update(tree, theirs.init(tree))
    for a, b in zip(jax.tree.leaves(mine.gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert float(mine.was[0]) == float(norm_sq > 1.5**2)


def test_the_bound_of_a_coordinate_comes_after_that_of_the_norm():
    tree = {"w": jnp.array([3.0, -4.0])}
    found = clipped(tree, jnp.float32(25), {"clip": jnp.float32(2.5), "clip_value": jnp.float32(1.6)})
    np.testing.assert_allclose(found.gradient["w"], [1.5, -1.6], rtol=1e-6)
    within = clipped(tree, jnp.float32(25), {"clip_value": jnp.float32(4.0)})
    np.testing.assert_array_equal(within.gradient["w"], tree["w"])
    assert float(found.was[0]) == 1 and float(within.was[0]) == 0


@pytest.mark.parametrize(("lane", "micro"), [("device", 64), ("host", 16)])
def test_an_update_is_that_of_the_shortened_mean_gradient(lane: str, micro: int):
    start = ladle.fit(task(), size=64, until="1 steps").params
    free, bound = (
        ladle.fit(one, size=64, micro_size=micro, until="2 steps", window=64)
        for one in (task(lane=lane), task(lane=lane, clip=0.25))
    )
    norms = [line["grad_norm"] for line in bound.metrics if "grad_norm" in line]
    assert norms[0] == pytest.approx(next(line["grad_norm"] for line in free.metrics if "grad_norm" in line), rel=1e-5)
    assert norms[0] > 0.25 and [line["clipped"] for line in bound.metrics if "clipped" in line] == [1.0, 1.0]
    assert all("clipped" not in line for line in free.metrics)
    # A step of plain gradient descent is rate * gradient: its length is rate * clip.
    one = ladle.fit(task(lane=lane, clip=0.25), size=64, micro_size=micro, until="1 steps").params
    begun = ladle.fit(task(lane=lane, clip=1e-30), size=64, micro_size=micro, until="1 steps").params
    step = [np.asarray(a) - np.asarray(b) for a, b in zip(*map(jax.tree.leaves, (one, begun)), strict=True)]
    assert np.sqrt(sum(float(np.sum(leaf.astype(np.float64) ** 2)) for leaf in step)) == pytest.approx(0.025, rel=1e-4)
    assert not all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (start, one)), strict=True))


def test_a_bound_that_is_never_reached_moves_nothing():
    free, bound = (ladle.fit(one, size=64, until="1 epochs") for one in (task(), task(clip=1e6)))
    for a, b in zip(*map(jax.tree.leaves, (free.params, bound.params)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert bound.final["clipped"] == 0.0


def test_the_noise_scale_is_that_of_gradients_before_the_bound():
    gauge = ladle.Gauge(every=1)
    free = ladle.fit(task(), size=64, until="1 steps", gauge=gauge)
    bound = ladle.fit(task(clip=0.01), size=64, until="1 steps", gauge=gauge)
    names = [name for name in free.final if name.startswith("noise")]
    assert names and {name: bound.final[name] for name in names} == pytest.approx(
        {name: free.final[name] for name in names}, rel=1e-4
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clip": 0}, "clip must be a positive number; got 0"),
        ({"clip_value": -1.0}, "clip_value must be a positive number; got -1.0"),
        ({"clip": float("nan")}, "clip must be a positive number; got nan"),
        ({"ema": 1.0}, "ema must be between 0 and 1; got 1.0"),
        ({"clip": 1.0, "hyper": {"clip": 2.0}}, "clip must be given once"),
        ({"hyper": {"clip": -2.0}}, "clip must be a positive number; got -2.0"),
        ({"hyper": {"clap": 2.0}}, "be a constant of sgd"),
        ({"no_decay": "*bias"}, "no_decay must come with an optimiser that decays; got 'sgd'"),
        ({"frozen": 3}, "frozen must be patterns of paths; got 3"),
    ],
)
def test_what_means_nothing_is_refused_before_work(options, said: str):
    with pytest.raises(ArgumentError, match=said.replace("(", r"\(").replace("*", r"\*")):
        ladle.fit(task(**options), size=64, until="1 steps")


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), jnp.float32(0.5)])
def test_a_number_of_any_library_is_a_number(value):
    assert task(clip=value).clip == 0.5 and type(task(clip=value).clip) is float


@pytest.mark.parametrize("value", ["1.0", "auto", True, [1.0], np.array([1.0]), np.True_, float("nan")])
@pytest.mark.parametrize("name", ["clip", "clip_value"])
def test_what_is_no_number_is_refused(name: str, value):
    with pytest.raises(ArgumentError, match=f"{name} must be a positive number; got"):
        task(**{name: value})
    with pytest.raises(ArgumentError, match="ema must be between 0 and 1; got"):
        task(ema=value)
    with pytest.raises(ArgumentError, match=f"{name} must be a positive number; got"):
        task(hyper={name: value})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"clip": "x"}, "clip must be a positive number; got 'x'"),
        ({"clip": 0}, "clip must be a positive number; got 0"),
        ({"ema": 2.0}, "ema must be between 0 and 1; got 2.0"),
        ({"ema": 0.9}, r"hyper\['ema'\] must be of the task first; got 0.9; .*try ladle.Task\(ema=0.9\)"),
    ],
)
def test_constants_over_the_tasks_are_refused_before_work(given, said: str):
    with pytest.raises(ArgumentError, match=said):
        ladle.fit(task(clip=1.0), size=64, until="1 steps", hyper=given)


def test_a_bound_may_be_another_for_one_run():
    run = ladle.fit(task(clip=1.0), size=64, until="1 steps", hyper={"clip": 0.01})
    other = ladle.fit(task(clip=0.01), size=64, until="1 steps")
    assert run.final["clipped"] == 1.0 and run.final["valid_loss"] == other.final["valid_loss"]
