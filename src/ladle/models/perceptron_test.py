from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.models import linear, mlp
from ladle.models.layers import dropped
from ladle.models.losses import mse


def test_forward_is_the_formula() -> None:
    model = mlp(6, 5, 4, activation="tanh")
    params, state = model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    outputs, _ = model.apply(params, state, x, keys=None, weight=jnp.ones(7), train=True)
    first, last = jax.tree.map(np.asarray, params)
    hidden = np.tanh(x.reshape(7, 6) @ first["weight"] + first["bias"])
    np.testing.assert_allclose(outputs, hidden @ last["weight"] + last["bias"], rtol=1e-5)


def test_linear_regression_gradient_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=50).astype(np.float32)
    model = linear(3, 1)
    params, state = model.init(jax.random.key(0))

    def loss(params):
        outputs, _ = model.apply(params, state, x, keys=None, weight=jnp.ones(50), train=True)
        return mse(outputs, jnp.asarray(y)).mean()

    (gradient,) = jax.grad(loss)(params)
    residual = x @ np.asarray(params[0]["weight"])[:, 0] - y
    np.testing.assert_allclose(gradient["weight"][:, 0], 2 / 50 * x.T @ residual, rtol=1e-4)
    np.testing.assert_allclose(gradient["bias"], [2 * residual.mean()], rtol=1e-4)


@pytest.mark.parametrize(("activation", "hidden"), [("relu", 2 / 400), ("tanh", 2 / 700)])
def test_starting_weights_have_the_documented_variance(activation: str, hidden: float) -> None:
    params, _ = mlp(400, 300, 200, activation=activation).init(jax.random.key(0))
    # 60000 normal weights: the variance of their sample variance is 2 / 60000, so 3 % is five standard errors.
    assert np.var(params[0]["weight"]) == pytest.approx(hidden, rel=0.03)
    assert np.var(params[1]["weight"]) == pytest.approx(2 / 500, rel=0.03)
    assert not np.any(params[0]["bias"]) and not np.any(params[1]["bias"])


def test_forward_is_matrix_products_alone() -> None:
    """Nothing runs per example: one matrix product for each layer, and no loop."""
    model = mlp(8, 4, 2)
    params, state = model.init(jax.random.key(0))
    x = jnp.ones((5, 8))
    program = str(jax.make_jaxpr(lambda p: model.apply(p, state, x, keys=None, weight=None, train=True))(params))
    assert program.count("dot_general") == 2
    assert "while" not in program and "scan" not in program


def test_dropout_keeps_the_mean_and_the_share() -> None:
    x = jnp.full((2000, 50), 3.0)
    kept = dropped(x, jax.random.split(jax.random.key(0), 2000), rate=0.2, layer=0)
    # 100000 coins: the standard error of their mean is 0.0013.
    assert np.mean(kept == 0) == pytest.approx(0.2, abs=0.007)
    np.testing.assert_allclose(kept[kept != 0], 3 / 0.8, rtol=1e-6)


def test_dropout_layers_have_masks_of_their_own() -> None:
    keys = jax.random.split(jax.random.key(0), 20)
    first, second = (dropped(jnp.ones((20, 20)), keys, rate=0.5, layer=layer) for layer in (0, 1))
    assert (first != second).any()


def test_dropout_without_keys_is_refused() -> None:
    model = mlp(4, 4, 2, dropout=0.5)
    params, state = model.init(jax.random.key(0))
    with pytest.raises(ArgumentError, match="keys must be given in training"):
        model.apply(params, state, jnp.ones((3, 4)), keys=None, weight=jnp.ones(3), train=True)


def test_whole_numbers_are_taken_as_they_are() -> None:
    model = linear(3, 2)
    params, state = model.init(jax.random.key(0))
    apply = lambda x: model.apply(params, state, x, keys=None, weight=jnp.ones(2), train=False)[0]  # noqa: E731
    pixels = np.array([[0, 128, 255], [1, 2, 3]], np.uint8)
    np.testing.assert_array_equal(apply(pixels), apply(pixels.astype(np.float32)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: mlp(4), "widths must be at least two numbers"),
        (lambda: mlp(4, 0, 2), "widths must be whole numbers, each at least 1; got 0"),
        (lambda: mlp(4, 2.5, 2), "widths must be whole numbers"),  # type: ignore[arg-type]
        (lambda: mlp(4, True, 2), "widths must be whole numbers"),
        (lambda: mlp(4, 2, activation="rellu"), "try 'relu'"),
        (lambda: mlp(4, 2, dropout=1.0), "dropout must be at least 0 and below 1"),
        (lambda: mlp(4, 2, dropout=-0.1), "dropout must be at least 0 and below 1"),
        (lambda: mlp(4, 2, dropout=float("nan")), "dropout must be at least 0 and below 1"),
    ],
)
def test_arguments_that_make_no_model_are_refused(make, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        make()


@pytest.mark.parametrize("x", [np.ones((5, 3), np.float32), np.ones(4, np.float32), {"numbers": np.ones((5, 4))}])
def test_rows_of_another_size_are_refused(x) -> None:
    model = linear(4, 2)
    params, state = model.init(jax.random.key(0))
    with pytest.raises(ArgumentError, match="x must be one array|x must have 4 values a row"):
        model.apply(params, state, x, keys=None, weight=jnp.ones(5), train=False)


def test_equal_models_are_equal() -> None:
    assert mlp(4, 8, 2) == mlp(4, 8, 2) and hash(mlp(4, 8, 2)) == hash(mlp(4, 8, 2))
    assert mlp(4, 8, 2) != mlp(4, 8, 2, dropout=0.1)
