from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.models.metrics import absolute_error, accuracy, default_for, squared_error


def test_accuracy_against_numpy() -> None:
    rng = np.random.default_rng(0)
    outputs, y = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50).astype(np.int32)
    np.testing.assert_array_equal(accuracy(jnp.asarray(outputs), jnp.asarray(y)), outputs.argmax(1) == y)


@pytest.mark.parametrize("column", [False, True])
def test_accuracy_of_log_odds(column: bool) -> None:
    outputs, y = jnp.array([2.0, -1.0, 0.5, -3.0]), jnp.array([1, 0, 0, 1])
    assert accuracy(outputs[:, None] if column else outputs, y).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_nan_is_never_right() -> None:
    assert accuracy(jnp.array([[jnp.nan, 0.0], [0.0, 1.0]]), jnp.array([0, 1])).tolist() == [0.0, 1.0]
    assert accuracy(jnp.array([jnp.nan, 1.0]), jnp.array([0, 1])).tolist() == [0.0, 1.0]


def test_errors_of_a_column_against_a_row() -> None:
    outputs, y = jnp.array([[1.0], [2.0], [-3.0]]), jnp.array([0.0, 2.0, 1.0])
    assert squared_error(outputs, y).tolist() == [1.0, 0.0, 16.0]
    assert absolute_error(outputs, y).tolist() == [1.0, 0.0, 4.0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArgumentError, match="y must be class numbers"):
        accuracy(jnp.zeros((4, 3)), jnp.zeros(3, jnp.int32))
    with pytest.raises(ArgumentError, match="y must have the outputs' shape"):
        absolute_error(jnp.zeros((4, 3)), jnp.zeros(4))


def test_default_metrics() -> None:
    assert list(default_for("classification")) == ["accuracy"]
    assert list(default_for("regression")) == ["squared_error", "absolute_error"]
