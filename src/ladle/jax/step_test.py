"""What one update promises, for rows that live on the device and for rows that travel from the host."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from ladle.core.cursor import Cursor
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.order import Permuted
from ladle.jax import fakes_test as fakes
from ladle.jax.fakes_test import LANES, OBJECTIVE, N, feed_of, flat, gradient, reference, relative, run, same, sgd
from ladle.jax.objective import Objective, of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.step import CompiledStep

lanes = pytest.mark.parametrize("lane", LANES)
few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
weights = st.lists(st.sampled_from([0.0, 0.25, 1.0, 1.0, 3.5]), min_size=N, max_size=N).filter(any).map(np.float32)
EXACT = 1e-5


@pytest.fixture(scope="module")
def step() -> CompiledStep:
    return sgd()


@lanes
@given(size=st.integers(1, N + 3), micro_size=st.sampled_from([4, 8]), weight=weights, start=st.integers(0, 2 * N))
@example(size=10, micro_size=4, weight=fakes.ONES, start=0)
@example(size=1, micro_size=8, weight=fakes.ONES, start=N - 1)
@example(size=N, micro_size=8, weight=fakes.ONES, start=N)
@few
def test_the_update_is_the_gradient_of_the_whole_batch(step, lane, size, micro_size, weight, start):
    """For any size, cut, weights and position, the ragged last batch of an epoch included."""
    state, observation, draw = run(step, feed_of(lane, weight), BatchSpec(size, micro_size), start=start)
    (ids,) = draw.ids()
    assume(weight[ids].sum() > 0)
    expected, mean = reference(ids, weight)
    assert relative(gradient(state), expected) < EXACT
    reading, sums = observation.read(), observation.sums()
    assert reading["train_loss"] == pytest.approx(mean, rel=EXACT)
    assert reading["grad_norm"] == pytest.approx(np.linalg.norm(expected), rel=EXACT)
    assert sums["weight"] == pytest.approx(weight[ids].sum(), rel=1e-6)
    hits = np.argmax(np.asarray(fakes.predict(fakes.init(None), fakes.X)), 1) == fakes.Y
    assert sums["metric/accuracy"] == pytest.approx((hits * weight)[ids].sum(), abs=1e-4)


@lanes
def test_a_batch_without_any_weight_changes_nothing(step, lane):
    weight = np.zeros(N, np.float32)
    weight[feed_of(lane).order.ids(20, 1)] = 1
    state, observation, _ = run(step, feed_of(lane, weight), BatchSpec(8, 4))
    assert not gradient(state).any()
    assert "train_loss" not in observation.read()


def test_an_average_of_averages_is_another_gradient(step):
    """Ten examples cut 4 + 4 + 2: the mean of the three means is off by 43 % here; the update is not.

    The last two examples then count 1/6 each instead of 1/10.
    """
    state, _, draw = run(step, feed_of("resident"), BatchSpec(10, 4))
    (ids,) = draw.ids()
    parts = [reference(part)[0] for part in (ids[:4], ids[4:8], ids[8:])]
    expected = reference(ids)[0]
    assert relative(np.mean(parts, 0), expected) == pytest.approx(0.43, abs=0.01)
    assert relative(gradient(state), expected) < EXACT


SIZES = (8, 3, 16, 30, 8, 1, 37, 9, 12, 64, 5, 16, 31, 2)


def test_compilations_are_the_rungs_used(compilations: Counter[str]):
    """Fourteen sizes on two micro-batch sizes, each once whole and once accumulated: four programs."""
    step, feed = sgd(), feed_of("resident")
    cursor, used = Cursor(), set()
    state = step.init(0)
    for number, size in enumerate(SIZES):
        spec = BatchSpec(size, 8 if size < 10 else 16, updates=1 + number % 3)
        used.add((spec.micro_size, spec.micro_steps > 1))
        draw, cursor = feed.draw(cursor, spec)
        state = step.prepare(state, draw, spec)
        state, _ = step(state, draw, spec, 1 / (1 + number))
    assert sum(a != b for a, b in pairwise(SIZES)) >= 12
    assert len(used) == 4
    assert compilations["_trace_window"] == len(used)


def test_new_numbers_compile_nothing(compilations: Counter[str]):
    """Learning rate, its factor, betas, seed, position and number of updates are data."""
    step = CompiledStep(OBJECTIVE, optimizer_named("adam"))
    runs = [{"lr": 0.1}, {"lr": 0.3, "b1": 0.5}, {"b2": 0.9}, {"eps": 1e-3}]
    run(step, feed_of("resident", order=Permuted(N, 9)), BatchSpec(8, 8))
    before = compilations.total()
    for n, hyper in enumerate(runs):
        spec = BatchSpec(5, 8, updates=1 + n)
        state, _, _ = run(step, feed_of("resident", order=Permuted(N, n)), spec, start=n, seed=n, **hyper)
    draw, _ = feed_of("resident", order=Permuted(N, 9)).draw(Cursor(3), BatchSpec(8, 8))
    step(state, draw, BatchSpec(8, 8), 0.25)
    assert compilations.total() == before


@lanes
def test_prepare_compiles_and_changes_nothing(lane, compilations: Counter[str]):
    step, spec = CompiledStep(OBJECTIVE, optimizer_named("adam")), BatchSpec(8, 4, updates=1)
    draw, _ = feed_of(lane).draw(Cursor(5), spec)
    state = step.prepare(step.init(1), draw, spec)
    assert same(state, step.init(1))
    before = compilations.total()
    step(state, draw, spec, 1.0)
    assert compilations.total() == before


def test_prepare_tells_weighted_data_apart(compilations: Counter[str]):
    step, spec = sgd(), BatchSpec(8, 4)
    for weight in (None, fakes.ONES):
        draw, _ = feed_of("resident", weight).draw(Cursor(), spec)
        state = step.prepare(step.init(0), draw, spec)
        before = compilations["_trace_window"]
        step(state, draw, spec, 1.0)
        assert compilations["_trace_window"] == before


@pytest.mark.parametrize(
    ("lane", "micro_size"),
    [
        ("resident", 4),
        ("host", 8),
        pytest.param("resident", 8, marks=pytest.mark.long),
        pytest.param("host", 4, marks=pytest.mark.long),
    ],
)
def test_many_updates_in_one_call_are_those_updates_one_by_one(step, lane, micro_size):
    """Bit for bit, over the end of an epoch."""
    feed, spec = feed_of(lane), BatchSpec(7, micro_size)
    together, observation, _ = run(step, feed, BatchSpec(7, micro_size, updates=11), lr=0.1)
    state, cursor = step.init(0, {"lr": 0.1}), Cursor()
    for _ in range(11):
        draw, cursor = feed.draw(cursor, spec)
        state, _ = step(state, draw, spec, 1.0)
    assert same(together, state)
    assert observation.sums()["updates"] == 11
    assert observation.sums()["weight"] == cursor.drawn


@given(size=st.integers(1, N), seed=st.integers(0, 9), start=st.integers(0, 2 * N))
@few
def test_both_lanes_take_the_same_examples_and_give_the_same_losses(step, size, seed, start):
    spec, order = BatchSpec(size, 8, updates=3), Permuted(N, seed)
    (one, seen, draw), (other, also_seen, also) = (
        run(step, feed_of(lane, order=order), spec, start=start) for lane in LANES
    )
    assert [ids.tolist() for ids in draw.ids()] == [ids.tolist() for ids in also.ids()]
    np.testing.assert_allclose(flat(one.params), flat(other.params), rtol=0, atol=1e-5)
    first, second = seen.sums(), also_seen.sums()
    assert first == pytest.approx(second, rel=1e-4, abs=1e-4)


def noisy(params: Any, model_state: Any, rows: Any, train: bool):
    """Drops half of the inputs, by the first bits of each example's key."""
    bits = jax.random.key_data(rows.keys)[:, :1] >> np.arange(fakes.FEATURES, dtype=np.uint32)[None, :]
    batch = {**rows.data, "x": rows.data["x"] * (bits & np.uint32(1)).astype(jnp.float32)}
    return fakes.loss(params, batch), {}, model_state


NOISY = Objective(lambda key: (fakes.init(key), ()), noisy, None)


def test_random_masks_do_not_depend_on_the_cut_or_the_lane():
    step = sgd(NOISY)
    found = [
        gradient(run(step, feed_of(lane), BatchSpec(20, micro_size), start=5)[0])
        for lane, micro_size in (("resident", 20), ("resident", 3), ("host", 8))
    ]
    assert all(relative(other, found[0]) < EXACT for other in found[1:])


def test_random_masks_are_new_for_each_example_pass_and_seed():
    step, ones = sgd(NOISY), Arrays({"x": np.ones_like(fakes.X), "y": np.zeros_like(fakes.Y)})
    found = [
        run(step, feed_of("resident", source=ones), BatchSpec(1, 1), start=start, seed=seed)[0]
        for start, seed in ((0, 0), (1, 0), (2, 0), (3, 0), (N, 0), (2 * N, 0), (0, 1), (0, 2), (0, 2**32))
    ]
    rows = {tuple((gradient(state) != 0).tolist()) for state in found}
    assert len(rows) >= 6, "masks of five bits may meet by chance, but hardly so often"


@lanes
def test_model_state_passes_through_every_micro_batch(counter, lane):
    state, _, draw = run(counter, feed_of(lane), BatchSpec(12, 4, updates=4))  # 12, 12, 12 and 1
    assert int(state.model_state["batches"]) == 3 + 3 + 3 + 1
    mean = np.zeros(fakes.FEATURES, np.float32)
    for ids in draw.ids():
        for first in range(0, len(ids), 4):
            mean = 0.5 * mean + 0.5 * fakes.X[ids[first : first + 4]].mean(0)
    np.testing.assert_allclose(state.model_state["mean"], mean, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def counter() -> CompiledStep:
    return CompiledStep(fakes.COUNTING, optimizer_named("momentum"))


@lanes
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_is_not_applied(counter, lane, bad):
    """State as it was, optimiser and model included; counted; a resident window ends there."""
    step, poisoned = counter, Arrays({"x": fakes.X.copy(), "y": fakes.Y})
    feed, spec = feed_of(lane, source=poisoned), BatchSpec(6, 4, updates=5)
    poisoned.tree["x"][feed.order.ids(13, 1)] = bad  # In the third update.
    good = run(step, feed, BatchSpec(6, 4, updates=2), lr=0.1)[0]
    third, observation, _ = run(step, feed, BatchSpec(6, 4, updates=3), lr=0.1)
    assert same(third, good)
    sums = observation.sums()
    assert (sums["updates"], sums["refused"], observation.begun) == (2, 1, 3)
    after, observation, _ = run(step, feed, spec, lr=0.1)
    if lane == "resident":
        assert same(after, good) and observation.begun == 3
    else:
        assert np.isfinite(flat(after.params)).all() and observation.begun == 5


@lanes
def test_a_schedule_sees_the_examples_drawn_before_the_update(step, lane):
    """Also at position 0, where an update of several micro-batches begins."""
    plain, step = step, sgd(rate=lambda examples: jnp.where(examples == 0, 0.5, examples))
    for start, factor in ((0, 0.5), (7, 7.0), (N - 1, N - 1.0), (2 * N, 2.0 * N)):
        spec = BatchSpec(10, 4)
        scheduled = run(step, feed_of(lane), spec, start=start)[0]
        expected = run(plain, feed_of(lane), spec, start=start)[0]
        np.testing.assert_allclose(flat(scheduled.params), factor * flat(expected.params), rtol=1e-5)


@lanes
def test_the_old_state_is_given_up(step, lane):
    feed, spec = feed_of(lane), BatchSpec(8, 4)
    old = step.init(0)
    new, _ = step(old, feed.draw(Cursor(), spec)[0], spec, 1.0)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(new))


def test_leaves_that_are_one_array_can_still_be_given_up():
    def tied(key: Any) -> Any:
        w = jnp.ones(fakes.FEATURES)
        return ({"one": w, "two": w}, {"seen": w})

    def loss(params: Any, model_state: Any, batch: Any) -> Any:
        return batch["x"] @ (params["one"] + params["two"]), model_state

    step = sgd(of_functions(tied, loss, has_state=True))
    state, _, _ = run(step, feed_of("resident"), BatchSpec(8, 8, updates=2))
    assert np.array_equal(state.params["one"], state.params["two"])


def test_data_on_the_device_stays_where_it_is():
    step = sgd()
    feed = feed_of("resident").placed(step.place)
    with jax.transfer_guard_device_to_host("disallow"):
        draw, _ = feed.draw(Cursor(), BatchSpec(8, 8, updates=4))
        state, _ = step(step.init(0), draw, BatchSpec(8, 8, updates=4), 1.0)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(feed.data))
    assert np.isfinite(flat(state.params)).all()


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True])
def test_a_bad_seed_is_refused(step, seed):
    with pytest.raises(ArgumentError, match="seed must be a whole number from 0"):
        step.init(seed)


def test_every_bit_of_the_seed_counts():
    step = sgd(of_functions(lambda key: {"w": jax.random.normal(key, (3,))}, lambda params, batch: batch["x"][:, 0]))
    found = {tuple(flat(step.init(seed).params).tolist()) for seed in (0, 1, 2**32, 2**32 + 1, 2**63)}
    assert len(found) == 5
    assert same(step.init(2**40), step.init(2**40))


def test_the_abstract_state_is_the_state(step):
    abstract, state = step.abstract_state(), step.init(0)
    assert jax.tree.structure(abstract) == jax.tree.structure(state)
    assert all(
        (a.shape, a.dtype, a.sharding) == (b.shape, b.dtype, b.sharding)
        for a, b in zip(jax.tree.leaves(abstract), jax.tree.leaves(state), strict=True)
    )


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


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_averages_begin_anew_and_nothing_else_does(name: str):
    step, feed, spec = CompiledStep(fakes.OBJECTIVE, optimizer_named(name)), feed_of("host"), BatchSpec(8, 8)
    draw, _ = feed.draw(feed.start(), spec)
    fresh = jax.tree.map(np.asarray, step.init(0).opt_state)
    state, _ = step(step.init(0), draw, spec, 1.0)
    before, hyper = flat(state.params).copy(), {key: float(value) for key, value in state.hyper.items()}
    state = step.reset(step.transfer(state, {"lr": 0.25}))
    assert same(state.opt_state, fresh)
    np.testing.assert_array_equal(flat(state.params), before)
    assert {key: float(value) for key, value in state.hyper.items()} == {**hyper, "lr": 0.25}
    state, _ = step(state, draw, spec, 1.0)
    assert np.isfinite(flat(state.params)).all()
