from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.jax import fakes_test as fakes
from ladle.jax.arithmetic import Arithmetic
from ladle.jax.fakes_test import feed_of, flat, gradient, reference, relative, run, sgd
from ladle.jax.objective import checked_losses, of_functions, of_model
from ladle.jax.rows import MicroBatch
from ladle.models import mlp
from ladle.models.losses import cross_entropy

KEYS = jax.random.split(jax.random.key(5), 4)
ROWS = MicroBatch({"x": jnp.ones((4, 2)), "y": jnp.zeros(4)}, jnp.ones(4), KEYS)


def nothing(key):
    return {}


def losses_of(loss, rows=ROWS, **options):
    objective = of_functions(nothing, loss, **options)
    return checked_losses(objective, {}, (), rows, True)[0]


def test_a_loss_that_returns_a_mean_is_refused_with_the_way_out():
    with pytest.raises(
        ArgumentError, match="loss must return one number per example, shape .4,.; got .*; because a mean"
    ):
        losses_of(lambda params, batch: batch["x"].mean())


@pytest.mark.parametrize("shape", [(4, 1), (3,), (1,), (4, 2)])
def test_any_other_shape_is_refused(shape):
    with pytest.raises(ArgumentError, match="one number per example"):
        losses_of(lambda params, batch: jnp.zeros(shape))


@pytest.mark.parametrize(("shape", "remedy"), [((4, 2), "axis=1"), ((4, 2, 3), r"axis=\(1, 2\)")])
def test_a_loss_with_further_axes_is_told_to_take_the_mean_over_these(shape, remedy):
    with pytest.raises(ArgumentError, match=f"a mean over all axes but the first, .mean.{remedy}."):
        losses_of(lambda params, batch: jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(), (2,), (2, 4)])
def test_a_loss_without_the_axis_of_examples_is_told_to_leave_its_mean_out(shape):
    with pytest.raises(ArgumentError, match="leaving out the final mean or sum over examples"):
        losses_of(lambda params, batch: jnp.zeros(shape))


def test_a_metric_is_held_to_the_same():
    with pytest.raises(ArgumentError, match="right must return one number per example"):
        losses_of(
            lambda params, batch: batch["y"],
            predict=lambda params, x: x,
            metrics={"right": lambda outputs, y: jnp.mean(outputs)},
        )


def test_metrics_need_predictions():
    with pytest.raises(ArgumentError, match="predict must be given"):
        of_functions(nothing, lambda params, batch: batch["y"], metrics={"right": lambda outputs, y: y})


def test_the_key_is_passed_to_those_that_take_one():
    found = []
    losses_of(lambda params, batch: found.append("none") or batch["y"])
    losses_of(lambda params, batch, key: found.append(key) or batch["y"])
    assert found[0] == "none"
    assert np.array_equal(jax.random.key_data(found[1]), jax.random.key_data(KEYS[0]))


def test_without_keys_the_key_is_fixed():
    found = []
    for _ in range(2):
        losses_of(lambda params, batch, key: found.append(key) or batch["y"], ROWS._replace(keys=None))
    assert np.array_equal(*(jax.random.key_data(key) for key in found))


@pytest.mark.parametrize("takes_key", [False, True])
def test_state_goes_in_and_comes_out(takes_key):
    def with_key(params, model_state, batch, key):
        return batch["y"], model_state + jax.random.uniform(key)

    def without(params, model_state, batch):
        return batch["y"], model_state + 1

    objective = of_functions(lambda key: ({}, 0.0), with_key if takes_key else without, has_state=True)
    assert objective.init(jax.random.key(0)) == ({}, 0.0)
    _, _, state = checked_losses(objective, {}, 1.0, ROWS, True)
    assert 1 < state <= 2
    assert objective.name == ("with_key" if takes_key else "without")


def test_whole_number_and_boolean_values_are_counted():
    """A metric may answer in booleans and a loss in half precision: sums are float32 all the same."""
    objective = of_functions(
        fakes.init,
        lambda params, batch: fakes.loss(params, batch).astype(jnp.bfloat16),
        predict=fakes.predict,
        metrics={"right": fakes.right},
    )
    state, observation, draw = run(sgd(objective), feed_of("resident"), BatchSpec(8, 8))
    assert relative(gradient(state), reference(draw.ids()[0])[0]) < 0.02
    assert observation.sums()["metric/right"] in range(9)


def test_a_model_is_an_objective_too():
    class Line:
        """The least a model is: see `ladle.models.protocol`."""

        name, additive = "line", True

        def init(self, key):
            return {"w": jnp.ones(2)}, ()

        def apply(self, params, model_state, x, *, keys, weight, train):
            assert weight.shape == x.shape[:1]
            return x @ params["w"], model_state

    objective = of_model(Line(), lambda outputs, y: (outputs - y) ** 2, {"off": lambda outputs, y: abs(outputs - y)})
    params, state = objective.init(jax.random.key(0))
    losses, metrics, _ = checked_losses(objective, params, state, ROWS, True)
    assert (losses.tolist(), metrics["off"].tolist()) == ([4.0] * 4, [2.0] * 4)
    assert objective.predict(params, state, ROWS.data["x"]).tolist() == [2.0] * 4
    assert (objective.name, objective.metrics, objective.additive) == ("line", ("off",), True)


def test_levels_reach_the_model_and_the_loss():
    """Dropout 0.5 as a constant of the run is dropout 0.5 of the model; smoothing is the mixture of the formula."""
    feed, spec = feed_of("resident"), BatchSpec(16, 16)
    plain, dropping = (of_model(mlp(5, 16, 3, dropout=rate), cross_entropy, {}) for rate in (0.0, 0.5))
    assert plain.levels == ("dropout", "label_smoothing")
    whole = flat(run(sgd(dropping), feed, spec)[0].params)
    level = flat(run(sgd(plain), feed, spec, dropout=0.5)[0].params)
    np.testing.assert_allclose(level, whole, rtol=1e-6)
    outputs, y = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([2])
    mixed = 0.9 * cross_entropy(outputs, y) + 0.1 * jnp.mean(
        jnp.stack([cross_entropy(outputs, y * 0 + k) for k in range(3)])
    )
    np.testing.assert_allclose(cross_entropy(outputs, y, label_smoothing=jnp.float32(0.1)), mixed, rtol=1e-6)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("keyed", [False, True])
def test_a_plain_loss_that_names_weight_is_told_which_rows_count(keyed, precision):
    """By it a loss of all pairs leaves out the rows that only fill up a micro-batch."""

    def bare(params, batch, weight):
        return (batch["x"].astype(jnp.float32).sum(1) * weight).sum() - weight

    def with_key(params, batch, key, weight):
        return bare(params, batch, weight)

    rows = ROWS._replace(weight=jnp.array([1.0, 1.0, 1.0, 0.0]))
    arithmetic = Arithmetic(precision)
    found = losses_of(with_key if keyed else bare, rows, additive=False, arithmetic=arithmetic)
    assert found.tolist() == [5.0, 5.0, 5.0, 6.0]


def test_a_weight_with_a_default_is_the_loss_s_own():
    assert losses_of(lambda params, batch, key, weight=3.0: batch["y"] + weight).tolist() == [3.0] * 4
