from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
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
