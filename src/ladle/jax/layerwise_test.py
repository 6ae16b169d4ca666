"""LARS and LAMB against the numbers of their formulas, a slow NumPy reference, and optax where it is the same."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.jax import fakes_test as fakes
from ladle.jax.layerwise import lamb, lars, norm_or_bias
from ladle.jax.optimizer import Optimizer, layerwise_named, optimizer_named
from ladle.jax.paths import paths_of
from ladle.jax.step import CompiledStep

W, G = jnp.array([3.0, 0.0]), jnp.array([0.0, 4.0])
none_excluded = lambda path, layer: False  # noqa: E731
plain = partial(lars, 1.0, momentum=0.0, trust_coefficient=1.0, excluded=none_excluded)


@pytest.fixture(autouse=True)
def promotion():
    """As inside an update: optax counts on it where constants are traced."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def first(transformation: optax.GradientTransformation, params: Any, gradient: Any) -> Any:
    return jax.jit(lambda p, g: transformation.update(g, transformation.init(p), p)[0])(params, gradient)


def single(tree: Any) -> Any:
    """In float32."""
    return jax.tree.map(np.float32, tree)


def test_the_ratio_is_the_papers_and_not_optaxs():
    """w = (3, 0), g = (0, 4), beta = 0.5: |w| / (|g| + beta |w|) = 3 / 5.5, optax's |w| / |g + beta w| = 3 / 4.272."""
    step = G + 0.5 * W
    found = first(plain(weight_decay=0.5), W, G)
    theirs = first(optax.lars(1.0, weight_decay=0.5, trust_coefficient=1.0, momentum=0.0), W, G)
    np.testing.assert_allclose(-found / step, 0.545455, atol=1e-6)
    np.testing.assert_allclose(-theirs / step, 0.702247, atol=1e-6)


def test_a_stack_of_layers_has_one_ratio_each():
    """Weights of norm 5 and 0.1, gradients of norm 1: as one leaf both would have sqrt(25.01 / 2) = 3.536."""
    w, g = {"layers": jnp.array([[5.0, 0.0], [0.0, 0.1]])}, {"layers": jnp.array([[0.6, 0.8], [1.0, 0.0]])}
    as_one = first(plain(weight_decay=0.0), w, g)["layers"]
    np.testing.assert_allclose(-as_one, 3.536 * g["layers"], rtol=1e-4)
    found = first(plain(weight_decay=0.0, stacked_axes={"layers": 0}), w, g)["layers"]
    np.testing.assert_allclose(-found, np.array([[5.0], [0.1]]) * g["layers"], rtol=1e-6)
    turned = {"layers": 1}, {"layers": w["layers"].T}, {"layers": g["layers"].T}
    for axis in (1, -1):
        other = first(plain(weight_decay=0.0, stacked_axes={"layers": axis}), *turned[1:])["layers"]
        np.testing.assert_array_equal(other, found.T)


# A network of two layers, tanh(x W_0 + b_0) * scale, then W_1; its gradient by hand.
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(20, 3)), RANDOM.normal(size=(20, 2))
START = {
    "first": {"weight": RANDOM.normal(size=(3, 4)), "bias": np.zeros(4)},
    "norm": {"scale": np.ones(4)},
    "last": {"weight": RANDOM.normal(size=(4, 2))},
}
RATES = (0.2, 1.0, 0.5, 0.1, 0.4)
FREE = ("first.weight", "last.weight")


def loss(params: Any) -> jax.Array:
    hidden = jnp.tanh(X.astype(np.float32) @ params["first"]["weight"] + params["first"]["bias"][None])
    outputs = hidden * params["norm"]["scale"][None] @ params["last"]["weight"]
    return ((outputs - Y.astype(np.float32)) ** 2).sum() / 20


slope = jax.jit(jax.grad(loss))


def slow_gradient(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    hidden = np.tanh(X @ p["first.weight"] + p["first.bias"])
    off = 2 * (hidden * p["norm.scale"] @ p["last.weight"] - Y) / 20
    scaled = off @ p["last.weight"].T
    inner = scaled * p["norm.scale"] * (1 - hidden**2)
    return {
        "first.weight": X.T @ inner,
        "first.bias": inner.sum(0),
        "norm.scale": (scaled * hidden).sum(0),
        "last.weight": (hidden * p["norm.scale"]).T @ off,
    }


def named(tree: Any) -> dict[str, np.ndarray]:
    leaves = (np.array(leaf, np.float64) for leaf in jax.tree.leaves(tree))
    return dict(zip(paths_of(tree), leaves, strict=True))


def slow_lars(momentum: float, decay: float, trust: float) -> dict[str, np.ndarray]:
    p = named(START)
    v = {name: np.zeros_like(leaf) for name, leaf in p.items()}
    for rate in RATES:
        for name, g in slow_gradient(p).items():
            w, beta, ratio = p[name], 0.0, 1.0
            if name in FREE:
                beta = decay
                ratio = np.sqrt((w**2).sum()) / (np.sqrt((g**2).sum()) + beta * np.sqrt((w**2).sum()))
            v[name] = momentum * v[name] + rate * trust * ratio * (g + beta * w)
            p[name] = w - v[name]
    return p


def slow_lamb(b1: float, b2: float, eps: float, decay: float, clamp: Any, correct: bool) -> dict[str, np.ndarray]:
    p = named(START)
    m, v = ({name: np.zeros_like(leaf) for name, leaf in p.items()} for _ in range(2))
    for t, rate in enumerate(RATES, start=1):
        for name, g in slow_gradient(p).items():
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            by = (1 - b1**t, 1 - b2**t) if correct else (1, 1)
            r, ratio = (m[name] / by[0]) / (np.sqrt(v[name] / by[1]) + eps), 1.0
            if name in FREE:
                r = r + decay * p[name]
                size = np.sqrt((p[name] ** 2).sum())
                phi = size if clamp is None else min(max(size, clamp[0]), clamp[1])
                ratio = phi / np.sqrt((r**2).sum())
            p[name] = p[name] - rate * ratio * r
    return p


LAMBS = {"paper": (None, True), "clamped": ((0.5, 1.5), True), "uncorrected": (None, False)}


def descend(make: Any) -> dict[str, np.ndarray]:
    """`RATES` one after the other, the rate a traced number."""
    params = single(START)
    state = jax.jit(make(0.0).init)(params)

    @jax.jit
    def step(params: Any, state: Any, rate: Any) -> Any:
        updates, state = make(rate).update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for rate in RATES:
        params, state = step(params, state, np.float32(rate))
    return named(params)


usual = cache(descend)
"""With constants at their defaults."""


def test_lars_is_its_reference_over_five_updates_of_changing_rate():
    found = descend(lambda rate: lars(rate, momentum=0.8, weight_decay=0.1, trust_coefficient=0.05))
    expected = slow_lars(0.8, 0.1, 0.05)
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", LAMBS)
def test_lamb_is_its_reference_over_five_updates(kind: str):
    clamp, correct = LAMBS[kind]
    expected = slow_lamb(0.7, 0.9, 1e-3, 0.1, clamp, correct)
    options = {"b1": 0.7, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.1, "clamp": clamp, "bias_correction": correct}
    found = descend(lambda rate: lamb(rate, **options))
    for name, leaf in expected.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-5, atol=1e-5, err_msg=name)


def test_without_exclusions_or_clamp_lamb_is_optaxs():
    params = single(START)
    gradient = slope(params)
    ours, theirs = lamb(0.1, excluded=none_excluded), optax.lamb(0.1, weight_decay=0.01)
    one, other = (first(each, params, gradient) for each in (ours, theirs))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), one, other)


def test_excluded_layers_under_lamb_are_plain_adam():
    params = single(START)
    gradient = slope(params)
    ours = first(lamb(0.1, weight_decay=0.5, excluded=lambda path, layer: True), params, gradient)
    theirs = first(optax.adam(0.1, eps=1e-6), params, gradient)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), ours, theirs)


@pytest.mark.parametrize("make", [lars, lamb])
def test_a_stack_is_its_layers_apart(make: Any):
    """Biases in a stack have rank two, and are excluded all the same."""
    rng = np.random.default_rng(1)
    layers, *gradients = ([{"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3)} for _ in range(3)] for _ in range(3))

    def stack(trees: Any) -> Any:
        return jax.tree.map(lambda *leaves: np.stack(single(leaves)), *trees)

    @partial(jax.jit, static_argnames="stacked")
    def second(params: Any, one: Any, other: Any, stacked: bool) -> Any:
        """The second update."""
        transformation = make(0.1, stacked_axes={"w": 0, "b": 0} if stacked else None)
        _, state = transformation.update(one, transformation.init(params), params)
        return transformation.update(other, state, params)[0]

    found = second(*map(stack, (layers, *gradients)), stacked=True)
    apart = [second(*single(each), stacked=False) for each in zip(layers, *gradients, strict=True)]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), found, stack(apart))


def test_what_is_excluded_by_rank_and_by_name():
    def excluded(path: str, *shape: int) -> bool:
        return norm_or_bias(path, jax.ShapeDtypeStruct(shape, jnp.float32))

    assert excluded("w", 4) and excluded("w") and not excluded("w", 4, 4)
    names = ("blocks.0.bias", "norm.weight", "LayerNorm_0.w", "batch_norm1.x", "head.scale", "x.offset", "b", "x.gamma")
    assert all(excluded(name, 2, 4, 4) for name in names)
    kept = ("bias.weight", "blocks.0.weight", "rescale", "embedding", "transform.w", "beta.kernel")
    assert not any(excluded(name, 4, 4) for name in kept)


@pytest.mark.parametrize("make", [partial(lars, trust_coefficient=1.0), lamb])
def test_zero_weights_move_and_zero_gradients_do_no_harm(make: Any):
    zero, ones = jnp.zeros((2, 2)), jnp.ones((2, 2))
    assert (first(make(0.1, weight_decay=0.0), zero, ones) < 0).all()
    assert not first(make(0.1, weight_decay=0.0), ones, zero).any()
    assert not first(make(0.1, weight_decay=0.1), zero, zero).any()


@pytest.mark.parametrize("make", [lars, lamb])
def test_narrow_parameters_stay_narrow(make: Any):
    w = jnp.ones((2, 2), jnp.bfloat16)
    step = make(0.1)
    begun = jax.eval_shape(step.init, w)
    update, state = jax.eval_shape(step.update, w, begun, w)
    assert update.dtype == jnp.bfloat16
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, begun)


@pytest.mark.parametrize("make", [lars, lamb])
def test_optax_gives_it_a_schedule(make: Any):
    """The rate of each update is that of the schedule, inside the momentum."""
    schedule = lambda count: jnp.asarray(RATES, jnp.float32)[count]  # noqa: E731
    words = ("excluded", "stacked_axes") + (("clamp", "bias_correction") if make is lamb else ())
    scheduled, params = optax.inject_hyperparams(make, static_args=words)(schedule), single(START)
    state = jax.jit(scheduled.init)(params)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, state = scheduled.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in RATES:
        params, state = step(params, state)
    for name, leaf in usual(make).items():
        np.testing.assert_allclose(named(params)[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)


def as_the_step_does(optimizer: Optimizer, rate: Any) -> optax.GradientTransformation:
    inner = optimizer.make({**optimizer.hyper, "lr": rate, "dropout": 0.1})

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        steps, state = inner.update(updates, state, params)
        return jax.tree.map(lambda step: rate * step, steps), state

    return optax.GradientTransformation(inner.init, update)


@pytest.mark.parametrize("name", ["lars_paper", "lamb_paper"])
def test_by_name_the_rate_of_the_update_is_inside(name: str):
    """The step multiplies what it gets by the rate in force: then it is the transformation at that rate."""
    optimizer = optimizer_named(name)
    make = lars if name == "lars_paper" else lamb

    found = descend(partial(as_the_step_does, optimizer))
    for leaf, value in usual(make).items():
        np.testing.assert_allclose(found[leaf], value, rtol=1e-5, atol=1e-6)


def test_a_rate_of_zero_moves_nothing_and_is_finite():
    make = optimizer_named("lars_paper").make
    inner = make({**optimizer_named("lars_paper").hyper, "lr": jnp.float32(0)})
    assert not first(inner, jnp.ones((2, 2)), jnp.ones((2, 2))).any()


def test_options_that_are_no_numbers_come_with_the_optimizer():
    stacked = layerwise_named("lamb_paper", stacked_axes={"w": 0}, clamp=(0.0, 2.0))
    optimizer = optimizer_named(stacked, {"weight_decay": 0.0})
    assert optimizer.hyper["weight_decay"] == 0.0
    w, g = {"w": np.float32([[[5.0, 0.0]], [[0.0, 0.1]]])}, {"w": np.float32([[[1.0, 0.0]], [[0.0, 1.0]]])}
    update = first(optimizer.make({**optimizer.hyper, "lr": 1.0}), w, g)["w"]
    np.testing.assert_allclose(-update, [[[2.0, 0.0]], [[0.0, 0.1]]], rtol=1e-4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: lars(1.0, stacked_axes={"u": 0}).init({"w": W}), "stacked_axes must name leaves; got 'u'.*known: w"),
        (lambda: lamb(1.0, stacked_axes={"w": 1}).init({"w": W}), "stacked_axes must be an axis of w; got 1"),
        (lambda: lamb(1.0, clamp=(2.0, 1.0)), r"clamp must be \(low, high\) with 0 <= low <= high"),
        (lambda: lamb(1.0, clamp=10.0), r"clamp must be \(low, high\)"),  # type: ignore[arg-type]
        (lambda: lars(1.0).update(W, lars(1.0).init(W)), "params must be given to the update"),
        (lambda: layerwise_named("lars"), "name must be 'lars_paper' or 'lamb_paper'; got 'lars'"),
        (lambda: layerwise_named("lars_paper", clamp=(0, 1)), "options must be of lars_paper; got 'clamp'"),
        (lambda: layerwise_named("lamb_paper", clamp=(-1, 1)), "clamp must be"),
        (lambda: optimizer_named("lars_paper", {"b1": 0.9}), r"hyper\['b1'\] must be a constant of lars_paper"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    "name, rule",
    [
        ("lars_paper", partial(lars, weight_decay=5e-4)),
        # The test below has these two.
        pytest.param("lars", partial(optax.lars, weight_decay=1e-4), marks=pytest.mark.long),
        ("lamb_paper", lamb),
        pytest.param("momentum", partial(optax.sgd, momentum=0.9), marks=pytest.mark.long),
        ("nesterov", partial(optax.sgd, momentum=0.9, nesterov=True)),
        ("adamw", optax.adamw),
    ],
)
def test_a_rate_that_falls_during_a_run_falls_where_the_rule_has_it(name: str, rule: Any):
    """Four updates by the engine at falling factors are four of the transformation at those rates: for LARS inside the
    momentum."""
    follow(name, rule, (1.0, 0.5, 0.1, 0.0625))


@pytest.mark.parametrize(
    "name, rule",
    [
        ("lars", partial(optax.lars, weight_decay=1e-4)),
        ("lars_paper", partial(lars, weight_decay=5e-4)),
        ("lamb", partial(optax.lamb, eps=1e-6)),
        ("momentum", partial(optax.sgd, momentum=0.9)),
    ],
)
def test_a_schedule_that_is_zero_at_first_and_later_is_the_transformations(name: str, rule: Any):
    """At a rate of zero LARS goes on by its momentum, as optax has it: what was put in at earlier rates."""
    follow(name, rule, (0.0, 1.0, 0.5, 0.0, 0.0, 0.25), by_schedule=True)


def test_a_probe_at_a_factor_of_zero_moves_nothing():
    step, feed = CompiledStep(fakes.OBJECTIVE, optimizer_named("lars")), fakes.feed_of("resident")
    state, spec, cursor = step.init(0), BatchSpec(fakes.N, fakes.N), feed.start()
    seen = []
    for factor in (1.0, 0.0):
        draw, cursor = feed.draw(cursor, spec)
        state, _ = step(state, draw, spec, factor)
        seen.append(fakes.flat(state.params))
    np.testing.assert_array_equal(*seen)


def follow(name: str, rule: Any, factors: tuple[float, ...], by_schedule: bool = False) -> None:
    """Updates by the engine at rates 2 * factors, against those of the transformation `rule(rate)`."""
    table = jnp.asarray(factors)
    schedule = {"rate": lambda drawn: table[jnp.int32(drawn) // fakes.N]} if by_schedule else {}
    step, feed = CompiledStep(fakes.OBJECTIVE, optimizer_named(name), **schedule), fakes.feed_of("resident")
    state, cursor = step.init(0, {"lr": 2.0}), feed.start()
    params, inner = fakes.OBJECTIVE.init(jax.random.key(0))[0], None
    for factor in factors:
        at_rate = rule(2 * factor)
        inner = at_rate.init(params) if inner is None else inner
        draw, cursor = feed.draw(cursor, BatchSpec(fakes.N, fakes.N))
        state, _ = step(state, draw, BatchSpec(fakes.N, fakes.N), 1.0 if by_schedule else factor)
        gradient = jax.grad(lambda p: jnp.mean(fakes.loss(p, fakes.SOURCE.tree)))(params)
        moved, inner = at_rate.update(gradient, inner, params)
        params = optax.apply_updates(params, moved)
    np.testing.assert_allclose(fakes.flat(state.params), fakes.flat(params), rtol=1e-4, atol=1e-5)
