from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.models import GhostNorm, from_equinox
from ladle.models.norm import batch_norm, batch_norm_init

ROWS = 7
X = np.random.default_rng(0).normal(1, 2, size=(ROWS, 3, 2, 2)).astype(np.float32)  # channels first, as in Equinox


class Normed(eqx.Module):
    norm: GhostNorm

    def __init__(self, key: jax.Array) -> None:
        self.norm = GhostNorm(3, ghost_size=3, axis_name="rows")

    def __call__(self, x: jax.Array, state: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        return self.norm(x, state)


def test_in_a_module_it_is_the_ghost_norm_of_the_built_in_models() -> None:
    """Outputs, their gradients, the running averages and evaluation; the last ghost holds one row of seven."""
    model = from_equinox(Normed)
    params, state = model.init(jax.random.key(0))
    assert not model.additive and model.norm_rows == 3 and sorted(params) == ["norm.bias", "norm.weight"]
    params = {**params, "norm.weight": jnp.array([1.0, 2.0, 3.0]), "norm.bias": jnp.array([0.0, 0.5, 1.0])}
    weight = jnp.ones(ROWS)

    def ours(x: jax.Array) -> Any:
        y, after = model.apply(params, state, x, keys=None, weight=weight, train=True)
        return jnp.sum(jnp.sin(y)), (y, after)

    def plain(x: jax.Array) -> Any:
        y, after = batch_norm(jnp.moveaxis(x, 1, -1), batch_norm_init(3), weight, train=True, ghost_size=3)
        shape = (1, 1, 1, 3)
        y = jnp.moveaxis(y * params["norm.weight"].reshape(shape) + params["norm.bias"].reshape(shape), -1, 1)
        return jnp.sum(jnp.sin(y)), (y, after)

    found, (y, after) = jax.jit(jax.grad(ours, has_aux=True))(X)
    expected, (wanted, running) = jax.jit(jax.grad(plain, has_aux=True))(X)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(y, wanted)
    close(found, expected)
    held = model.module(params, after)[1].get(model.module(params, after)[0].norm.running)
    jax.tree.map(close, held, running)
    alone = jax.jit(partial(model.apply, train=False))(params, after, X[:1], keys=None, weight=weight[:1])[0]
    mean, variance, scale, shift = (
        np.asarray(values)[:, None, None]
        for values in (running["mean"], running["variance"], params["norm.weight"], params["norm.bias"])
    )
    close(alone[0], (X[0] - mean) / np.sqrt(variance + 1e-5) * scale + shift)


class Mixed(eqx.Module):
    one: GhostNorm
    two: eqx.nn.BatchNorm

    def __call__(self, x: jax.Array, state: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        return x, state


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: GhostNorm(3, ghost_size=1), "ghost_size must be a whole number of at least 2; got 1"),
        (lambda: GhostNorm(0, ghost_size=2), "size must be whole numbers, each at least 1"),
        (
            lambda: from_equinox(Mixed(GhostNorm(3, 2, axis_name="rows"), eqx.nn.BatchNorm(3, "batch", mode="batch"))),
            r"axis_name must be the same in every BatchNorm; got \['batch', 'rows'\]",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        make()
