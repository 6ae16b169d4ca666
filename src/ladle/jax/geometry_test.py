"""Moments of an update as a gauge takes them: cut micro-batches, the projection, Adam's geometry; and constants."""

from __future__ import annotations

from collections import Counter

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge, Moments
from ladle.core.noise import estimate
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.order import Permuted
from ladle.feed.resident import ResidentFeed
from ladle.jax import fakes_test as fakes
from ladle.jax.fakes_test import LANES, N, feed_of, flat, gradient, reference, relative, run, sgd
from ladle.jax.geometry import preconditioner
from ladle.jax.objective import of_functions, of_model
from ladle.jax.optimizer import optimizer_named
from ladle.jax.step import CompiledStep
from ladle.models import mlp
from ladle.models.losses import cross_entropy

lanes = pytest.mark.parametrize("lane", LANES)


def each(ids: np.ndarray) -> np.ndarray:
    """`f64[k, parameters]`, one gradient an example, at zero parameters."""
    return np.stack([reference(np.array([i]))[0] for i in ids])


@lanes
def test_one_micro_batch_is_cut_in_one_of_every_updates(lane):
    """The update is the same to rounding, and the moments are those of its pieces; the others are not measured."""
    spec = BatchSpec(8, 8, updates=4)
    plain, _, _ = run(sgd(), feed_of(lane), spec)
    state, observation, draw = run(sgd(gauge=Gauge(every=3, parts=4)), feed_of(lane), spec)
    assert relative(flat(state.params), flat(plain.params)) < 1e-6
    moments = observation.moments()
    assert (moments.count, moments.examples) == (2, 16)
    _, observation, draw = run(sgd(gauge=Gauge(every=3, parts=4)), feed_of(lane), BatchSpec(8, 8), lr=0.0)
    pieces = each(draw.ids()[0]).reshape(4, 2, -1).mean(1)
    expected = Moments.from_gradients(pieces, 2)
    assert observation.moments().trace == pytest.approx(expected.trace, rel=1e-4)
    assert observation.moments().square == pytest.approx(expected.square, rel=1e-4)


def test_rows_that_do_not_divide_are_filled_without_weight(lane="resident"):
    state, observation, draw = run(sgd(gauge=Gauge(every=1, parts=4)), feed_of(lane), BatchSpec(7, 7))
    assert relative(gradient(state), reference(draw.ids()[0])[0]) < 1e-6
    assert observation.moments().examples == 7


@lanes
@pytest.mark.parametrize(
    ("size", "micro", "cuts"), [(32, 4, (8, 16)), (30, 4, (8, 16)), (32, 32, (8, 16)), (8, 4, None)]
)
def test_the_projection_is_a_covariance_along_two_other_parts(lane, size, micro, cuts):
    """p and q: mean gradients of the first two parts of the micro-batches; Cov(p'g_i, q'g_i) from the third."""
    gauge = Gauge(every=1, parts=8, projection=True)
    _, observation, draw = run(sgd(gauge=gauge), feed_of(lane), BatchSpec(size, micro), lr=0.0)
    moments = observation.moments()
    if cuts is None:
        assert (moments.count, moments.projections) == (1, 0), "two micro-batches have no third part"
        return
    g, (first, second) = each(draw.ids()[0]), cuts
    starts = range(second, size, 4)
    masses = np.array([len(g[start : start + 4]) for start in starts])
    d, e = (
        np.array([g[start : start + 4].mean(0) @ toward for start in starts])
        for toward in (g[:first].mean(0), g[first:second].mean(0))
    )
    apart = (d - np.average(d, weights=masses)) * (e - np.average(e, weights=masses))
    assert moments.projections == 1
    assert moments.projection == pytest.approx(np.sum(masses * apart) / (len(d) - 1), rel=1e-3)


@pytest.mark.parametrize("micro", [64, 4])
def test_the_projection_is_that_along_the_true_gradient(micro):
    """Against G'Sigma G of the data, where the noise of a direction would be ten times as much."""
    rng, rows = np.random.default_rng(0), 32_768
    h, x = (1 / np.arange(1, 21.0)).astype(np.float32), rng.standard_normal((rows, 20)).astype(np.float32) + 0.1
    objective = of_functions(
        lambda key: jnp.zeros(20), lambda p, b: 0.5 * jnp.sum(h[None] * (p[None] - b["x"]) ** 2, 1)
    )
    g = -h * x.astype(np.float64)
    truth, spec = np.var(g @ g.mean(0)), BatchSpec(64, micro, updates=512)
    step = sgd(objective, gauge=Gauge(every=1, parts=8, projection=True))
    found = []
    for seed in range(16):
        feed = ResidentFeed(Arrays({"x": x}), Permuted(rows, seed))
        moments = step(step.init(0, {"lr": 0.0}), feed.draw(feed.start(), spec)[0], spec, 0.0)[1].moments()
        found.append(moments.projection / moments.projections)
    error = np.std(found, ddof=1) / 4
    assert error < 0.1 * truth and abs(np.mean(found) - truth) < 3 * error


def test_u_statistics_of_the_projection_are_unbiased():
    """Mean over many draws of 8 gradients against G'Sigma G, with unequal variances."""
    rng, mean, sd = np.random.default_rng(0), np.array([1.0, -0.5, 0.0]), np.array([0.3, 1.0, 2.0])
    drawn = [Moments.from_gradients(mean + sd * rng.standard_normal((8, 3))) for _ in range(4000)]
    found = np.array([(m.square, m.trace, m.projection) for m in drawn])
    error = found.std(0) / np.sqrt(len(found))
    expected = (mean @ mean, (sd**2).sum(), (mean**2 * sd**2).sum())
    assert (np.abs(found.mean(0) - expected) < 4 * error).all()


def test_adams_geometry_scales_by_its_second_moment(lane="resident"):
    step = CompiledStep(fakes.OBJECTIVE, optimizer_named("adam"), gauge=Gauge(every=1, geometry="preconditioned"))
    feed, spec = feed_of(lane), BatchSpec(8, 8)
    draw, cursor = feed.draw(feed.start(), spec)
    state, first = step(step.init(0, {"lr": 0.0}), draw, spec, 1.0)
    assert first.moments().trace == pytest.approx(run(sgd(gauge=Gauge(every=1)), feed, spec)[1].moments().trace, 1e-4)
    scale = 1 / (np.sqrt(gradient_of(draw.ids()[0]) ** 2) + 1e-8)  # v, bias-corrected, after one update
    draw, _ = feed.draw(cursor, spec)
    _, second = step(state, draw, spec, 1.0)
    pieces = each(draw.ids()[0]).reshape(4, 2, -1).mean(1) * scale
    assert second.moments().trace == pytest.approx(Moments.from_gradients(pieces, 2).trace, rel=1e-3)


def test_a_coordinate_that_never_had_a_gradient_is_left_out():
    """Its first one would be scaled by 1 / eps, and be all that is seen."""
    state = optax.scale_by_adam().init(jnp.zeros(3))._replace(count=jnp.int32(5), nu=jnp.array([4.0, 0.0, 1e-6]))
    found = preconditioner((state,), {"b2": jnp.float32(0), "eps": jnp.float32(1e-8)})
    np.testing.assert_allclose(found, [0.5, 0.0, 1e3], rtol=1e-4)
    begun = optax.scale_by_adam().init(jnp.zeros(3))
    np.testing.assert_array_equal(preconditioner((begun,), {"eps": jnp.float32(1e-8)}), 1.0)


def test_rmsprops_geometry_needs_no_count(lane="resident"):
    """Its state counts no updates; what a tuple calls `count` is none."""
    step = CompiledStep(fakes.OBJECTIVE, optimizer_named("rmsprop"), gauge=Gauge(every=1, geometry="preconditioned"))
    feed, spec = feed_of(lane), BatchSpec(8, 8)
    draw, cursor = feed.draw(feed.start(), spec)
    state, first = step(step.init(0, {"lr": 0.0}), draw, spec, 1.0)
    assert first.moments().trace == pytest.approx(run(sgd(gauge=Gauge(every=1)), feed, spec)[1].moments().trace, 1e-4)
    scale = 1 / (np.sqrt(0.1 * gradient_of(draw.ids()[0]) ** 2) + 1e-8)
    draw, _ = feed.draw(cursor, spec)
    pieces = each(draw.ids()[0]).reshape(4, 2, -1).mean(1) * scale
    second = step(step.rebase(state, draw, spec, 8), draw, spec, 1.0)[1]
    assert second.moments().trace == pytest.approx(Moments.from_gradients(pieces, 2).trace, rel=1e-3)


@lanes
@pytest.mark.parametrize(("micro", "per_example"), [(10, False), (4, False), (10, True)])
def test_a_ragged_last_batch_is_not_measured(lane, micro, per_example):
    """37 rows in batches of 10: the fourth has 7."""
    gauge = Gauge(every=1, per_example=per_example)
    _, observation, _ = run(sgd(gauge=gauge), feed_of(lane), BatchSpec(10, micro, updates=4))
    assert (observation.moments().count, observation.moments().examples) == (3, 30)


def gradient_of(ids: np.ndarray) -> np.ndarray:
    return reference(ids)[0]


def test_the_interval_covers_the_truth_in_200_runs_on_a_quadratic():
    """loss_i = 1/2 sum h (theta - x_i)^2: |G|^2 and tr Sigma of the data are known. Each run has its own order."""
    rng, rows = np.random.default_rng(0), 32_768
    h, x = (1 / np.arange(1, 21.0)).astype(np.float32), rng.standard_normal((rows, 20)).astype(np.float32) + 0.3
    objective = of_functions(
        lambda key: jnp.zeros(20), lambda p, b: 0.5 * jnp.sum(h[None] * (p[None] - b["x"]) ** 2, 1)
    )
    g = -h * x.astype(np.float64)
    true = ((g - g.mean(0)) ** 2).sum() / (rows - 1) / (g.mean(0) ** 2).sum()
    step, spec, covered, resolved = sgd(objective, gauge=Gauge(every=1, parts=8)), BatchSpec(64, 64, updates=32), 0, 0
    placed = step.place({"x": x})
    for seed in range(200):
        feed = ResidentFeed(Arrays({"x": x}), Permuted(rows, seed), placed_arrays=(placed, None))
        draw, _ = feed.draw(feed.start(), spec)
        noise = estimate(step(step.init(0, {"lr": 0.0}), draw, spec, 0.0)[1].moments(), population=rows)
        covered += noise.low <= true <= noise.high
        resolved += noise.verdict == "resolved"
    assert resolved > 150 and 180 <= covered <= 196


def test_what_cannot_be_measured_is_refused():
    dependent = of_functions(fakes.init, fakes.loss, additive=False)
    with pytest.raises(ArgumentError, match="loss that is not a sum over examples"):
        sgd(dependent, gauge=Gauge())
    for name in ("sgd", "muon", optax.adam(1e-3, eps=1e-2)):
        with pytest.raises(ArgumentError, match="geometry must be 'sgd'"):
            CompiledStep(fakes.OBJECTIVE, optimizer_named(name), gauge=Gauge(geometry="preconditioned"))
    assert run(sgd(dependent), feed_of("resident"), BatchSpec(8, 4))[1].moments().count == 0


def test_a_gauge_compiles_one_program_a_rung(compilations: Counter[str]):
    step, feed = sgd(gauge=Gauge(every=2)), feed_of("resident")
    for size in (8, 5, 7):
        run(step, feed, BatchSpec(size, 8, updates=3))
    assert compilations["_trace_window"] == 1


@lanes
def test_constants_change_without_a_compilation(lane, compilations: Counter[str]):
    step, feed, spec = CompiledStep(fakes.OBJECTIVE, optimizer_named("momentum")), feed_of(lane), BatchSpec(8, 8)
    draw, cursor = feed.draw(feed.start(), spec)
    state, _ = step(step.init(0), draw, spec, 1.0)
    before = sum(compilations.values())
    state = step.transfer(state, {"momentum": 0.5})
    draw, _ = feed.draw(cursor, spec)
    state, _ = step(state, draw, spec, 1.0)
    assert sum(compilations.values()) == before and float(state.hyper["momentum"]) == 0.5
    with pytest.raises(ArgumentError, match="name constants of the run"):
        step.transfer(state, {"b3": 0.5})


@lanes
def test_a_rebased_second_moment_is_what_the_new_size_would_have_made(lane):
    """v after one update is 0.001 g_B^2; moved to twice the batch it is that plus 0.001 Sigma (1/2B - 1/B)."""
    step = CompiledStep(fakes.OBJECTIVE, optimizer_named("adam"))
    feed, spec = feed_of(lane), BatchSpec(16, 16)
    draw, cursor = feed.draw(feed.start(), spec)
    state, _ = step(step.init(0, {"lr": 0.0}), draw, spec, 1.0)
    before = flat(state.opt_state[0].nu)
    draw, _ = feed.draw(cursor, spec)
    after = flat(step.rebase(state, draw, spec, 8).opt_state[0].nu)
    variance = each(draw.ids()[0]).var(0, ddof=1)
    np.testing.assert_allclose(after, np.maximum(before + 1e-3 * variance * (1 / 16 - 1 / 8), 0), rtol=1e-3, atol=1e-9)
    with pytest.raises(ArgumentError, match="rebase must be False"):
        sgd().rebase(sgd().init(0), draw, spec, 8)


def test_gradient_noise_has_the_variance_asked_for_and_is_a_function_of_position(lane="resident"):
    spec, feed = BatchSpec(N, N), feed_of(lane)
    clean = gradient(run(sgd(), feed, spec)[0])
    step = sgd()
    drawn = [gradient(run(step, feed, spec, seed=seed, gradient_noise=0.25)[0]) - clean for seed in range(40)]
    assert np.concatenate(drawn).std() == pytest.approx(0.5, rel=0.1)
    again = gradient(run(step, feed, spec, seed=3, gradient_noise=0.25)[0])
    np.testing.assert_array_equal(again - clean, drawn[3])
    later = gradient(run(step, feed, spec, seed=3, start=N, gradient_noise=0.25)[0])
    assert np.abs(later - again).max() > 0.1


def test_levels_reach_the_model_and_the_loss():
    """Dropout 0.5 as a constant of the run is dropout 0.5 of the model; smoothing is the mixture of the formula."""
    feed, spec = feed_of("resident"), BatchSpec(16, 16)
    plain, dropping = (of_model(mlp(5, 16, 3, dropout=rate), cross_entropy, {}) for rate in (0.0, 0.5))
    assert plain.levels == ("dropout", "label_smoothing")
    whole = flat(run(sgd(dropping), feed, spec)[0].params)
    level = flat(run(sgd(plain), feed, spec, dropout=0.5)[0].params)
    np.testing.assert_allclose(level, whole, rtol=1e-6)
    outputs, y = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([2])
    mixed = 0.9 * cross_entropy(outputs, y) + 0.1 * jnp.mean(
        jnp.stack([cross_entropy(outputs, y * 0 + k) for k in range(3)])
    )
    np.testing.assert_allclose(cross_entropy(outputs, y, label_smoothing=jnp.float32(0.1)), mixed, rtol=1e-6)
