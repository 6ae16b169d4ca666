"""Losses and metrics of a part of the data, walked in chunks of compiled rows with the model in eval mode.

One walk for all who judge: means over a part (`evaluate`), the loss of every example (`example_loss`), the rows that a
fold leaves out (`trials`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.observation import means
from ladle.jax.mesh import Layout
from ladle.jax.objective import Objective, checked_losses
from ladle.jax.rows import MicroBatch, taken
from ladle.jax.shard import over


@dataclass(frozen=True)
class Judged:
    """What judging means: which losses and metrics, and the devices that share a chunk."""

    objective: Objective
    layout: Layout

    @classmethod
    def over(cls, objective: Objective, layout: Layout) -> Judged:
        """As far as judging reads an objective, with parameters as the layout has them."""
        return cls(over(objective.applied(), layout), layout)


class Chunks(NamedTuple):
    """Which rows: `ids`, `u32[chunks, rows]`, and their `weight`, `f32[chunks, rows]`, 0 for those past the last.

    These repeat the last row, so that a model with batch statistics does not see made-up examples.
    """

    ids: Any
    weight: Any

    @classmethod
    def of(cls, count: Any, chunks: int, rows: int, xp: Any = jnp) -> Chunks:
        """Rows `0 .. count` in so many chunks; in NumPy with `xp=numpy`.

        >>> import numpy as np
        >>> Chunks.of(3, 2, 2, np).ids.tolist(), Chunks.of(3, 2, 2, np).weight.tolist()
        ([[0, 1], [2, 2]], [[1.0, 1.0], [1.0, 0.0]])
        """
        place = xp.arange(chunks * rows, dtype=xp.uint32).reshape(chunks, rows)
        return cls(xp.minimum(place, xp.uint32(count - 1)), (place < xp.uint32(count)).astype(xp.float32))

    @classmethod
    def over(cls, data: Any, rows: int) -> Chunks:
        """All rows of `data`."""
        count = jax.tree.leaves(data)[0].shape[0]
        return cls.of(count, -(-count // rows), rows)


def sums(judged: Judged, params: Any, model_state: Any, data: Any, chunks: Chunks) -> jax.Array:
    """Sums of the loss and of each metric over the rows of `chunks`, `f32[1 + metrics]`."""

    def add(total: jax.Array, chunk: Chunks) -> tuple[jax.Array, None]:
        columns, weight = _columns(judged, params, model_state, data, chunk)
        return total + jnp.stack([jnp.sum(column.astype(jnp.float32) * weight) for column in columns]), None

    return lax.scan(add, jnp.zeros(1 + len(judged.objective.metrics), jnp.float32), chunks)[0]


def losses(judged: Judged, params: Any, model_state: Any, data: Any, chunks: Chunks) -> jax.Array:
    """The loss of every row of `chunks`, `f32[chunks * rows]`: those past the last too."""

    def part(chunk: Chunks) -> jax.Array:
        (loss, *_), _ = _columns(judged, params, model_state, data, chunk)
        return loss.astype(jnp.float32)

    return lax.map(part, chunks).reshape(-1)


def reading(objective: Objective, sums: Any, count: float, prefix: str) -> dict[str, float]:
    """`{prefix + "loss": ..., prefix + metric: ...}` from `sums` over `count` examples: the one division."""
    loss, *own = np.asarray(sums, np.float64).tolist()
    metrics = means(dict(zip(objective.metrics, own, strict=True)), count)
    return {prefix + "loss": loss / count, **{prefix + name: value for name, value in metrics.items()}}


def _columns(
    judged: Judged, params: Any, model_state: Any, data: Any, chunk: Chunks
) -> tuple[list[jax.Array], jax.Array]:
    """The losses of one chunk, then each metric's values, and the weights of its rows."""
    objective, layout = judged.objective, judged.layout
    ids, weight = layout.spread(chunk.ids), layout.spread(chunk.weight)
    # Judging draws nothing at random; the fixed key only serves losses that insist on one.
    keys = jnp.broadcast_to(jax.random.key(0), ids.shape)
    rows = MicroBatch(taken(data, ids), weight, keys)
    loss, metrics, _ = checked_losses(objective, params, model_state, rows, False)
    return [loss, *(metrics[name] for name in objective.metrics)], weight
