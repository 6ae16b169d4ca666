from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ladle.core.errors import ArgumentError
from ladle.models.losses import BY_NAME, binary_cross_entropy, cross_entropy, default_for, huber, loss_named, mse

logits = st.floats(-1e4, 1e4, width=32)
# One program instead of one for each operation, as a run has it.
compiled_cross_entropy = jax.jit(cross_entropy)


def slope(loss: Any, outputs: Any, y: Any) -> Any:
    return jax.jit(jax.grad(lambda outputs: loss(outputs, y).sum()))(outputs)


@given(arrays(np.float32, (5, 3), elements=logits), arrays(np.int32, 5, elements=st.integers(0, 2)))
def test_cross_entropy_against_float64(outputs: np.ndarray, y: np.ndarray) -> None:
    wide = outputs.astype(np.float64)
    shifted = wide - wide.max(1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(5), y]
    np.testing.assert_allclose(compiled_cross_entropy(outputs, y), expected, rtol=1e-5, atol=2e-3)


@given(arrays(np.float32, 5, elements=logits), arrays(np.int32, 5, elements=st.integers(0, 1)))
def test_binary_cross_entropy_against_float64(outputs: np.ndarray, y: np.ndarray) -> None:
    sign = np.where(y == 1, -1.0, 1.0) * outputs.astype(np.float64)
    np.testing.assert_allclose(
        binary_cross_entropy(jnp.asarray(outputs), jnp.asarray(y)), np.logaddexp(0, sign), rtol=1e-5, atol=1e-30
    )


def test_extreme_logits_have_finite_losses_and_gradients() -> None:
    outputs, y = jnp.array([[1e30, -1e30], [-1e30, 1e30]]), jnp.array([0, 0])
    assert cross_entropy(outputs, y).tolist() == [0.0, pytest.approx(2e30)]
    assert np.isfinite(slope(cross_entropy, outputs, y)).all()
    assert binary_cross_entropy(jnp.array([1e30, 1e30]), y).tolist() == [pytest.approx(1e30)] * 2
    assert np.isfinite(slope(binary_cross_entropy, jnp.array([1e30, -1e30]), y)).all()


def test_cross_entropy_gradient_is_softmax_minus_label() -> None:
    outputs, y = jax.random.normal(jax.random.key(0), (4, 3)), jnp.array([0, 2, 1, 1])
    gradient = slope(cross_entropy, outputs, y)
    np.testing.assert_allclose(gradient, jax.nn.softmax(outputs) - jax.nn.one_hot(y, 3), atol=1e-6)


@pytest.mark.parametrize("label", [-1, 3, 255])
def test_a_class_that_does_not_exist_gives_nan(label: int) -> None:
    losses = cross_entropy(jnp.zeros((2, 3)), jnp.array([label, 0]))
    assert np.isnan(losses).tolist() == [True, False]


def test_labels_of_other_widths_and_a_column_of_labels() -> None:
    outputs = jax.random.normal(jax.random.key(0), (3, 200))
    expected = cross_entropy(outputs, jnp.array([0, 130, 199]))
    for y in (np.array([0, 130, 199], np.uint8), np.array([[0], [130], [199]], np.int64)):
        np.testing.assert_array_equal(cross_entropy(outputs, y), expected)


def test_soft_and_boolean_binary_targets() -> None:
    outputs = jnp.array([0.3, -2.0])
    p = 1 / (1 + np.exp(-np.asarray(outputs)))
    expected = -0.25 * np.log(p) - 0.75 * np.log(1 - p)
    np.testing.assert_allclose(binary_cross_entropy(outputs, jnp.full(2, 0.25)), expected, rtol=1e-5)
    np.testing.assert_allclose(
        binary_cross_entropy(outputs, jnp.array([True, False])), [-np.log(p[0]), -np.log(1 - p[1])], rtol=1e-5
    )


@pytest.mark.parametrize("delta", [0.5, 1.0, 3.0])
def test_huber_is_its_formula(delta: float) -> None:
    outputs = np.linspace(-5, 5, 41, dtype=np.float32)
    error = np.abs(outputs)
    expected = np.where(error <= delta, error**2 / 2, delta * (error - delta / 2))
    np.testing.assert_allclose(huber(delta)(jnp.asarray(outputs), jnp.zeros(41)), expected, rtol=1e-5)


def test_mse_averages_over_outputs_of_any_shape() -> None:
    rng = np.random.default_rng(0)
    outputs, y = rng.normal(size=(2, 4, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(mse(jnp.asarray(outputs), jnp.asarray(y)), ((outputs - y) ** 2).mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("loss", [mse, huber(), binary_cross_entropy])
def test_a_column_means_the_same_as_none(loss) -> None:
    """The trap: [n, 1] - [n] is [n, n] where nothing is checked."""
    outputs, y = jax.random.normal(jax.random.key(0), (4,)), jnp.array([0.0, 1.0, 1.0, 0.0])
    expected = loss(outputs, y)
    assert expected.shape == (4,)
    for o, t in ((outputs[:, None], y), (outputs, y[:, None]), (outputs[:, None], y[:, None])):
        np.testing.assert_array_equal(loss(o, t), expected)


@pytest.mark.parametrize("name", BY_NAME)
def test_losses_are_float32_for_narrow_outputs(name: str) -> None:
    y = jnp.array([0, 1, 1])
    outputs = jnp.ones((3, 2) if name == "cross_entropy" else 3, jnp.bfloat16)
    losses = loss_named(name)(outputs, y)
    assert losses.dtype == jnp.float32 and losses.shape == (3,)


@pytest.mark.parametrize(
    ("loss", "outputs", "y", "says"),
    [
        (cross_entropy, (4,), (4,), "outputs must be .*try binary_cross_entropy"),
        (cross_entropy, (4, 1), (4,), "outputs must be .*try binary_cross_entropy"),
        (cross_entropy, (4, 2, 3), (4,), "outputs must be"),
        (cross_entropy, (4, 3), (3,), "y must be class numbers of shape"),
        (cross_entropy, (4, 3), (4, 3), "y must be class numbers of shape"),
        (binary_cross_entropy, (4, 2), (4,), "outputs must be .*try cross_entropy"),
        (binary_cross_entropy, (4,), (5,), "y must have the outputs' shape"),
        (mse, (4, 3), (4,), "y must have the outputs' shape"),
        (mse, (4,), (1,), "y must have the outputs' shape"),
        (mse, (1,), (4,), "y must have the outputs' shape"),
        (mse, (), (), "y must have the outputs' shape"),
        (huber(), (4, 4), (4, 1), "y must have the outputs' shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_while_tracing(loss, outputs, y, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        jax.eval_shape(loss, jax.ShapeDtypeStruct(outputs, jnp.float32), jax.ShapeDtypeStruct(y, jnp.int32))


def test_amounts_are_no_classes() -> None:
    with pytest.raises(ArgumentError, match="y must be whole numbers; got 'float32'"):
        cross_entropy(jnp.zeros((2, 3)), jnp.array([0.0, 1.0]))


@pytest.mark.parametrize("delta", [0, -1.0, float("nan"), float("inf"), "1"])
def test_huber_needs_a_positive_delta(delta) -> None:
    with pytest.raises(ArgumentError, match="delta must be a positive number"):
        huber(delta)


def test_default_losses() -> None:
    assert default_for("classification") is cross_entropy
    assert default_for("regression") is mse
