from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.spec import BatchSpec
from ladle.feed.order import Permuted
from ladle.jax import fakes_test as fakes
from ladle.jax.fakes_test import CLASSES, FEATURES, OFFSET, N, X, Y, feed_of, sgd
from ladle.jax.landscape import Sharpness, gradient_variance
from ladle.jax.objective import of_functions
from ladle.jax.state import State
from ladle.jax.step import CompiledStep


def gradients() -> np.ndarray:
    """`f64[N, parameters]` of each example at the starting parameters, by hand: chances minus the label."""
    logits = X.astype(np.float64) @ OFFSET
    chances = np.exp(logits - logits.max(1, keepdims=True))
    errors = chances / chances.sum(1, keepdims=True) - np.eye(CLASSES)[Y]
    return np.concatenate([np.einsum("nf,nc->nfc", X, errors).reshape(N, FEATURES * CLASSES), errors], axis=1)


@pytest.fixture(scope="module")
def step() -> CompiledStep:
    return sgd()


@pytest.mark.parametrize("size", [1, 4, 9, 18])
def test_it_is_the_variance_of_the_batches_that_are_drawn(step: CompiledStep, size: int) -> None:
    order, state = Permuted(N, 3), step.init(0)
    found = gradient_variance(step, feed_of("resident", order=order), state, BatchSpec(size, min(size, 8)))
    count = N // size
    means = gradients()[order.ids(0, count * size)].reshape(count, size, -1).mean(1)
    assert found == pytest.approx(means.var(0, ddof=1).sum() * (1 - size / N), rel=1e-4)
    assert not np.any(state.params["w"]), "the state is left as it was"


def test_its_mean_over_orders_is_the_variance_without_replacement(step: CompiledStep) -> None:
    """E|g_B - G|^2 = (tr Sigma / B) (1 - B / N), Sigma with divisor N - 1 (Cochran 1977, theorem 2.2)."""
    state, spec = step.init(0), BatchSpec(6, 8)
    found = [gradient_variance(step, feed_of("resident", order=Permuted(N, s)), state, spec) for s in range(60)]
    exact = gradients().var(0, ddof=1).sum() / 6 * (1 - 6 / N)
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / np.sqrt(60))
    assert np.std(found) < 0.5 * exact


def test_more_than_half_of_the_data_goes_by_micro_batches(step: CompiledStep) -> None:
    found = gradient_variance(step, feed_of("resident"), step.init(0), BatchSpec(30, 8))
    exact = gradients().var(0, ddof=1).sum() / 30 * (1 - 30 / N)
    assert found == pytest.approx(exact, rel=0.6)


def test_all_of_the_data_has_none(step: CompiledStep) -> None:
    assert gradient_variance(step, feed_of("resident"), step.init(0), BatchSpec(N, 8)) == 0.0


def test_sharpness_is_the_largest_curvature() -> None:
    """sum_i a_i p_i^2 / 2 has the eigenvalues a_i."""
    curvatures = jnp.array([0.5, 7.0, 2.0])

    def loss(params: Any, batch: Any) -> jax.Array:
        return 0.5 * jnp.sum(curvatures * params**2) + 0.0 * batch["x"][:, 0]

    objective = of_functions(lambda key: jnp.array([1.0, -2.0, 0.5]), loss)
    state = State(jnp.array([1.0, -2.0, 0.5]), (), (), {}, jnp.zeros(2, jnp.uint32))
    assert Sharpness(objective)(state, fakes.SOURCE.tree) == pytest.approx(7.0, rel=1e-3)
