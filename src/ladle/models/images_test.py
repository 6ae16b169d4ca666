from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ladle.core.errors import ArgumentError
from ladle.models import convnet, default_for
from ladle.models.images import convolve, pool


def test_convolution_against_a_slow_one() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(2, 5, 4, 3)).astype(np.float32), rng.normal(size=(3, 3, 3, 2)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 5, 4, 2), np.float32)
    for row in range(5):
        for column in range(4):
            expected[:, row, column] = np.tensordot(padded[:, row : row + 3, column : column + 3], weight, 3)
    np.testing.assert_allclose(convolve(jnp.asarray(x), jnp.asarray(weight)), expected, rtol=1e-4, atol=1e-5)


def test_the_product_form_and_its_gradients_are_those_of_the_library() -> None:
    x, weight = (jax.random.normal(jax.random.key(n), shape) for n, shape in enumerate([(2, 6, 5, 3), (3, 3, 3, 4)]))

    def library(x: jax.Array, weight: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda x, w, f=f: jnp.sum(jnp.sin(f(x, w))), (0, 1)))(x, weight)
        for f in (convolve, library)
    )
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (1, 5, 7, 2)])
def test_pooling_and_its_gradient_equal_a_window_reduction(shape: tuple[int, ...]) -> None:
    x = jax.random.normal(jax.random.key(0), shape)

    def window(x: jax.Array) -> jax.Array:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    np.testing.assert_array_equal(pool(x), window(x))
    ours, theirs = (jax.jit(jax.grad(lambda x, f=f: jnp.sum(jnp.sin(f(x)))))(x) for f in (pool, window))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        ((4, 4), 1 * 1 * 8),
        ((8, 8), 2 * 2 * 8),
        ((15, 30), 3 * 7 * 8),
        ((28, 28, 1), 3 * 3 * 16),
        ((32, 16, 3), 4 * 2 * 16),
    ],
)
def test_head_fits_what_the_blocks_leave(shape: tuple[int, ...], features: int) -> None:
    model = convnet(shape, 5, width=4)

    def forward(key):
        params, state = model.init(key)
        x = jnp.ones((2, *shape))
        return params, model.apply(params, state, x, keys=None, weight=jnp.ones(2), train=False)[0]

    params, outputs = jax.eval_shape(forward, jax.random.key(0))
    assert params["head"]["weight"].shape == (features, 5)
    assert outputs.shape == (2, 5)


def test_a_last_axis_of_one_channel_may_be_left_out() -> None:
    model = convnet((8, 8), 3, width=2)
    params, state = model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    flat, deep = (
        model.apply(params, state, v, keys=None, weight=jnp.ones(4), train=False)[0] for v in (x, x[..., None])
    )
    np.testing.assert_array_equal(flat, deep)
    assert convnet((8, 8, 1), 3, width=2) == model


def test_padding_rows_change_nothing_under_batch_norm() -> None:
    model = convnet((8, 8), 3, width=2, batch_norm=True)
    params, state = model.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(6, 8, 8)).astype(np.float32)
    junk = np.concatenate([x, np.full((2, 8, 8), 1e6, np.float32)])
    weight = np.array([1.0] * 6 + [0.0] * 2, np.float32)
    apply = jax.jit(partial(model.apply, params, state, keys=None, train=True))
    outputs, after = apply(x, weight=np.ones(6, np.float32))
    padded, after_padded = apply(junk, weight=weight)
    np.testing.assert_allclose(padded[:6], outputs, rtol=1e-4, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), after, after_padded)


@pytest.mark.parametrize("seed", [0, 1])
def test_compiled_gradient_behind_batch_norm_is_the_slope(seed: int) -> None:
    """With padding rows, where pooling by `.max((2, 4))` gave gradients off by percents once compiled."""
    model = convnet((8, 8), 3, width=2, batch_norm=True)
    params, state = model.init(jax.random.key(seed))
    rng, step = np.random.default_rng(0), 1e-6
    x = np.concatenate([rng.normal(size=(6, 8, 8)), np.zeros((2, 8, 8))])
    weight = np.array([1.0] * 6 + [0.0] * 2)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    along = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
    with jax.enable_x64(True):

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            outputs, _ = model.apply(params, state, x, keys=None, weight=weight, train=True)
            return jnp.sum(jnp.sin(outputs) * weight[:, None])

        def at(h: float):
            return loss(jax.tree.map(lambda p, d: p + h * d, params, along))

        gradient = jax.tree.leaves(at(0.0)[1])
        slope = sum(np.vdot(g, d) for g, d in zip(gradient, jax.tree.leaves(along), strict=True))
        np.testing.assert_allclose(slope, (at(step)[0] - at(-step)[0]) / (2 * step), rtol=1e-5)


def test_batch_norm_is_not_additive() -> None:
    assert convnet((8, 8), 3).additive
    assert not convnet((8, 8), 3, batch_norm=True).additive


@pytest.mark.parametrize("shape", [(8,), (3, 8), (8, 8, 3, 1), (8, 0), (8, 8, 0)])
def test_shapes_that_are_no_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="input_shape must be"):
        convnet(shape, 3)


def test_table_rows_are_refused_on_the_command_line() -> None:
    with pytest.raises(ArgumentError, match="no neighbouring pixels; try model='mlp'"):
        default_for("convnet", input_shape=(13,), outputs=1, cardinalities=())


def test_images_of_another_shape_are_refused() -> None:
    model = convnet((8, 8), 3, width=2)
    params, state = model.init(jax.random.key(0))
    with pytest.raises(ArgumentError, match=r"x must be images of shape \(8, 8\)"):
        model.apply(params, state, np.ones((2, 64), np.float32), keys=None, weight=jnp.ones(2), train=False)
