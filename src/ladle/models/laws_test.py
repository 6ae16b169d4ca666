"""What every model keeps, whatever it is made of."""

from __future__ import annotations

from functools import cache, partial

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
    "mlp dropout": (mlp(4, 16, 16, 3, dropout=0.5), numbers(4), 3),
    "table": (tabular(3, (4, 9), outputs=2, hidden=(8,)), table(ROWS), 2),
    "codes alone": (tabular(0, (4, 9), outputs=2), {**table(ROWS), "numbers": numbers(0)}, 2),
    "convnet": (convnet((9, 8), 3, width=2), numbers(9, 8), 3),
    "convnet colour": (convnet((5, 6, 3), 2, width=2), numbers(5, 6, 3), 2),
    "convnet dropout": (convnet((8, 8), 3, width=2, dropout=0.5), numbers(8, 8), 3),
    "convnet norm": (convnet((8, 8), 3, width=2, batch_norm=True), numbers(8, 8), 3),
    "mlp ghosts": (mlp(4, 8, 3, batch_norm=True, ghost_size=4), numbers(4), 3),
    "equinox": (from_equinox(lambda key: eqx.nn.MLP(4, 3, 8, 1, key=key)), numbers(4), 3),
    "equinox dropout": (from_equinox(Dropping), numbers(4), 3),
    "functions": (FunctionModel(function_init, function_apply), numbers(4), 3),
}
DRAWING = [name for name in MODELS if "dropout" in name or name == "functions"]
every = pytest.mark.parametrize("name", MODELS)
ALIKE = ("convnet colour", "convnet dropout", "codes alone")
"""The others have every operation of these too; their slopes take XLA seconds."""


@cache
def start(name: str):
    return jax.jit(MODELS[name][0].init)(jax.random.key(0))


@cache
def compiled(name: str, train: bool):
    return jax.jit(partial(MODELS[name][0].apply, train=train))


def forward(name: str, rows=slice(None), *, train: bool = True, seed: int = 0):
    keys = jax.random.split(jax.random.key(seed), ROWS)[rows]
    part = jax.tree.map(lambda leaf: leaf[rows], MODELS[name][1])
    return compiled(name, train)(*start(name), part, keys=keys, weight=np.ones(len(keys), np.float32))


@every
def test_outputs_have_one_row_for_each_example(name: str) -> None:
    assert forward(name)[0].shape == (ROWS, MODELS[name][2])


@every
def test_parameters_are_float_arrays_and_follow_from_the_key(name: str) -> None:
    init = jax.jit(MODELS[name][0].init)
    params, again, other = (init(jax.random.key(seed))[0] for seed in (0, 0, 1))
    leaves = jax.tree.leaves(params)
    assert leaves and all(leaf.dtype == jnp.float32 for leaf in leaves)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(leaves, jax.tree.leaves(other), strict=True))


@every
def test_evaluation_draws_nothing_and_keeps_the_state(name: str) -> None:
    weight = np.ones(ROWS, np.float32)
    outputs, after = compiled(name, False)(*start(name), MODELS[name][1], keys=None, weight=weight)
    np.testing.assert_allclose(outputs, forward(name, train=False, seed=9)[0], rtol=1e-6, atol=1e-7)
    jax.tree.map(np.testing.assert_array_equal, start(name)[1], after)


@pytest.mark.parametrize("name", DRAWING)
def test_training_draws_from_the_keys(name: str) -> None:
    first, second = (np.asarray(forward(name, seed=seed)[0]) for seed in (0, 1))
    assert (first != second).any()
    assert (first != np.asarray(forward(name, train=False)[0])).any()


@every
def test_an_example_does_not_depend_on_its_neighbours(name: str) -> None:
    whole = np.asarray(forward(name)[0])
    halves = np.concatenate([forward(name, slice(0, 3))[0], forward(name, slice(3, 6))[0]])
    if MODELS[name][0].additive:
        np.testing.assert_allclose(whole, halves, rtol=1e-5, atol=1e-6)
    else:
        assert np.abs(whole - halves).max() > 1e-3


@pytest.mark.parametrize("name", ["mlp dropout", "table", "convnet", "equinox dropout", "functions"])
def test_one_gradient_per_example_through_vmap(name: str) -> None:
    """What the engine does to count noise example by example: every row as a batch of one."""
    model, x, _ = MODELS[name]
    params, state = start(name)
    keys = jax.random.split(jax.random.key(0), ROWS)

    def loss(params, x, keys):
        outputs, _ = model.apply(params, state, x, keys=keys, weight=jnp.ones(len(keys)), train=True)
        return jnp.sum(jnp.sin(outputs))

    @jax.jit
    def both(params):
        alone = lambda row, key: jax.grad(loss)(params, jax.tree.map(lambda leaf: leaf[None], row), key[None])  # noqa: E731
        each = jax.vmap(alone)(x, keys)
        return jax.tree.map(lambda leaf: leaf.sum(0), each), jax.grad(loss)(params, x, keys)

    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, *both(params))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in ALIKE else name for name in MODELS]
)
def test_gradient_is_the_slope(name: str) -> None:
    """In float64, along a random direction: (f(p + h d) - f(p - h d)) / 2h."""
    model, x, _ = MODELS[name]
    step = 1e-6
    params, state = start(name)
    keys = jax.random.split(jax.random.key(0), ROWS)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = jax.tree.map(lambda leaf: leaf if leaf.dtype == np.int32 else leaf.astype(np.float64), x)
    along = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
    with jax.enable_x64(True):

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            outputs, _ = model.apply(params, state, x, keys=keys, weight=jnp.ones(ROWS), train=True)
            return jnp.sum(jnp.sin(outputs))

        def at(h: float):
            return loss(jax.tree.map(lambda p, d: p + h * d, params, along))

        pairs = zip(jax.tree.leaves(at(0.0)[1]), jax.tree.leaves(along), strict=True)
        slope = sum(np.vdot(gradient, direction) for gradient, direction in pairs)
        np.testing.assert_allclose(slope, (at(step)[0] - at(-step)[0]) / (2 * step), rtol=1e-5)
