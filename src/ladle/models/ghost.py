"""Ghost batch norm as a layer for Equinox modules."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from ladle.models.layers import checked_counts
from ladle.models.norm import (
    batch_norm,
    batch_norm_init,
    checked_ghost_size,
    in_chunks,
    normalised,
    statistics,
    updated,
)


class GhostNorm(eqx.Module):
    """Batch norm over runs of `ghost_size` examples, in the place of `eqx.nn.BatchNorm`.

    **Arguments**

    - `size`: channels, the first axis of an example's values `[size, ...]`.
    - `ghost_size`: examples that are normalised together, at least 2.
    - `axis_name`: the `vmap` axis of examples; the same in every norm of a module.

    Called as `outputs, state = norm(x, state)`. In training it normalises as `ladle.models.norm.batch_norm` does, and
    in inference with the running averages, whatever `ghost_size` is. Weights of examples are not known in here: rows
    that fill up a micro-batch are copies of its real ones, and count.

    Hoffer, Hubara and Soudry 2017, arXiv 1705.08741.

    **Raises** `ArgumentError` for sizes that are no such counts.

    >>> norm, state = eqx.nn.make_with_state(GhostNorm)(3, ghost_size=2)
    >>> x = jnp.array([[1.0], [3.0], [7.0], [7.0]]) * jnp.ones((1, 3))
    >>> outputs, state = jax.vmap(norm, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(x, state)
    >>> outputs[:, 0].round(3).tolist()
    [-1.0, 1.0, 0.0, 0.0]
    """

    weight: jax.Array
    bias: jax.Array
    running: eqx.nn.StateIndex
    inference: bool
    size: int = eqx.field(static=True)
    ghost_size: int = eqx.field(static=True)
    axis_name: Hashable = eqx.field(static=True)

    def __init__(self, size: int, ghost_size: int, axis_name: Hashable = "batch", inference: bool = False) -> None:
        (self.size,) = checked_counts("size", (size,))
        self.ghost_size = checked_ghost_size(True, ghost_size) or 0
        self.axis_name, self.inference = axis_name, inference
        self.weight, self.bias = jnp.ones(self.size), jnp.zeros(self.size)
        self.running = eqx.nn.StateIndex(batch_norm_init(self.size))

    def __call__(self, x: jax.Array, state: eqx.nn.State, *, key: Any = None) -> tuple[jax.Array, eqx.nn.State]:
        """`x`: `[size, ...]`, one example. `key` is not used."""
        last, running = jnp.moveaxis(x, 0, -1)[None], state.get(self.running)
        if self.inference:
            outputs, _ = batch_norm(last, running, jnp.ones(1), train=False)
        else:
            batches, any_real = self._statistics(last[0])
            mine = jax.tree.map(lambda leaf: leaf[lax.axis_index(self.axis_name) // self.ghost_size], batches)
            outputs = normalised(last, mine["mean"], mine["variance"])
            state = state.set(self.running, updated(running, batches, any_real))
        outputs = jnp.moveaxis(outputs[0], -1, 0)
        ones = (1,) * (x.ndim - 1)
        return outputs * self.weight.reshape(-1, *ones) + self.bias.reshape(-1, *ones), state

    def _statistics(self, x: jax.Array) -> tuple[Any, jax.Array]:
        """Of each ghost, from the examples of all lanes: no lane's own, so computed once."""
        everyone = lax.all_gather(x, self.axis_name)
        chunks = in_chunks(everyone, self.ghost_size)
        return jax.vmap(statistics)(chunks, in_chunks(jnp.ones(len(everyone)), self.ghost_size))
