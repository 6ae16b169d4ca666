"""What every model keeps, whatever it is made of."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.models import FunctionModel, convnet, from_equinox, linear, mlp, tabular

ROWS = 6


def table(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, 4, rows), rng.integers(0, 9, rows)], 1).astype(np.int32)
    return {"numbers": rng.normal(size=(rows, 3)).astype(np.float32), "codes": codes}


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(ROWS, *shape)).astype(np.float32)


class Dropping(eqx.Module):
    first: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        one, two = jax.random.split(key)
        self.first, self.last = eqx.nn.Linear(4, 8, key=one), eqx.nn.Linear(8, 3, key=two)
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x: jax.Array, *, key: jax.Array) -> jax.Array:
        return self.last(self.dropout(jax.nn.relu(self.first(x)), key=key))


def function_init(key: jax.Array) -> dict[str, jax.Array]:
    return {"w": jax.random.normal(key, (4, 3), jnp.float32)}


def function_apply(params, x, keys=None):
    if keys is not None:
        x = jnp.where(jax.vmap(lambda k: jax.random.bernoulli(k, 0.5, (4,)))(keys), x, 0)
    return x @ params["w"]


MODELS = {
    "linear": (linear(4, 3), numbers(4), 3),
    "mlp": (mlp(12, 16, 8, 3), numbers(3, 4), 3),
    "mlp tanh": (mlp(4, 8, 1, activation="tanh"), numbers(4), 1),
    "mlp dropout": (mlp(4, 16, 16, 3, dropout=0.5), numbers(4), 3),
    "table": (tabular(3, (4, 9), outputs=2, hidden=(8,)), table(ROWS), 2),
    "table dropout": (tabular(3, (4, 9), outputs=2, hidden=(16,), dropout=0.5), table(ROWS), 2),
    "codes alone": (tabular(0, (4, 9), outputs=2), {**table(ROWS), "numbers": numbers(0)}, 2),
    "no codes": (tabular(4, (), outputs=2, hidden=()), numbers(4), 2),
    "convnet": (convnet((9, 8), 3, width=2), numbers(9, 8), 3),
    "convnet colour": (convnet((5, 6, 3), 2, width=2), numbers(5, 6, 3), 2),
    "convnet three blocks": (convnet((17, 16), 2, width=1), numbers(17, 16), 2),
    "convnet dropout": (convnet((8, 8), 3, width=2, dropout=0.5), numbers(8, 8), 3),
    "convnet norm": (convnet((8, 8), 3, width=2, batch_norm=True), numbers(8, 8), 3),
    "equinox": (from_equinox(lambda key: eqx.nn.MLP(4, 3, 8, 1, key=key)), numbers(4), 3),
    "equinox dropout": (from_equinox(Dropping), numbers(4), 3),
    "functions": (FunctionModel(function_init, function_apply), numbers(4), 3),
}
DRAWING = [name for name in MODELS if "dropout" in name or name == "functions"]
every = pytest.mark.parametrize("name", MODELS)


def forward(name: str, rows=slice(None), *, train: bool = True, seed: int = 0):
    model, x, _ = MODELS[name]
    params, state = model.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(seed), ROWS)[rows]
    part = jax.tree.map(lambda leaf: leaf[rows], x)
    return model.apply(params, state, part, keys=keys, weight=jnp.ones(len(keys)), train=train)


@every
def test_outputs_have_one_row_for_each_example(name: str) -> None:
    assert forward(name)[0].shape == (ROWS, MODELS[name][2])


@every
def test_parameters_are_float_arrays_and_follow_from_the_key(name: str) -> None:
    model = MODELS[name][0]
    params, again, other = (model.init(jax.random.key(seed))[0] for seed in (0, 0, 1))
    leaves = jax.tree.leaves(params)
    assert leaves and all(leaf.dtype == jnp.float32 for leaf in leaves)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert any((a != b).any() for a, b in zip(leaves, jax.tree.leaves(other), strict=True))


@every
def test_evaluation_draws_nothing_and_keeps_the_state(name: str) -> None:
    model, x, _ = MODELS[name]
    params, state = model.init(jax.random.key(0))
    outputs, after = model.apply(params, state, x, keys=None, weight=jnp.ones(ROWS), train=False)
    keys = jax.random.split(jax.random.key(9), ROWS)
    again, _ = model.apply(params, state, x, keys=keys, weight=jnp.ones(ROWS), train=False)
    np.testing.assert_array_equal(outputs, again)
    jax.tree.map(np.testing.assert_array_equal, state, after)


@pytest.mark.parametrize("name", DRAWING)
def test_training_draws_from_the_keys(name: str) -> None:
    assert (forward(name, seed=0)[0] != forward(name, seed=1)[0]).any()
    assert (forward(name, train=True)[0] != forward(name, train=False)[0]).any()


@every
def test_an_example_does_not_depend_on_its_neighbours(name: str) -> None:
    whole = forward(name)[0]
    halves = jnp.concatenate([forward(name, slice(0, 3))[0], forward(name, slice(3, 6))[0]])
    if MODELS[name][0].additive:
        np.testing.assert_allclose(whole, halves, rtol=1e-5, atol=1e-6)
    else:
        assert np.abs(whole - halves).max() > 1e-3


@every
def test_works_inside_jit_and_example_by_example(name: str) -> None:
    model, x, _ = MODELS[name]
    params, state = jax.jit(model.init)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), ROWS)

    def alone(row, key):
        one = jax.tree.map(lambda leaf: leaf[None], row)
        return model.apply(params, state, one, keys=key[None], weight=jnp.ones(1), train=False)[0][0]

    expected = forward(name, train=False)[0]
    np.testing.assert_allclose(jax.jit(jax.vmap(alone))(x, keys), expected, rtol=1e-4, atol=1e-5)


@every
def test_gradient_is_the_slope(name: str) -> None:
    """In float64, along a random direction: (f(p + h d) - f(p - h d)) / 2h."""
    model, x, _ = MODELS[name]
    step = 1e-6
    params, state = model.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), ROWS)
    with jax.enable_x64(True):
        wide = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), tree)  # noqa: E731
        params = wide(params)
        x = {**x, "numbers": wide(x["numbers"])} if isinstance(x, dict) else wide(x)
        directions = iter(jax.random.split(jax.random.key(3), len(jax.tree.leaves(params))))
        along = jax.tree.map(lambda leaf: jax.random.normal(next(directions), leaf.shape, leaf.dtype), params)

        @jax.jit
        def loss(params):
            outputs, _ = model.apply(params, state, x, keys=keys, weight=jnp.ones(ROWS), train=True)
            return jnp.sum(jnp.sin(outputs))

        gradient = jax.grad(loss)(params)
        slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, along)), strict=True))
        move = lambda h: jax.tree.map(lambda p, d: p + h * d, params, along)  # noqa: E731
        measured = (loss(move(step)) - loss(move(-step))) / (2 * step)
        np.testing.assert_allclose(slope, measured, rtol=1e-5)
