"""Evaluation: exact means over any number of examples, at a batch size of its own, with the model in eval mode."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.errors import ArgumentError, must
from ladle.core.observation import means
from ladle.jax.mesh import Layout
from ladle.jax.objective import Objective, checked_losses
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State


class Evaluator:
    """Means of loss and metrics over a part of the data, and predictions.

    `rows` is the only compiled size: the ragged tail is masked, so every example counts once and equally.
    """

    def __init__(self, objective: Objective, layout: Layout, rows: int = 1024) -> None:
        self.objective = objective
        self.layout = layout
        self.rows = layout.rows(rows)
        self._sums = jax.jit(self._trace_sums, static_argnames="rows")
        self._predict = jax.jit(self._trace_predict)

    def __call__(self, state: State, data: Any, prefix: str = "valid_") -> dict[str, float]:
        """`{prefix + "loss": ..., prefix + metric: ...}` over all examples of `data` (on the device or the host)."""
        count = _count(data)
        rows = min(self.rows, self.layout.rows(count))
        sums = np.asarray(self._sums(state.params, state.model_state, data, rows=rows), np.float64)
        loss, *own = sums.tolist()
        metrics = means(dict(zip(self.objective.metrics, own, strict=True)), count)
        return {prefix + "loss": loss / count, **{prefix + name: value for name, value in metrics.items()}}

    def predict(self, state: State, x: Any) -> np.ndarray:
        """Outputs for every row of `x`, in order; at most `rows` of them on the device at a time.

        Raises `ArgumentError` where there is no row, or the objective has no `predict`.
        """
        if self.objective.predict is None:
            raise ArgumentError(must("predict", "be given", None, "outputs are asked for", "predict=..."))
        x = jax.tree.map(np.asarray, x)
        count = _count(x)
        rows, parts = min(self.rows, count), []
        for first in range(0, count, rows):
            part = jax.tree.map(lambda leaf: _padded(leaf[first : first + rows], rows), x)  # noqa: B023
            parts.append(np.asarray(self._predict(state.params, state.model_state, part))[: count - first])
        return np.concatenate(parts)

    def _trace_sums(self, params: Any, model_state: Any, data: Any, *, rows: int) -> jax.Array:
        count = jax.tree.leaves(data)[0].shape[0]
        lane = jnp.arange(rows, dtype=jnp.int32)

        def add(step, sums):
            place = self.layout.spread(step * rows + lane)
            weight = (place < count).astype(jnp.float32)
            place = jnp.minimum(place, count - 1)
            part = jax.tree.map(lambda leaf: leaf.at[place].get(mode="promise_in_bounds"), data)
            # Evaluation draws nothing at random; the fixed key only serves losses that insist on one.
            keys = jnp.broadcast_to(jax.random.key(0), (rows,))
            batch = MicroBatch(part, weight, keys)
            losses, metrics, _ = checked_losses(self.objective, params, model_state, batch, False)
            columns = (losses, *(metrics[name] for name in self.objective.metrics))
            return sums + jnp.stack([jnp.sum(column.astype(jnp.float32) * weight) for column in columns])

        start = jnp.zeros(1 + len(self.objective.metrics), jnp.float32)
        return lax.fori_loop(0, -(-count // rows), add, start)

    def _trace_predict(self, params: Any, model_state: Any, x: Any) -> Any:
        return self.objective.predict(params, model_state, x)  # type: ignore[misc]


def _padded(rows: np.ndarray, count: int) -> np.ndarray:
    """`rows` repeated at the end up to `count` rows."""
    return rows if len(rows) == count else np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), 0)])


def _count(tree: Any) -> int:
    count = jax.tree.leaves(tree)[0].shape[0]
    if count < 1:
        raise ArgumentError(must("rows", "be at least 1", count, "a mean of nothing is no number", "more rows"))
    return count
