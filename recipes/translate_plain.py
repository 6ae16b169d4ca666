"""What `translate.py` is held against: the same net, rows and rate in a loop of one's own, with Optax."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from translate import rate, word_losses

import ladle


def plain(task: ladle.Task, size: int, epochs: int, seed: int) -> tuple[Any, float]:
    """The same net in a loop of one's own, with Optax: every batch full, the mean over its words."""
    rows = {name: jnp.asarray(of) for name, of in task.data.train.items()}
    count = len(rows["x"])
    params = task.model.init(jax.random.key(seed))
    updates = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(lambda step: rate(count, step * size)))

    def mean(params: Any, batch: Any, key: jax.Array) -> jax.Array:
        return word_losses(params, batch, key).sum() / (batch["y"] > 0).sum().astype(jnp.float32)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, ids: jax.Array, key: jax.Array) -> Any:
        gradient = jax.grad(mean)(params, {name: of[ids] for name, of in rows.items()}, key)
        change, state = updates.update(gradient, state, params)
        return optax.apply_updates(params, change), state

    state, draw, began = updates.init(params), np.random.default_rng(seed), time.perf_counter()
    for epoch in range(epochs):
        order = draw.permutation(count)
        for at in range(0, count - size + 1, size):
            key = jax.random.fold_in(jax.random.key(seed), epoch * count + at)
            params, state = update(params, state, order[at : at + size], key)
    return jax.block_until_ready(params), time.perf_counter() - began
