from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.jax import fakes_test as fakes
from ladle.jax.objective import of_functions
from ladle.jax.sharpness import Sharpness
from ladle.jax.state import State


def test_sharpness_is_the_largest_curvature() -> None:
    """sum_i a_i p_i^2 / 2 has the eigenvalues a_i."""
    curvatures = jnp.array([0.5, 7.0, 2.0])

    def loss(params: Any, batch: Any) -> jax.Array:
        return 0.5 * jnp.sum(curvatures * params**2) + 0.0 * batch["x"][:, 0]

    objective = of_functions(lambda key: jnp.array([1.0, -2.0, 0.5]), loss)
    state = State(jnp.array([1.0, -2.0, 0.5]), (), (), {}, jnp.zeros(2, jnp.uint32))
    assert Sharpness(objective)(state, fakes.SOURCE.tree) == pytest.approx(7.0, rel=1e-3)


def curved(batch: Any, params: Any) -> jax.Array:
    return 0.5 * jnp.sum(batch["x"] ** 2 * params[None] ** 2, -1)


QUADRATIC = of_functions(lambda key: jnp.ones(3), lambda params, batch: curved(batch, params))
STATE = State(jnp.ones(3), (), (), {}, jnp.zeros(2, jnp.uint32))


def test_more_than_1024_examples_are_sampled_at_random_and_not_from_the_front() -> None:
    """Rows sorted by what they weigh: the Hessian of all is diag(mean x^2), whose first 1024 rows hold none of it."""
    x = np.zeros((6000, 3), np.float32)
    x[1024:, 0] = 2.0
    data = {"x": jnp.asarray(x)}
    found = [Sharpness(QUADRATIC)(STATE, data, seed) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found == pytest.approx([4 * 4976 / 6000] * 3, rel=0.05)


def test_products_added_up_over_few_examples_are_those_of_all_at_once() -> None:
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    data, whole = {"x": jnp.asarray(x)}, Sharpness(QUADRATIC)
    expected = float((x**2).mean(0).max())
    assert whole(STATE, data) == pytest.approx(expected, rel=1e-3)
    for rows in (1, 16, 49):  # the last one is filled up, at weight zero
        found = float(whole._measure(STATE.params, (), data, rows=rows))
        assert found == pytest.approx(expected, rel=1e-3)
