from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.mixture import Mixture
from ladle.feed.source.join import Joined
from ladle.jax import fakes_test as fakes
from ladle.jax.evaluate import Evaluator
from ladle.jax.fakes_test import LANES, OBJECTIVE, N, feed_of, gradient, reference, relative, run, sgd
from ladle.jax.objective import of_functions
from ladle.jax.per_source import by_source
from ladle.jax.step import CompiledStep

NAMES = ("wiki", "code/old", "none of it")
OF = (np.arange(N) * 7 % 5 // 3).astype(np.int32)
SOURCE = Arrays({**fakes.SOURCE.tree, "source": OF})
lanes = pytest.mark.parametrize("lane", LANES)
few = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
weights = st.lists(st.sampled_from([0.0, 0.25, 1.0, 3.5]), min_size=N, max_size=N).filter(any).map(np.float32)
EXACT = 1e-5
EACH = np.asarray(fakes.loss(fakes.init(None), {"x": fakes.X, "y": fakes.Y}), np.float64)


@pytest.fixture(scope="module")
def step() -> CompiledStep:
    return sgd(by_source(OBJECTIVE, NAMES))


def expected(ids: np.ndarray, weight: np.ndarray, source: np.ndarray = OF) -> dict[str, float]:
    """Sum of w l over sum of w for each source that has any weight, example by example."""
    sums = {name: [0.0, 0.0] for name in NAMES}
    for id in ids.tolist():
        sums[NAMES[source[id]]][0] += weight[id] * EACH[id]
        sums[NAMES[source[id]]][1] += weight[id]
    return {f"train_loss/{name}": total / mass for name, (total, mass) in sums.items() if mass}


def told(reading: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in reading.items() if name.startswith("train_") and "/" in name}


@lanes
@given(size=st.integers(1, N + 3), weight=weights, start=st.integers(0, 2 * N))
@few
def test_each_source_has_its_own_weighted_mean(step, lane, size, weight, start):
    """For any size, cut, weights and position: ragged, padded and accumulated."""
    spec = BatchSpec(size, 8, updates=2)
    _, observation, draw = run(step, feed_of(lane, weight, source=SOURCE), spec, start=start, lr=0.0)
    ids = np.concatenate(draw.ids())
    reading = observation.read()
    assert told(reading) == pytest.approx(expected(ids, weight), rel=EXACT)
    if weight[ids].sum() > 0:
        assert {"train_loss", "train_accuracy"} <= set(reading)


@lanes
def test_losses_gradients_and_metrics_of_all_are_what_they_were(step, lane):
    plain, seen, draw = run(sgd(), feed_of(lane), BatchSpec(11, 8))
    split, also, _ = run(step, feed_of(lane, source=SOURCE), BatchSpec(11, 8))
    assert relative(gradient(split), gradient(plain)) < EXACT
    assert relative(gradient(split), reference(draw.ids()[0])[0]) < EXACT
    first, second = seen.read(), also.read()
    assert {name: second[name] for name in first} == pytest.approx(first, rel=EXACT)


@lanes
def test_the_mean_of_a_source_is_of_sums_over_windows_too(step, lane):
    """Two windows merged are one window: never an average of averages."""
    feed = feed_of(lane, source=SOURCE)
    parts = [run(step, feed, BatchSpec(size, 8), start=start, lr=0.0)[1] for start, size in ((0, 9), (9, 4))]
    merged = parts[0].merge(parts[1]).read()
    assert told(merged) == pytest.approx(expected(np.arange(13), fakes.ONES), rel=EXACT)


def test_a_joined_source_under_a_mixture_brings_the_numbers(step):
    half = N // 2
    parts = [Arrays({"x": fakes.X[part], "y": fakes.Y[part]}) for part in (slice(0, half), slice(half, N))]
    joined = Joined(dict(zip(NAMES, parts, strict=False)))
    order = Mixture({"wiki": half, "code/old": N - half}, {"wiki": 1, "code/old": 3}, seed=2)
    _, observation, draw = run(step, HostFeed(joined, order), BatchSpec(14, 8, updates=3), lr=0.0)
    ids, of = np.concatenate(draw.ids()), np.repeat([0, 1], [half, N - half])
    assert told(observation.read()) == pytest.approx(expected(ids, fakes.ONES, of), rel=EXACT)


def test_one_gradient_per_example_tells_the_same():
    step = sgd(by_source(OBJECTIVE, NAMES), gauge=Gauge(per_example=True))
    _, observation, draw = run(step, feed_of("resident", source=SOURCE), BatchSpec(11, 8))
    assert told(observation.read()) == pytest.approx(expected(draw.ids()[0], fakes.ONES), rel=EXACT)


def test_the_model_does_not_see_the_field_and_a_number_without_a_name_counts_in_the_whole():
    seen: list[Any] = []

    def loss(params: Any, batch: Any) -> Any:
        seen.append(sorted(batch))
        return fakes.loss(params, batch)

    objective = by_source(of_functions(fakes.init, loss), ("only",), field="from")
    source = Arrays({**fakes.SOURCE.tree, "from": np.where(np.arange(N) < 4, 0, 9).astype(np.int32)})
    _, observation, _ = run(sgd(objective), feed_of("resident", source=source), BatchSpec(8, 8))
    assert seen[0] == ["x", "y"]
    reading = observation.read()
    assert reading["train_loss"] == pytest.approx(EACH[:8].mean(), rel=EXACT)
    assert told(reading) == {"train_loss/only": pytest.approx(EACH[:4].mean(), rel=EXACT)}


def test_evaluation_goes_without_the_field(step):
    """Of the objective that was split: its own metrics come first, and are what they were."""
    plain = Evaluator(OBJECTIVE, step.layout, rows=10)(step.init(0), fakes.SOURCE.tree)
    split = Evaluator(step.objective, step.layout, rows=10)(step.init(0), fakes.SOURCE.tree)
    assert {name: split[name] for name in plain} == pytest.approx(plain)
    assert step.objective.metrics[0] == "accuracy"
    assert step.objective.predict is OBJECTIVE.predict


def test_what_cannot_be_told_apart_is_refused(step):
    for names in ((), ("a", "a"), ("",)):
        with pytest.raises(ArgumentError, match="names must be one or more, all different"):
            by_source(OBJECTIVE, names)
    with pytest.raises(ArgumentError, match="data must have an entry 'source'; got .'x', 'y'.*try Joined"):
        run(step, feed_of("resident"), BatchSpec(4, 4))
    flat = by_source(of_functions(fakes.init, lambda params, batch: jnp.mean(batch["x"])), NAMES)
    with pytest.raises(ArgumentError, match="loss must return one number per example"):
        run(sgd(flat), feed_of("resident", source=SOURCE), BatchSpec(4, 4))
