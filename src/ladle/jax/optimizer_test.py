from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from ladle.core.decision import Clock
from ladle.core.errors import ArgumentError
from ladle.core.seed import seed_words
from ladle.core.spec import BatchSpec
from ladle.jax import layerwise
from ladle.jax.fakes_test import OBJECTIVE, feed_of, flat, gradient, run, sgd
from ladle.jax.meaning import Meaning
from ladle.jax.mesh import layout
from ladle.jax.operands import Pace
from ladle.jax.optimizer import BY_NAME, optimizer_named
from ladle.jax.rate import constant_rate
from ladle.jax.rows import Place
from ladle.jax.state import init_state
from ladle.jax.step import CompiledStep
from ladle.jax.update import apply, zero

RANDOM = np.random.default_rng(1)
PARAMS = {"w": RANDOM.normal(size=(4, 3)).astype(np.float32), "b": RANDOM.normal(size=3).astype(np.float32)}
GRADIENTS = [jax.tree.map(lambda leaf: RANDOM.normal(size=leaf.shape).astype(np.float32), PARAMS) for _ in range(4)]
WEIGHT = 3.0

PUBLISHED = {
    "sgd": optax.sgd(0.01),
    "momentum": optax.sgd(0.01, momentum=0.9),
    "nesterov": optax.sgd(0.01, momentum=0.9, nesterov=True),
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(0.01, weight_decay=1e-4),
    "adagrad": optax.adagrad(0.01),
    "rmsprop": optax.rmsprop(0.01),
    "lion": optax.lion(0.01),
    "lamb": optax.lamb(0.01),
    "lars": optax.lars(0.01, weight_decay=1e-4),
    "muon": contrib.muon(0.01),
    "lars_paper": layerwise.lars(0.01),
    "lamb_paper": layerwise.lamb(0.01),
}


def ours(optimizer, hyper):
    """Parameters after the four gradients, each handed over as a sum of weight 3."""
    objective = OBJECTIVE.__class__(lambda key: (PARAMS, ()), OBJECTIVE.losses, None)
    values = {name: np.float32(value) for name, value in hyper.items()}
    state = init_state(objective, optimizer, values, seed_words(0))
    meaning = Meaning(objective, optimizer, constant_rate, layout())
    pace = Pace.of(1.0, Clock())  # The rate as it is, at the examples as they are.
    place = Place(np.uint32(0), np.uint32(0))

    @jax.jit
    def step(state, gradient):
        total = jax.tree.map(lambda leaf: WEIGHT * leaf, gradient)
        done = zero(state.params, (), 0)._replace(gradient=total, weight=jnp.float32(WEIGHT))
        return apply(meaning, state, done, pace, place, 1, view=None)[0]

    for each in GRADIENTS:
        state = step(state, each)
    return state.params


def theirs(transformation):
    with jax.numpy_dtype_promotion("standard"):
        params, state = PARAMS, transformation.init(PARAMS)
        update = jax.jit(transformation.update)
        for each in GRADIENTS:
            updates, state = update(each, state, params)
            params = optax.apply_updates(params, updates)
    return params


def test_every_name_is_checked():
    assert set(PUBLISHED) == set(BY_NAME)


@pytest.mark.parametrize("name", BY_NAME)
def test_each_name_is_the_transformation_itself(name):
    optimizer = optimizer_named(name)
    found = ours(optimizer, {**optimizer.hyper, "lr": 0.01})
    np.testing.assert_allclose(flat(found), flat(theirs(PUBLISHED[name])), rtol=2e-5, atol=1e-6)


def test_constants_given_take_the_place_of_the_defaults():
    optimizer = optimizer_named("adam", {"b1": 0.5, "b2": 0.7})
    assert optimizer.hyper == {"b1": 0.5, "b2": 0.7, "eps": 1e-8}
    found = ours(optimizer, {**optimizer.hyper, "lr": 0.01})
    np.testing.assert_allclose(flat(found), flat(theirs(optax.adam(0.01, b1=0.5, b2=0.7))), rtol=2e-5, atol=1e-6)


def test_a_transformation_of_the_users_keeps_its_own_rate():
    mine = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.3))
    step = CompiledStep(OBJECTIVE, optimizer_named(mine))
    draw, _ = feed_of("resident").draw(feed_of("resident").start(), BatchSpec(8, 8))
    state, _ = step(step.init(0), draw, BatchSpec(8, 8), 1.0)
    plain = gradient(run(sgd(), feed_of("resident"), BatchSpec(8, 8))[0])
    clipped = plain * min(1.0, 0.5 / np.linalg.norm(plain))
    np.testing.assert_allclose(-flat(state.params), 0.3 * clipped, rtol=1e-5)


def test_an_update_that_remembers_the_parameters_can_still_be_given_up():
    """Schedule-free keeps a copy of the parameters in its state: two leaves, one value, both donated."""
    mine = contrib.schedule_free_sgd(0.1)
    found = ours(optimizer_named(mine), {"lr": 1.0})
    assert np.isfinite(flat(found)).all()
    step = CompiledStep(OBJECTIVE, optimizer_named(mine))
    _, observation, _ = run(step, feed_of("resident"), BatchSpec(8, 8, updates=3))
    assert observation.begun == 3


@pytest.mark.parametrize(
    "optimizer, hyper, message",
    [
        ("adm", {}, "optimizer must be a known name; got 'adm'.*'adam'"),
        (3, {}, "optimizer must be a name or an optax transformation; got 3"),
        ("adam", {"beta2": 0.9}, r"hyper\['beta2'\] must be a constant of adam.*'b2'"),
        ("sgd", {"momentum": 0.9}, r"hyper\['momentum'\] must be a constant of sgd"),
    ],
)
def test_unknown_names_are_refused(optimizer, hyper, message):
    with pytest.raises(ArgumentError, match=message):
        optimizer_named(optimizer, hyper)
