from __future__ import annotations

from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.jax.evaluate import Evaluator
from ladle.jax.fakes_test import FEATURES, OBJECTIVE, SOURCE, N, sgd
from ladle.jax.mesh import layout
from ladle.jax.objective import of_functions

TABLE = of_functions(
    lambda key: {},
    lambda params, batch: batch["y"],
    predict=lambda params, x: 2 * x,
    metrics={"twice": lambda outputs, y: outputs[:, 0]},
)


@pytest.fixture(scope="module")
def table():
    """Losses are read off the data, so every mean is known exactly: small whole numbers, whose sums are exact too."""
    return Evaluator(TABLE, layout(), rows=8), sgd(TABLE).init(0)


@given(count=st.sampled_from([1, 2, 7, 8, 9, 16, 31]), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_means_are_exact_over_any_number_of_rows(table, count, seed):
    evaluator, state = table
    y = np.random.default_rng(seed).integers(-50, 50, count).astype(np.float32)
    found = evaluator(state, {"x": y[:, None], "y": y})
    mean = float(y.astype(np.float64).mean())
    assert found == pytest.approx({"valid_loss": mean, "valid_twice": 2 * mean}, rel=1e-12, abs=1e-12)
    assert evaluator(state, {"x": y[:, None], "y": y}, prefix="test_").keys() == {"test_loss", "test_twice"}


@given(count=st.sampled_from([1, 3, 8, 20]), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_predictions_are_in_order_and_without_padding(table, count, seed):
    evaluator, state = table
    x = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    for given_x in (x, jnp.asarray(x)):
        np.testing.assert_array_equal(evaluator.predict(state, given_x), 2 * x)


def test_a_part_of_one_size_is_compiled_once(compilations: Counter[str]):
    step = sgd()
    evaluator, state = Evaluator(OBJECTIVE, step.layout, rows=8), step.init(0)
    data = step.place(SOURCE.tree)
    found = [evaluator(state, data) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert compilations["_trace_sums"] == 1
    for count in (N, 20, 9, 8):  # Ragged tails are filled up: one shape.
        evaluator.predict(state, SOURCE.tree["x"][:count])
    assert compilations["_trace_predict"] == 1


def test_evaluation_says_so_to_the_model_and_is_not_random():
    seen = []

    def losses(params, model_state, rows, train):
        seen.append(train)
        return jax.vmap(lambda key: jax.random.uniform(key))(rows.keys), {}, model_state

    objective = replace(TABLE, losses=losses, metrics=())
    evaluator, state = Evaluator(objective, layout(), rows=8), sgd(TABLE).init(0)
    data = {"x": np.ones((5, FEATURES), np.float32)}
    assert evaluator(state, data) == evaluator(state, data)
    assert set(seen) == {False}


def test_nothing_to_evaluate_is_refused(table):
    evaluator, state = table
    nothing = np.ones((0, 3), np.float32)
    with pytest.raises(ArgumentError, match="rows must be at least 1"):
        evaluator(state, {"x": nothing, "y": nothing[:, 0]})
    with pytest.raises(ArgumentError, match="rows must be at least 1"):
        evaluator.predict(state, nothing)
    with pytest.raises(ArgumentError, match="predict must be given"):
        Evaluator(replace(TABLE, predict=None), layout()).predict(state, nothing)


@pytest.mark.parametrize(("of_x", "of_y"), [(4, 3), (3, 4), (4, 1)])
def test_arrays_of_other_lengths_are_refused(table, of_x, of_y):
    evaluator, state = table
    with pytest.raises(
        ArgumentError, match=f"rows must have as many rows in every array; got .*x.* {of_x}, .*y.* {of_y}"
    ):
        evaluator(state, {"x": np.ones((of_x, 3), np.float32), "y": np.ones(of_y, np.float32)})
