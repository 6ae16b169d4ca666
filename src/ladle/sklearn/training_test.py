"""Passes over filled rows against a loop in NumPy that knows nothing of filling, in both lanes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from ladle.api.task import Task
from ladle.models import linear
from ladle.sklearn.filled import Filled
from ladle.sklearn.training import Rows, Training, Watch, data_of

RATE, SIZE, PASSES, SEED = 0.2, 16, 18, 5
"""More passes than one table of an order holds."""


def rows(count: int = 70) -> Rows:
    random = np.random.default_rng(0)
    x = random.normal(size=(count, 3)).astype(np.float32)
    return Rows(x, (x[:, 0] > 0).astype(np.int32), random.uniform(0.5, 2, count).astype(np.float32))


def trained(lane: Literal["device", "host"], watch: Watch | None = None) -> tuple[Any, Any]:
    data = data_of("classification", rows(), 2)
    task = Task(linear(3, 2), "cross_entropy", data, optimizer="sgd", lr=RATE, metrics={}, lane=lane)
    training = Training.of(task, rows(), SIZE)
    assert (training.assembly.placed is None) == (lane == "host")
    state = training.assembly.engine.step.init(0, {"lr": RATE})
    begun = training.assembly.engine.weights(state)
    return begun, training.fit(state, SEED, 0, PASSES, watch)


def by_hand(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Softmax regression by SGD on the weighted mean of each batch, the last one of a pass ragged."""
    given, curve = rows(), []
    for number in range(PASSES):
        order = Filled(len(given), len(given), SEED, first=number).ids(number * len(given), len(given))
        total = 0.0
        for ids in np.split(order, range(SIZE, len(given), SIZE)):
            x, y, w = given.x[ids].astype(float), given.y[ids], given.weight[ids].astype(float)
            scores = x @ weight + bias
            chances = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            total -= (w * np.log(chances[np.arange(len(y)), y])).sum()
            slope = (w / w.sum())[:, None] * (chances - np.eye(2)[y])
            weight, bias = weight - RATE * x.T @ slope, bias - RATE * slope.sum(0)
        curve.append(total / given.weight.astype(float).sum())
    return weight, curve


@pytest.mark.parametrize("lane", ["device", "host"])
def test_passes_are_those_of_a_loop_by_hand(lane: Literal["device", "host"]):
    begun, done = trained(lane)
    weight, curve = by_hand(begun["params.0.weight"].astype(float), begun["params.0.bias"].astype(float))
    np.testing.assert_allclose(done.curve, curve, rtol=1e-5)
    np.testing.assert_allclose(done.state.params[0]["weight"], weight, rtol=1e-4, atol=1e-6)
    assert done.valid_curve is None


def test_what_is_watched_ends_training_and_keeps_the_lowest():
    losses = iter([3.0, 1.0, 2.0, 0.999, 1.5, 1.5])
    _, done = trained("device", Watch(patience=3, tol=0.1, valid=lambda state: next(losses)))
    # 0.999 is the lowest, though not lower by the tolerance than 1.
    assert done.valid_curve == [3.0, 1.0, 2.0, 0.999, 1.5] and len(done.curve) == 5


def test_equal_rows_become_one_of_their_joint_weight():
    one = rows(5)
    twice = Rows(*(np.concatenate([part, part[[1, 3]]]) for part in (one.x, one.y, one.weight)))
    merged, plain = twice.merged(), one.merged()
    assert (merged.x == plain.x).all() and (merged.y == plain.y).all()
    assert merged.weight.sum() == pytest.approx(twice.weight.sum()) and len(merged) == 5
