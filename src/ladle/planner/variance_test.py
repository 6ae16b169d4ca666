from __future__ import annotations

import numpy as np
import pytest

from ladle.core.spec import BatchSpec
from ladle.feed.order import Permuted
from ladle.jax.engine import JaxEngine
from ladle.jax.fakes_test import CLASSES, FEATURES, OFFSET, N, X, Y, feed_of, sgd
from ladle.planner.variance import gradient_variance


def gradients() -> np.ndarray:
    """`f64[N, parameters]` of each example at the starting parameters, by hand: chances minus the label."""
    logits = X.astype(np.float64) @ OFFSET
    chances = np.exp(logits - logits.max(1, keepdims=True))
    errors = chances / chances.sum(1, keepdims=True) - np.eye(CLASSES)[Y]
    return np.concatenate([np.einsum("nf,nc->nfc", X, errors).reshape(N, FEATURES * CLASSES), errors], axis=1)


@pytest.fixture(scope="module")
def engine() -> JaxEngine:
    return JaxEngine(sgd())


@pytest.mark.parametrize("size", [1, 4, 9, 18])
def test_it_is_the_variance_of_the_batches_that_are_drawn(engine: JaxEngine, size: int) -> None:
    order, state = Permuted(N, 3), engine.step.init(0)
    found = gradient_variance(engine, feed_of("resident", order=order), state, BatchSpec(size, min(size, 8)))
    count = N // size
    means = gradients()[order.ids(0, count * size)].reshape(count, size, -1).mean(1)
    assert found == pytest.approx(means.var(0, ddof=1).sum() * (1 - size / N), rel=1e-4)
    assert not np.any(state.params["w"]), "the state is left as it was"


def test_its_mean_over_orders_is_the_variance_without_replacement(engine: JaxEngine) -> None:
    """E|g_B - G|^2 = (tr Sigma / B) (1 - B / N), Sigma with divisor N - 1 (Cochran 1977, theorem 2.2)."""
    state, spec = engine.step.init(0), BatchSpec(6, 8)
    found = [gradient_variance(engine, feed_of("resident", order=Permuted(N, s)), state, spec) for s in range(60)]
    exact = gradients().var(0, ddof=1).sum() / 6 * (1 - 6 / N)
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / np.sqrt(60))
    assert np.std(found) < 0.5 * exact


def test_more_than_half_of_the_data_goes_by_micro_batches(engine: JaxEngine) -> None:
    found = gradient_variance(engine, feed_of("resident"), engine.step.init(0), BatchSpec(30, 8))
    exact = gradients().var(0, ddof=1).sum() / 30 * (1 - 30 / N)
    assert found == pytest.approx(exact, rel=0.6)


def test_all_of_the_data_has_none(engine: JaxEngine) -> None:
    assert gradient_variance(engine, feed_of("resident"), engine.step.init(0), BatchSpec(N, 8)) == 0.0
