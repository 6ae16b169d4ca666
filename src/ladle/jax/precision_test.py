"""What half precision promises: float32 outside of the model, true gradients at any scale, a way out of overflow."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ladle
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.jax import fakes_test as fakes
from ladle.jax import precision
from ladle.jax.arithmetic import Arithmetic
from ladle.jax.fakes_test import LANES, N, feed_of, gradient, reference, relative
from ladle.jax.objective import of_functions, of_model
from ladle.jax.optimizer import optimizer_named
from ladle.jax.precision import FIRST, SMALLEST, Scaling
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State
from ladle.jax.step import CompiledStep

lanes = pytest.mark.parametrize("lane", LANES)
halves = pytest.mark.parametrize("kind", ["bf16", "fp16"])
SPEC = BatchSpec(N, 8)


def predict(params, x):
    """As that of the fakes, in whatever type it is called with."""
    return x @ (params["w"] + fakes.OFFSET.astype(x.dtype)) + params["b"][None, :]


def loss(params, batch):
    chances = jax.nn.log_softmax(predict(params, batch["x"]).astype(jnp.float32))
    return -jnp.take_along_axis(chances, batch["y"][:, None], axis=1)[:, 0]


def overflowing(params, batch):
    """A loss whose scaled gradient leaves float16 at scales above 64 (65504 / 1000), whatever the batch."""
    return loss(params, batch) + 1000 * (params["b"].sum().astype(jnp.float32) - params["b"][0].astype(jnp.float32))


def half(kind: str = "fp16", of=loss, **options) -> CompiledStep:
    objective = of_functions(fakes.init, of, predict=predict, arithmetic=Arithmetic(kind))
    return CompiledStep(objective, optimizer_named("sgd"), **options)


@pytest.fixture(scope="module")
def steps() -> dict[str, CompiledStep]:
    return {kind: half(kind) for kind in ("bf16", "fp16")}


def scaled(state: State, scale: float, good: int = 0) -> State:
    return state._replace(scaling=Scaling(jnp.float32(scale), jnp.int32(good)))


def after(step: CompiledStep, state: State, spec: BatchSpec = SPEC, lane: str = "resident"):
    feed = feed_of(lane)
    draw, _ = feed.draw(feed.start(), spec)
    return step(state, draw, spec, 1.0)


@lanes
@halves
def test_the_gradient_is_that_of_float32_to_half_precision(steps, kind, lane):
    state, observation = after(steps[kind], steps[kind].init(0, {"lr": 1.0}), lane=lane)
    expected, mean = reference(np.arange(N), fakes.ONES)
    within = {"bf16": 2e-2, "fp16": 2e-3}[kind]
    assert relative(gradient(state), expected) < within
    assert observation.read()["train_loss"] == pytest.approx(mean, rel=within)


@halves
def test_whatever_is_kept_is_float32(steps, kind):
    state, observation = after(steps[kind], steps[kind].init(0, {"lr": 1.0}))
    floats = [leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert set(floats) == {jnp.dtype("float32")} and observation.values.dtype == jnp.float32


def test_the_scale_leaves_no_trace(steps):
    """Powers of two in range: parameters and moments are the same, bit by bit, at any of them."""
    found = [after(steps["fp16"], scaled(steps["fp16"].init(0, {"lr": 1.0}), 2.0**power)) for power in (4, 8)]
    (one, seen), (other, also) = found
    assert jax.tree.all(jax.tree.map(np.array_equal, one.params, other.params))
    left = {name: value for name, value in seen.sums().items() if name != "scale_log2"}
    assert left == {name: value for name, value in also.sums().items() if name != "scale_log2"}


@lanes
def test_an_update_that_overflows_is_left_out_and_the_scale_halved(lane):
    step = half(of=overflowing)
    state, observation = after(step, scaled(step.init(0, {"lr": 1.0}), 512.0), lane=lane)
    assert not gradient(state).any() and float(state.scaling.scale) == 256
    reading = observation.read()
    assert (reading["skipped"], reading["refused"], reading["loss_scale"]) == (1, 0, 512)
    assert observation.begun == 1 and np.isfinite(reading["train_loss"])


def test_a_window_goes_on_until_the_scale_fits():
    """On the device, without a word to the host: six updates find the scale, the others train."""
    step = half(of=overflowing)
    spec = BatchSpec(N, 8, updates=10)
    state, observation = after(step, step.init(0, {"lr": 1e-3}), spec)
    sums = observation.sums()
    assert sums["skipped"] + sums["updates"] == 10 and 1 <= sums["skipped"] < 10 and sums["refused"] == 0
    assert float(state.scaling.scale) == FIRST / 2 ** sums["skipped"]
    assert int(state.scaling.good) == sums["updates"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_a_bare_step_sees_an_overflow_too():
    step = half(of=overflowing).bare()
    state, _ = after(step, scaled(step.init(0, {"lr": 1.0}), 512.0))
    assert not gradient(state).any() and float(state.scaling.scale) == 256


def test_what_overflows_at_the_smallest_scale_is_refused(steps):
    step = half(of=lambda params, batch: loss(params, batch) * jnp.float32(jnp.inf))
    state, observation = after(step, scaled(step.init(0, {"lr": 1.0}), SMALLEST))
    reading = observation.read()
    assert (reading["skipped"], reading["refused"]) == (0, 1) and float(state.scaling.scale) == SMALLEST


def test_the_scale_is_doubled_after_patience(steps, monkeypatch):
    monkeypatch.setattr(precision, "PATIENCE", 3)
    step = half(of=lambda params, batch: loss(params, batch))  # A program of its own, with this patience.
    state, _ = after(step, scaled(step.init(0, {"lr": 1e-3}), 16.0), BatchSpec(N, 8, updates=7))
    assert float(state.scaling.scale) == 64 and int(state.scaling.good) == 1


@lanes
def test_preparing_moves_no_scale(steps, lane):
    feed = feed_of(lane)
    draw, _ = feed.draw(feed.start(), SPEC)
    step = CompiledStep(steps["fp16"].objective, steps["fp16"].optimizer)
    state = step.prepare(scaled(step.init(0, {"lr": 1.0}), 128.0, 7), draw, SPEC)
    assert (float(state.scaling.scale), int(state.scaling.good)) == (128, 7)


@pytest.mark.parametrize("gauge", [pytest.param(Gauge(every=1), marks=pytest.mark.long), Gauge(per_example=True)])
def test_moments_are_those_of_float32(gauge):
    """|G|^2 and tr Sigma, from parts and single examples, at a scale that is far from one."""
    spec = BatchSpec(N, N)
    plain = of_functions(fakes.init, loss, predict=predict)
    found = []
    for objective in (plain, half().objective):
        step = CompiledStep(objective, optimizer_named("sgd"), gauge=gauge)
        found.append(after(step, step.init(0, {"lr": 1.0}), spec)[1].moments())
    one, other = found
    assert one.count == other.count > 0
    for name in ("trace", "square"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=3e-2, abs=1e-3)


@pytest.mark.parametrize(("made", "kind"), [("mlp", "fp16"), ("equinox", "fp16"), ("nnx", "bf16")])
def test_models_of_every_kind_with_their_averages(kind, made):
    """Batch norm, dropout and all: outputs near those of float32, running averages float32."""
    model = MODELS[made]()
    x = np.random.default_rng(0).normal(size=(32, 8, 8)).astype("f4")
    x = x.reshape(32, -1) if made != "convnet" else x
    y = np.arange(32, dtype=np.int32) % 3
    rows = MicroBatch({"x": x, "y": y}, jnp.ones(32), jax.random.split(jax.random.key(1), 32))
    found = []
    for arithmetic in (Arithmetic(), Arithmetic(kind)):
        objective = of_model(model, ladle.losses.cross_entropy, {}, arithmetic)
        params, state = objective.init(jax.random.key(0))
        with jax.numpy_dtype_promotion("standard"):  # Flax and Equinox count on it.
            losses, _, after = jax.jit(objective.losses, static_argnums=3)(params, state, rows, True)
        assert losses.dtype == jnp.float32
        assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
        found.append((losses, after))
    (one, before), (other, now) = found
    assert relative(np.asarray(other), np.asarray(one)) < 0.06
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(now), strict=True):
        np.testing.assert_allclose(np.asarray(b, float), np.asarray(a, float), atol=0.03, rtol=0.03)


def equinox_model():
    import equinox as eqx

    class Net(eqx.Module):
        first: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        last: eqx.nn.Linear

        def __init__(self, key):
            one, two = jax.random.split(key)
            self.first, self.last = eqx.nn.Linear(64, 16, key=one), eqx.nn.Linear(16, 3, key=two)
            self.norm = eqx.nn.BatchNorm(16, "batch", mode="ema")

        def __call__(self, x, state):
            h, state = self.norm(self.first(x), state)
            return self.last(jax.nn.relu(h)), state

    return ladle.models.from_equinox(Net)


def nnx_model():
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.last = nnx.Linear(64, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)
            self.norm = nnx.BatchNorm(16, rngs=rngs)

        def __call__(self, x):
            return self.last(nnx.relu(self.norm(self.first(x))))

    return ladle.models.as_model(lambda rngs: Net(rngs))


MODELS = {
    "mlp": lambda: ladle.models.mlp(64, 16, 3, batch_norm=True, dropout=0.2),
    "convnet": lambda: ladle.models.convnet((8, 8), 3, width=4, batch_norm=True, ghost_size=8),
    "equinox": equinox_model,
    "nnx": nnx_model,
}


def test_a_model_that_mixes_types_is_refused_in_one_sentence():
    def mixed(params, batch):
        return jax.lax.dot(batch["x"], params["w"] + jnp.float32(0) * jnp.ones((5, 3)))[:, 0]

    step = half("bf16", of=mixed)
    with pytest.raises(ladle.ArgumentError, match="precision must be one that the model can compute in; got 'bf16'"):
        after(step, step.init(0, {"lr": 1.0}))
