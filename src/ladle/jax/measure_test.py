"""Moments of an update as a gauge takes them: by micro-batches, by parts of one, by example; and the projection."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladle.core import moments as moments_
from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge, Moments, pair
from ladle.core.noise import estimate
from ladle.core.observation import Observation
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.order import Permuted
from ladle.feed.resident import ResidentFeed
from ladle.jax import fakes_test as fakes
from ladle.jax.fakes_test import LANES, N, feed_of, flat, gradient, gradients_of, reference, relative, run, sgd
from ladle.jax.meaning import Meaning
from ladle.jax.measure import Way, stride, view_of, way_of
from ladle.jax.objective import of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.rate import constant_rate
from ladle.jax.step import CompiledStep

lanes = pytest.mark.parametrize("lane", LANES)


def lanes_and(names: str, cells: list[tuple[Any, ...]]) -> Any:
    """Every cell in both lanes; by default each in one of them, by turns: every cell is a program of its own."""
    values = [
        pytest.param(lane, *cell, marks=[pytest.mark.long] if (row + column) % len(LANES) else [])
        for row, cell in enumerate(cells)
        for column, lane in enumerate(LANES)
    ]
    return pytest.mark.parametrize(f"lane,{names}", values)


EXACT = 1e-5


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
    pieces = gradients_of(draw.ids()[0]).reshape(4, 2, -1).mean(1)
    expected = Moments.from_gradients(pieces, 2)
    assert observation.moments().trace == pytest.approx(expected.trace, rel=1e-4)
    assert observation.moments().square == pytest.approx(expected.square, rel=1e-4)


def test_rows_that_do_not_divide_are_filled_without_weight():
    state, observation, draw = run(sgd(gauge=Gauge(every=1, parts=4)), feed_of("resident"), BatchSpec(7, 7))
    assert relative(gradient(state), reference(draw.ids()[0])[0]) < 1e-6
    assert observation.moments().examples == 7


@lanes_and("size,micro,cuts", [(32, 4, (8, 16)), (30, 4, (8, 16)), (32, 32, (8, 16)), (8, 4, None)])
def test_the_projection_is_a_covariance_along_two_other_parts(lane, size, micro, cuts):
    """p and q: mean gradients of the first two parts of the micro-batches; Cov(p'g_i, q'g_i) from the third."""
    gauge = Gauge(every=1, parts=8, projection=True)
    _, observation, draw = run(sgd(gauge=gauge), feed_of(lane), BatchSpec(size, micro), lr=0.0)
    moments = observation.moments()
    if cuts is None:
        assert (moments.count, moments.projections) == (1, 0), "two micro-batches have no third part"
        return
    g, (first, second) = gradients_of(draw.ids()[0]), cuts
    starts = range(second, size, 4)
    masses = np.array([len(g[start : start + 4]) for start in starts])
    d, e = (
        np.array([g[start : start + 4].mean(0) @ toward for start in starts])
        for toward in (g[:first].mean(0), g[first:second].mean(0))
    )
    apart = (d - np.average(d, weights=masses)) * (e - np.average(e, weights=masses))
    assert moments.projections == 1
    assert moments.projection == pytest.approx(np.sum(masses * apart) / (len(d) - 1), rel=1e-3)


@pytest.mark.parametrize("micro", [64, pytest.param(4, marks=pytest.mark.long)])
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


@lanes_and("micro,per_example", [(10, False), (4, False), (10, True)])
def test_a_ragged_last_batch_is_not_measured(lane, micro, per_example):
    """37 rows in batches of 10: the fourth has 7."""
    gauge = Gauge(every=1, per_example=per_example)
    _, observation, _ = run(sgd(gauge=gauge), feed_of(lane), BatchSpec(10, micro, updates=4))
    assert (observation.moments().count, observation.moments().examples) == (3, 30)


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


def test_one_gradient_per_example_is_the_same_update():
    """And the sum of |g_i|^2 is that of an explicit loop."""
    spec, whole = BatchSpec(11, 4), run(sgd(), feed_of("resident"), BatchSpec(11, 4))
    state, observation, draw = run(sgd(gauge=Gauge(per_example=True)), feed_of("resident"), spec)
    assert relative(gradient(state), gradient(whole[0])) < EXACT
    (ids,) = draw.ids()
    squares = sum(float(np.sum(reference(np.array([i]))[0] ** 2)) for i in ids)
    trace, square = pair(squares, float(np.sum(reference(ids)[0] ** 2)), 11, 11)
    sums = observation.sums()
    assert (sums["noise/count"], sums["noise/examples"]) == (1, 11)
    assert sums["noise/trace"] == pytest.approx(trace, rel=1e-4)
    assert sums["noise/square"] == pytest.approx(square, rel=1e-4)
    assert sums["loss"] == pytest.approx(whole[1].sums()["loss"], rel=EXACT)


def test_one_gradient_per_example_is_refused_where_examples_are_not_independent():
    for objective in (
        fakes.COUNTING,
        of_functions(fakes.init, fakes.loss, additive=False),
    ):
        with pytest.raises(ArgumentError, match="gauge must"):
            sgd(objective, gauge=Gauge(per_example=True))


@lanes
@pytest.mark.parametrize("cuts", [(12,), (1, 4, 7), (1,) * 12])
def test_which_updates_are_measured_does_not_depend_on_the_windows(lane, cuts, monkeypatch):
    monkeypatch.setattr(moments_, "LEAST", 2)  # So every second one of the four of a pass.
    step, feed, observation, state = sgd(gauge=Gauge()), feed_of(lane), Observation(), None
    state, cursor = step.init(0, {"lr": 0.0}), feed.start()
    for updates in cuts:
        spec = BatchSpec(10, 4, updates=updates)
        draw, cursor = feed.draw(cursor, spec)
        state, new = step(state, draw, spec, 0.0)
        observation = observation.merge(new)
    assert (observation.moments().count, observation.moments().examples) == (6, 60)


@lanes_and("weighted,every", [(False, 1), (True, 1), (False, 2)])
def test_the_noise_pair_is_that_of_the_micro_batch_gradients(lane, weighted, every, monkeypatch):
    """Updates of 10 = 4 + 4 + 2 examples, those that are measured against the unbiased pair computed by hand.

    A pass of 37 has four, and the last of them, 7 = 4 + 3, is not.
    """
    monkeypatch.setattr(moments_, "LEAST", 1)  # A pass of four updates would have them all measured.
    weight = np.arange(N) % 4 / np.float32(2) if weighted else fakes.ONES
    step = sgd(gauge=Gauge(every=every))
    _, observation, draw = run(step, feed_of(lane, weight), BatchSpec(10, 4, updates=8), lr=0.0)
    pairs, measured = [], [ids for number, ids in enumerate(draw.ids()) if number % 4 in range(0, 3, every)]
    for ids in measured:
        parts = [ids[first : first + 4] for first in range(0, len(ids), 4)]
        masses = [weight[part].sum() for part in parts]
        micro = sum(
            mass * np.sum(reference(part, weight)[0] ** 2) for part, mass in zip(parts, masses, strict=True) if mass
        )
        spread = sum((weight[part] ** 2).sum() / mass for part, mass in zip(parts, masses, strict=True) if mass)
        whole = (weight[ids] ** 2).sum() / weight[ids].sum()
        effective = pair(micro, np.sum(reference(ids, weight)[0] ** 2), weight[ids].sum(), spread, whole)
        # Recorded is the variance of an example drawn: an effective one times 10 sum w^2 / (sum w)^2.
        pairs.append((effective[0] * 10 * whole / weight[ids].sum(), effective[1]))
    trace, square = np.array(pairs).T
    moments = observation.moments()
    assert (moments.count, moments.examples) == (len(measured), 10 * len(measured))
    assert moments.trace == pytest.approx(trace.sum(), rel=1e-4)
    assert moments.square == pytest.approx(square.sum(), rel=1e-4)
    assert moments.trace_sq == pytest.approx((trace**2).sum(), rel=1e-4)
    assert moments.square_sq == pytest.approx((square**2).sum(), rel=1e-4)
    assert moments.cross == pytest.approx((trace * square).sum(), rel=1e-4)


def brute(weight: np.ndarray, size: int) -> tuple[float, float]:
    """B Var(g_B) without the finite-data factor, and |G|^2 of the data, from gradients of the examples."""
    rng, each = np.random.default_rng(0), fakes.gradients_of(np.arange(N))
    means = []
    for _ in range(4000):
        ids = rng.permutation(N)[:size]
        means.append(weight[ids] @ each[ids] / weight[ids].sum())
    return np.var(means, axis=0).sum() * size / (1 - size / N), ((weight @ each / weight.sum()) ** 2).sum()


@pytest.mark.parametrize("kind", ["equal", "half count nothing", "uneven"])
def test_moments_are_of_examples_drawn_whatever_they_weigh(kind):
    """Their trace is B Var(g_B) of the batches as they are drawn, and |G|^2 of the data is read with trace / rows."""
    rng = np.random.default_rng(1)
    weights = {"equal": np.full(N, 2.0), "half count nothing": np.arange(N) % 2.0, "uneven": rng.gamma(2.0, 1.0, N)}
    weight = weights[kind].astype(np.float32)
    feed = feed_of("resident", weight, order=Permuted(N, 3))
    observation = run(sgd(gauge=Gauge(every=1)), feed, BatchSpec(18, 6, updates=900), lr=0.0)[1]
    moments = observation.moments()
    variance, gradient_sq = brute(weight.astype(np.float64), 18)
    assert moments.examples == 18 * moments.count
    assert moments.trace / moments.count == pytest.approx(variance, rel=0.08)
    of_data = moments.of_population(N)
    error = math.sqrt((of_data.square_sq / of_data.count - (of_data.square / of_data.count) ** 2) / of_data.count)
    assert of_data.square / of_data.count == pytest.approx(gradient_sq, abs=4 * error)


def test_one_micro_batch_says_nothing_about_noise():
    assert run(sgd(), feed_of("resident"), BatchSpec(8, 8, updates=3))[1].moments().count == 0


GAUGES = {"none": None, "cut": Gauge(), "whole": Gauge(parts=1), "each": Gauge(per_example=True)}
WAYS = {
    # gauge, several micro-batches, devices
    ("none", False, 1): Way.MICRO_BATCHES,
    ("none", True, 1): Way.MICRO_BATCHES,
    ("cut", False, 1): Way.PARTS,
    ("cut", False, 2): Way.DEVICES,
    ("cut", True, 2): Way.MICRO_BATCHES,
    ("whole", False, 2): Way.MICRO_BATCHES,
    ("each", False, 2): Way.EXAMPLES,
    ("each", True, 1): Way.EXAMPLES,
}


@dataclass(frozen=True)
class FakeLayout:
    devices: int


@pytest.mark.parametrize(("gauge", "several", "devices"), WAYS)
def test_how_an_update_is_measured_is_decided_by_gauge_micro_batches_and_devices(gauge, several, devices):
    layout: Any = FakeLayout(devices)
    meaning = Meaning(fakes.OBJECTIVE, optimizer_named("sgd"), constant_rate, layout, GAUGES[gauge])
    assert way_of(meaning, several) is WAYS[gauge, several, devices]
    for silent in (
        replace(meaning, moments=False),
        replace(meaning, objective=replace(fakes.OBJECTIVE, additive=False)),
    ):
        assert way_of(silent, several) is Way.NOTHING and view_of(silent, sgd().init(0)) is None


def test_what_is_cut_is_measured_as_the_gauge_says_and_what_has_pieces_more_often():
    meaning = Meaning(fakes.OBJECTIVE, optimizer_named("sgd"), constant_rate, sgd().layout, Gauge(every=8))
    strides = [stride(meaning, way, 640, 10) for way in (Way.PARTS, Way.MICRO_BATCHES, Way.DEVICES, Way.EXAMPLES)]
    assert strides == [8, 4, 4, 1], "sixteen of the 64 updates of a pass"


@lanes
def test_the_state_of_a_model_goes_through_all_thirds(lane):
    """Three micro-batches and more are walked in thirds for the projection; the state is that of the plain update."""
    spec = BatchSpec(12, 3, updates=4)
    plain, _, _ = run(sgd(fakes.COUNTING), feed_of(lane), spec)
    gauge = Gauge(every=1, parts=1, projection=True)
    state, observation, _ = run(sgd(fakes.COUNTING, gauge=gauge), feed_of(lane), spec)
    assert observation.moments().projections == 3, "four updates, the last of them ragged"
    assert int(state.model_state["batches"]) == 4 + 4 + 4 + 1
    np.testing.assert_allclose(state.model_state["mean"], plain.model_state["mean"], rtol=1e-6)
    assert relative(flat(state.params), flat(plain.params)) < 1e-6
