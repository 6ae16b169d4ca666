from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.models import from_equinox

ROWS = 8
X = np.random.default_rng(0).normal(1, 2, size=(ROWS, 4)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(5), ROWS)


class Normed(eqx.Module):
    """Names its state as it likes, its axis too, and has a buffer of whole numbers."""

    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    order: jax.Array

    def __init__(self, key: jax.Array) -> None:
        self.first = eqx.nn.Linear(4, 3, key=key)
        self.norm = eqx.nn.BatchNorm(3, axis_name="rows", mode="batch", momentum=0.9)
        self.order = jnp.array([2, 0, 1])

    def __call__(self, x: jax.Array, context: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        h, context = self.norm(self.first(x), context)
        return h[self.order], context


def apply(model, params, state, *, train: bool, x=X):
    keys = KEYS[: len(x)]
    return jax.jit(partial(model.apply, train=train))(params, state, x, keys=keys, weight=jnp.ones(len(x)))


def normalised(params, order=(2, 0, 1)) -> np.ndarray:
    h = X @ np.asarray(params["first.weight"]).T + np.asarray(params["first.bias"])
    return ((h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5))[:, list(order)]


FACTORIES = {
    "module": Normed(jax.random.key(0)),
    "class": Normed,
    "make_with_state": eqx.nn.make_with_state(Normed),
    "module and state": eqx.nn.make_with_state(Normed)(jax.random.key(0)),
}


@pytest.mark.parametrize("given", FACTORIES)
def test_batch_norm_and_its_state(given: str) -> None:
    model = from_equinox(FACTORIES[given])
    assert model.name == "Normed" and not model.additive and model.norm_rows == 0
    params, state = jax.jit(model.init)(jax.random.key(0))
    assert sorted(params) == ["first.bias", "first.weight", "norm.bias", "norm.weight"]
    outputs, after = apply(model, params, state, train=True)
    np.testing.assert_allclose(outputs, normalised(params), rtol=1e-3, atol=1e-4)
    assert jax.tree.structure(after) == jax.tree.structure(state)

    evaluated, unmoved = apply(model, params, after, train=False)
    module, own = model.module(params, after)
    own_outputs, _ = jax.vmap(eqx.nn.inference_mode(module), in_axes=(0, None), out_axes=(0, None))(X, own)
    np.testing.assert_allclose(evaluated, own_outputs, rtol=1e-5, atol=1e-6)
    assert np.abs(evaluated - outputs).max() > 0.1
    jax.tree.map(np.testing.assert_array_equal, unmoved, after)
    one, _ = apply(model, params, after, train=False, x=X[:1])
    np.testing.assert_allclose(one, evaluated[:1], rtol=1e-4, atol=1e-5)


def test_state_moves_from_step_to_step_like_equinox_itself() -> None:
    model = from_equinox(Normed)
    params, state = model.init(jax.random.key(0))
    module, own = eqx.nn.make_with_state(Normed)(jax.random.key(0))
    for scale in (1.0, 2.0, 3.0):
        _, state = apply(model, params, state, train=True, x=X * np.float32(scale))
        batched = jax.vmap(module, axis_name="rows", in_axes=(0, None), out_axes=(0, None))
        _, own = batched(jnp.asarray(X * np.float32(scale)), own)
    back, ours = model.module(params, state)
    assert isinstance(back, Normed)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), jax.tree.leaves(ours), jax.tree.leaves(own))


def test_a_sequence_with_batch_norm_and_dropout() -> None:
    def make(key: jax.Array) -> eqx.nn.Sequential:
        layers = [eqx.nn.Linear(4, 6, key=key), eqx.nn.BatchNorm(6, "batch", mode="batch"), eqx.nn.Dropout(0.5)]
        return eqx.nn.Sequential(layers)

    model = from_equinox(make)
    params, state = model.init(jax.random.key(0))
    outputs, after = apply(model, params, state, train=True)
    assert 0 < np.mean(outputs == 0) < 1
    assert not np.any(apply(model, params, after, train=False)[0] == 0)


def test_every_example_has_its_own_mask() -> None:
    model = from_equinox(eqx.nn.Dropout(0.5))
    outputs, _ = apply(model, {}, (), train=True, x=np.ones((ROWS, 40), np.float32))
    assert len({tuple(row) for row in np.asarray(outputs).tolist()}) == ROWS
    np.testing.assert_array_equal(apply(model, {}, (), train=False, x=X)[0], X)


def test_a_module_that_splits_its_key_can_be_evaluated_without() -> None:
    class Splitting(eqx.Module):
        dropout: eqx.nn.Dropout

        def __call__(self, x: jax.Array, key: jax.Array) -> jax.Array:
            one, _ = jax.random.split(key)
            return self.dropout(x, key=one)

    model = from_equinox(Splitting(eqx.nn.Dropout(0.9)))
    outputs, _ = model.apply({}, (), jnp.asarray(X), keys=None, weight=jnp.ones(ROWS), train=False)
    np.testing.assert_array_equal(outputs, X)


def test_a_given_module_is_the_start_of_every_run_and_is_never_handed_out() -> None:
    module = eqx.nn.Linear(4, 3, key=jax.random.key(7))
    model = from_equinox(module, name="mine")
    params, _ = model.init(jax.random.key(1))
    assert model.name == "mine"
    np.testing.assert_array_equal(params["weight"], module.weight)
    jax.tree.map(lambda leaf: leaf.delete(), params)
    assert np.isfinite(module.weight).all()
    jax.tree.map(np.testing.assert_array_equal, model.init(jax.random.key(1))[0], model.init(jax.random.key(2))[0])


def test_a_class_with_its_arguments_bound() -> None:
    model = from_equinox(partial(eqx.nn.MLP, 4, 3, 8, 2))
    params, state = model.init(jax.random.key(0))
    module = eqx.nn.MLP(4, 3, 8, 2, key=jax.random.key(0))
    np.testing.assert_allclose(apply(model, params, state, train=True)[0], jax.vmap(module)(X), rtol=1e-5, atol=1e-6)


def test_functions_made_anew_in_each_module_do_no_harm() -> None:
    """Two calls of a factory give modules whose static parts differ; only one of them is kept."""
    model = from_equinox(lambda key: eqx.nn.MLP(4, 3, 8, 1, activation=lambda x: x * x, key=key))
    params, state = model.init(jax.random.key(0))
    assert apply(model, params, state, train=True)[0].shape == (ROWS, 3)


class Forgetful(eqx.Module):
    norm: eqx.nn.BatchNorm

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class Two(eqx.Module):
    one: eqx.nn.BatchNorm
    two: eqx.nn.BatchNorm

    def __call__(self, x: jax.Array, state: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        return x, state


def norm(axis: str) -> eqx.nn.BatchNorm:
    return eqx.nn.BatchNorm(4, axis, mode="batch")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda key: jnp.ones(3), "module_or_factory must be a callable Equinox module"),
        (3, "module_or_factory must be a callable Equinox module"),
        (Forgetful(norm("batch")), r"Forgetful.__call__ must take the module's state; got '\(x\)'"),
        (Two(norm("a"), norm("b")), r"axis_name must be the same in every BatchNorm; got \['a', 'b'\]"),
    ],
)
def test_what_cannot_be_adapted_is_refused(given, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        from_equinox(given)
