"""Adam's running averages where its betas change in the middle of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax


def kept(opt_state: Any, old: Mapping[str, jax.Array], new: Mapping[str, jax.Array]) -> Any:
    """`opt_state` whose averages, divided by 1 - b^t with the new betas, are what they were with the old ones.

        mu <- mu (1 - b1_new^t) / (1 - b1_old^t),   nu <- nu (1 - b2_new^t) / (1 - b2_old^t),   t the updates so far

    Adam corrects its averages as if b had been the same from the start. Left as they are, the first steps after b2 fell
    would be too large by the root of that quotient, and those after it rose too small. LAMB without its correction
    (`bias_correction=False`) keeps the same state and is treated the same: there the quotient, soon 1, is an error.

    >>> state = optax.scale_by_adam().init(jnp.zeros(2))._replace(count=jnp.int32(10), nu=jnp.ones(2))
    >>> betas = {"b1": jnp.float32(0.9), "b2": jnp.float32(0.99)}
    >>> round(float(kept(state, betas, {**betas, "b2": jnp.float32(0.9)}).nu[0]), 2)
    6.81
    """

    def part(held: Any) -> Any:
        if not isinstance(held, optax.ScaleByAdamState):  # Others that have betas do not correct their averages.
            return held
        count = jnp.asarray(held.count, jnp.float32)
        moved = {name: _moved(getattr(held, name), old[beta], new[beta], count) for name, beta in AVERAGES.items()}
        return held._replace(**moved)

    return jax.tree.map(part, opt_state, is_leaf=lambda held: isinstance(held, optax.ScaleByAdamState))


AVERAGES = {"mu": "b1", "nu": "b2"}
"""The averages of Adam and the constants that they decay by."""


def _moved(average: Any, old: jax.Array, new: jax.Array, count: jax.Array) -> Any:
    quotient = jnp.where(count > 0, (1 - new**count) / jnp.where(count > 0, 1 - old**count, 1), 1)
    return jax.tree.map(lambda leaf: leaf * quotient.astype(leaf.dtype), average)
