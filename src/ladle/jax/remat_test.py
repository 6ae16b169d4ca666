"""What rematerialisation promises: the same gradients, and less memory where blocks are marked."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.core.spec import BatchSpec
from ladle.jax import fakes_test as fakes
from ladle.jax.arithmetic import Arithmetic
from ladle.jax.fakes_test import relative
from ladle.jax.objective import of_functions, of_model
from ladle.jax.rows import MicroBatch
from ladle.models import block, recomputing

KEYS = jax.random.split(jax.random.key(1), 8)
BATCH = {"x": np.random.default_rng(0).normal(size=(8, 8, 8)).astype("f4"), "y": np.arange(8, dtype=np.int32) % 3}


class Deep:
    """Six blocks of one width between two layers, as a user would write a model."""

    name, additive = "deep", True
    width, blocks = 64, 6

    def init(self, key):
        keys = jax.random.split(key, self.blocks + 1)
        inner = [jax.random.normal(one, (2, self.width, self.width)) / 8 for one in keys[1:]]
        return {"in": jax.random.normal(keys[0], (64, self.width)) / 8, "blocks": inner}, ()

    def apply(self, params, model_state, x, *, keys, weight, train):
        h = x.reshape(x.shape[0], -1) @ params["in"]
        for layer in params["blocks"]:
            h = block(_residual)(layer, h)
        return h[:, :3], model_state


def _residual(layer, h):
    return h + jnp.tanh(jnp.tanh(h @ layer[0]) @ layer[1])


def gradient_of(objective):
    params, state = objective.init(jax.random.key(0))
    rows = MicroBatch(BATCH, jnp.ones(8), KEYS)

    def total(params):
        losses, _, after = objective.losses(params, state, rows, True)
        return losses.sum(), after

    with jax.numpy_dtype_promotion("standard"):
        (_, after), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
    flat = jnp.concatenate([leaf.reshape(-1).astype(jnp.float32) for leaf in jax.tree.leaves((gradient, after))])
    return np.asarray(flat, np.float64)


def nnx_model():
    from flax import nnx

    return ladle.models.as_model(
        lambda rngs: nnx.Sequential(lambda x: x.reshape(x.shape[0], -1), nnx.Linear(64, 3, rngs=rngs))
    )


def equinox_model():
    import equinox as eqx

    return ladle.models.from_equinox(
        lambda key: eqx.nn.Sequential([eqx.nn.Lambda(jnp.ravel), eqx.nn.MLP(64, 3, 16, 2, key=key)])
    )


MODELS = {
    "deep": Deep,
    "equinox": equinox_model,
    "nnx": nnx_model,
    "mlp": lambda: ladle.models.mlp(64, 16, 3, dropout=0.3),
    "convnet": lambda: ladle.models.convnet((8, 8), 3, width=2, batch_norm=True, dropout=0.3),
}

CASES = (
    ("deep", "dots"),
    ("deep", "full"),
    ("mlp", "full"),
    ("equinox", "dots"),
    pytest.param("mlp", jax.checkpoint_policies.everything_saveable, marks=pytest.mark.long),
    pytest.param("convnet", "full", marks=pytest.mark.long),
    pytest.param("nnx", "full", marks=pytest.mark.long),
)


@pytest.mark.parametrize(("made", "remat"), CASES, ids=str)
def test_gradients_are_the_same(made, remat):
    """And what the model carries: dropout draws the same masks when it is computed again."""
    plain, again = (
        gradient_of(of_model(MODELS[made](), ladle.losses.cross_entropy, {}, arithmetic))
        for arithmetic in (Arithmetic(), Arithmetic("f32", remat, recomputing))
    )
    assert relative(again, plain) < 1e-6


@pytest.mark.long
def test_full_remat_keeps_less_and_the_prediction_holds():
    """Predicted with and without, and the program that computes again run in a child."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(512, 64)).astype("f4"), rng.integers(0, 3, 512)
    data = ladle.data.arrays(x, y, valid=0, kind="classification")
    spec, found = BatchSpec(512, 512), {}
    for remat in ("none", "full"):
        assembly = assemble(ladle.Task(Deep(), "cross_entropy", data, optimizer="sgd", remat=remat))
        found[remat] = assembly.engine.probe(assembly.feed(0), spec, hyper=dict(assembly.optimizer.hyper))
    predicted = {remat: probe.memory_bytes(spec) for remat, probe in found.items()}
    assert predicted["full"] < 0.75 * predicted["none"]
    assert found["full"].confirm_bytes(spec) == pytest.approx(predicted["full"], rel=0.15)


def test_plain_functions_too():
    def wide(params, batch):
        return fakes.loss(params, {**batch, "x": batch["x"].reshape(8, -1)[:, : fakes.FEATURES]})

    plain, again = (
        gradient_of(of_functions(fakes.init, wide, arithmetic=Arithmetic("f32", remat))) for remat in ("none", "full")
    )
    assert relative(again, plain) < 1e-6
