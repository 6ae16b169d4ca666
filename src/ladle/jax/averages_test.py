"""A change of Adam's betas in the middle of a run, against a gradient that never changes: every step is of the rate."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ladle.jax.averages import kept

GRADIENT = jnp.array([0.3, -2.0])


def steps(betas: list[dict[str, float]], updates: int, keep: bool = True) -> np.ndarray:
    """`f32[len(betas), 2]`: the first step under each pair of betas, `updates` updates apart."""
    state, first, before = optax.scale_by_adam().init(GRADIENT), [], None
    for values in betas:
        now = {name: jnp.float32(value) for name, value in values.items()}
        if keep and before is not None:
            state = kept(state, before, now)
        found = []
        for _ in range(updates):
            with jax.numpy_dtype_promotion("standard"):  # as in an update
                step, state = optax.scale_by_adam(**now, eps=0.0).update(GRADIENT, state)
            found.append(step)
        first.append(found[0])
        before = now
    return np.array(first)


@pytest.mark.parametrize("b2", [(0.99, 0.92), (0.92, 0.99)])
def test_a_constant_gradient_is_stepped_along_by_one_before_and_after(b2: tuple[float, float]) -> None:
    betas = [{"b1": 0.9, "b2": b2[0]}, {"b1": 0.6, "b2": b2[1]}]
    np.testing.assert_allclose(steps(betas, 20), np.sign([GRADIENT, GRADIENT]), rtol=1e-4)
    assert np.abs(np.abs(steps(betas, 20, keep=False)[1]) - 1).min() > 0.3, "the test can tell"


def test_nothing_moves_before_the_first_update_or_without_a_change() -> None:
    begun = optax.scale_by_adam().init(GRADIENT)
    one, other = ({"b1": jnp.float32(b), "b2": jnp.float32(b)} for b in (0.9, 0.5))
    assert (kept(begun, one, other).nu == begun.nu).all()
    state = begun._replace(count=jnp.int32(3), nu=GRADIENT**2)
    assert (kept(state, one, one).nu == state.nu).all()


def test_averages_that_are_not_corrected_stay() -> None:
    state = optax.scale_by_lion().init(GRADIENT)
    assert kept(state, {"b1": 0.9, "b2": 0.99}, {"b1": 0.5, "b2": 0.5}) == state
