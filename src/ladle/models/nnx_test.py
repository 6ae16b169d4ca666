from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ladle.core.errors import ArgumentError
from ladle.models import FunctionModel, from_equinox, mlp
from ladle.models.losses import cross_entropy
from ladle.models.nnx import from_nnx

ROWS = 8
X = np.random.default_rng(0).normal(1, 2, size=(ROWS, 4)).astype(np.float32)
Y = np.random.default_rng(0).integers(0, 3, ROWS).astype(np.int32)
KEYS = jax.random.split(jax.random.key(5), ROWS)


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, *, norm: bool = False, rate: float = 0.0) -> None:
        self.layers = nnx.List([nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs)])
        self.norm = nnx.BatchNorm(5, rngs=rngs, momentum=0.9) if norm else None
        self.dropout = nnx.Dropout(rate, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        h = self.layers[0](x)
        h = nnx.relu(self.norm(h) if self.norm is not None else h)
        return self.layers[1](self.dropout(h))


def apply(model, params, state, *, train: bool, x=X, keys=KEYS):
    return jax.jit(partial(model.apply, train=train))(params, state, x, keys=keys[: len(x)], weight=jnp.ones(len(x)))


def loss_and_gradient(model, params, state):
    def loss(params):
        outputs, _ = model.apply(params, state, X, keys=KEYS, weight=jnp.ones(ROWS), train=True)
        return cross_entropy(outputs, jnp.asarray(Y)).mean(), outputs

    (_, outputs), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return outputs, gradient


def test_one_perceptron_in_four_dialects() -> None:
    """Same weights, same outputs, same gradients: ladle's own, NNX, Equinox, plain functions."""
    own = mlp(4, 5, 3)
    (first, last), _ = own.init(jax.random.key(0))
    weights = [first["weight"], first["bias"], last["weight"], last["bias"]]

    def plain(params, x):
        return jax.nn.relu(x @ params["a"] + params["b"][None]) @ params["c"] + params["d"][None]

    as_rows = lambda tree, names: [tree[name] for name in names]  # noqa: E731
    nnx_names = ["layers.0.kernel", "layers.0.bias", "layers.1.kernel", "layers.1.bias"]
    eqx_names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    turned = [weights[0].T, weights[1], weights[2].T, weights[3]]
    dialects = {
        "nnx": (from_nnx(Net), dict(zip(nnx_names, weights, strict=True)), lambda g: as_rows(g, nnx_names)),
        "equinox": (
            from_equinox(partial(eqx.nn.MLP, 4, 3, 5, 1)),
            dict(zip(eqx_names, turned, strict=True)),
            lambda g: [v.T if v.ndim == 2 else v for v in as_rows(g, eqx_names)],
        ),
        "functions": (
            FunctionModel(lambda key: {}, plain),
            dict(zip("abcd", weights, strict=True)),
            lambda g: as_rows(g, "abcd"),
        ),
    }
    outputs, gradient = loss_and_gradient(own, (first, last), ())
    expected = [gradient[0]["weight"], gradient[0]["bias"], gradient[1]["weight"], gradient[1]["bias"]]
    for name, (model, params, in_order) in dialects.items():
        their_outputs, their_gradient = loss_and_gradient(model, params, ())
        np.testing.assert_allclose(their_outputs, outputs, rtol=1e-5, atol=1e-6, err_msg=name)
        for theirs, ours in zip(in_order(their_gradient), expected, strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6, err_msg=name)


def test_start_follows_from_the_key() -> None:
    model = from_nnx(Net)
    assert model.name == "Net" and model.additive and model.norm_rows is None
    (params, state), (again, _), (other, _) = (jax.jit(model.init)(jax.random.key(seed)) for seed in (0, 0, 1))
    assert state == () and sorted(params)[0] == "layers.0.bias"
    assert all(leaf.dtype == jnp.float32 for leaf in params.values())
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert (params["layers.0.kernel"] != other["layers.0.kernel"]).any()


def test_dropout_draws_from_the_keys_and_only_in_training() -> None:
    model = from_nnx(lambda rngs: Net(rngs, rate=0.5))
    assert model.additive
    params, state = model.init(jax.random.key(0))
    run = partial(apply, model, params, state)
    np.testing.assert_array_equal(run(train=True)[0], run(train=True)[0])
    assert (run(train=True)[0] != run(train=True, keys=KEYS[::-1])[0]).any()
    evaluated, _ = model.apply(params, state, jnp.asarray(X), keys=None, weight=jnp.ones(ROWS), train=False)
    np.testing.assert_allclose(evaluated, run(train=False)[0], rtol=1e-6)
    assert (evaluated != run(train=True)[0]).any()
    halves = [run(train=False, x=X[:4])[0], run(train=False, x=X[4:])[0]]
    np.testing.assert_allclose(np.concatenate(halves), evaluated, rtol=1e-5, atol=1e-6)


def test_batch_statistics_are_carried_like_in_flax_itself() -> None:
    model = from_nnx(partial(Net, norm=True))
    assert not model.additive and model.norm_rows == 0
    params, state = model.init(jax.random.key(0))
    assert sorted(state) == ["norm.mean", "norm.var"]
    module = Net(nnx.Rngs(jax.random.key(0)), norm=True)
    for scale in (1.0, 2.0, 3.0):
        x = X * np.float32(scale)
        outputs, state = apply(model, params, state, train=True, x=x)
        np.testing.assert_allclose(outputs, module(jnp.asarray(x)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state["norm.mean"], module.norm.mean[...], rtol=1e-5)
    np.testing.assert_allclose(state["norm.var"], module.norm.var[...], rtol=1e-5)
    module.eval()
    evaluated, unmoved = apply(model, params, state, train=False)
    np.testing.assert_allclose(evaluated, module(jnp.asarray(X)), rtol=1e-4, atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, unmoved, state)
    back = model.module(params, state)
    np.testing.assert_array_equal(back.norm.mean[...], state["norm.mean"])


def test_a_given_module_is_the_start_of_every_run_and_stays_as_it_is() -> None:
    module = Net(nnx.Rngs(3), norm=True)
    model = from_nnx(module, name="mine")
    assert model.name == "mine"
    kernel, mean = np.array(module.layers[0].kernel[...]), np.array(module.norm.mean[...])
    params, state = model.init(jax.random.key(1))
    np.testing.assert_array_equal(params["layers.0.kernel"], kernel)
    apply(model, params, state, train=True)
    jax.tree.map(lambda leaf: leaf.delete(), (params, state))
    np.testing.assert_array_equal(module.layers[0].kernel[...], kernel)
    np.testing.assert_array_equal(module.norm.mean[...], mean)
    np.testing.assert_array_equal(model.init(jax.random.key(2))[0]["layers.0.kernel"], kernel)


@pytest.mark.parametrize("given", [3, lambda rngs: 3, lambda rngs: nnx.Rngs(0).default])
def test_what_is_no_module_is_refused(given) -> None:
    with pytest.raises(ArgumentError, match="module_or_factory must be a callable NNX module"):
        from_nnx(given)
