from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.jax.evaluate import Evaluator
from ladle.jax.example_loss import EachLoss, copied
from ladle.jax.mesh import layout
from ladle.jax.objective import of_functions
from ladle.jax.state import State


def losses(params, batch):
    return (batch["x"] * params - batch["y"]) ** 2


@pytest.mark.parametrize("rows", [3, 7, 64])
def test_every_example_has_its_own_loss_and_their_mean_is_the_evaluators(rows: int):
    objective = of_functions(lambda key: jnp.float32(2), losses)
    state = State(jnp.float32(2.0), (), (), {}, jnp.zeros(2, jnp.uint32))
    rng = np.random.default_rng(0)
    data = {name: rng.standard_normal(10).astype(np.float32) for name in ("x", "y")}
    found = EachLoss(objective, layout(1), rows)(state, data)
    np.testing.assert_allclose(found, (2 * data["x"] - data["y"]) ** 2, rtol=1e-5)
    assert Evaluator(objective, layout(1), rows)(state, data)["valid_loss"] == pytest.approx(found.mean(), rel=1e-6)


def test_a_copy_outlives_what_consumes_the_state():
    state = State(jnp.arange(4.0), (), (), {"lr": jnp.float32(1)}, jnp.zeros(2, jnp.uint32))
    branch = copied(state)
    jax.jit(lambda one: jax.tree.map(lambda leaf: leaf + leaf, one), donate_argnums=0)(branch)
    assert state.params.tolist() == [0, 1, 2, 3]
