"""Inner products and norms of trees, whichever way a processor takes them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.jax.vector import BY_ROWS, WIDE, inner, squared_norm, squared_norm_by_rows

SHAPES = [(), (0,), (7,), (3, WIDE - 1), (3, WIDE), (2, 5, WIDE), (BY_ROWS // 512, 512), (BY_ROWS // 512 + 1, 512)]


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_a_norm_is_the_sum_of_squares_in_float32(kind):
    draw = np.random.default_rng(0)
    tree = [jnp.asarray(draw.standard_normal(shape), kind) for shape in SHAPES]
    expected = [np.square(np.asarray(leaf, np.float64)).sum() for leaf in tree]
    for norm in (squared_norm, squared_norm_by_rows):
        found = jax.jit(lambda tree, norm=norm: [norm([leaf]) for leaf in tree])(tree)
        assert {one.dtype for one in found} == {jnp.dtype("float32")}
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        np.testing.assert_allclose(jax.jit(norm)(tree), sum(expected), rtol=1e-5)


def test_a_value_that_is_not_finite_is_seen_in_any_row():
    for width in (WIDE - 1, WIDE):
        leaf = np.ones((4, width), np.float32)
        leaf[2, -1] = np.nan
        assert np.isnan(squared_norm_by_rows({"a": leaf, "b": np.ones(3)}))


def test_the_inner_product_of_trees():
    one, other = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.float32(2)}, {"a": jnp.ones((2, 3)), "b": jnp.float32(5)}
    assert inner(one, other) == 15 + 10
