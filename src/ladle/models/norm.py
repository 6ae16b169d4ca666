"""Batch norm that knows which rows are real, over a whole micro-batch or over ghosts: fixed numbers of its rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.errors import ArgumentError, must

EPSILON = 1e-5
MOMENTUM = 0.9
"""Share of the running averages that a batch as large as those before it leaves, once there were ten."""

FIRST = 10
"""Batches of which the running averages are plain means."""


def batch_norm_init(features: int) -> Any:
    """`{"mean": f32[features], "variance": f32[features], "updates": i32[], "rows": f32[]}` before any batch was seen.

    `rows`: how many rows the averages stand for, those of older batches counted less.
    """
    return {
        "mean": jnp.zeros(features, jnp.float32),
        "variance": jnp.ones(features, jnp.float32),
        "updates": jnp.zeros((), jnp.int32),
        "rows": jnp.zeros((), jnp.float32),
    }


def norm_name(batch_norm: bool, ghost_size: int | None) -> str:
    """What a model's name says of its norm: " batch norm", " ghost norm 32" or nothing."""
    if not batch_norm:
        return ""
    return " batch norm" if ghost_size is None else f" ghost norm {ghost_size}"


def checked_ghost_size(batch_norm: bool, ghost_size: Any) -> int | None:
    """`ghost_size` as a whole number of at least 2, or None. Raises `ArgumentError`."""
    if ghost_size is None:
        return None
    if not batch_norm:
        why = "it is how many rows batch norm takes together"
        raise ArgumentError(must("ghost_size", "come with batch_norm=True", ghost_size, why, "batch_norm=True"))
    if isinstance(ghost_size, bool) or not hasattr(ghost_size, "__index__") or ghost_size < 2:
        why = "one row has no variance"
        raise ArgumentError(must("ghost_size", "be a whole number of at least 2", ghost_size, why, "ghost_size=32"))
    return int(ghost_size)


def batch_norm(
    x: jax.Array, running: Any, weight: jax.Array, *, train: bool, ghost_size: int | None = None
) -> tuple[jax.Array, Any]:
    """`((x - mean) / sqrt(variance + 1e-5), running)` per feature, before any scale and shift.

    In training mean and variance are those of all places of the rows with `weight > 0`: padding has no say. How much a
    row weighs in the loss does not change them. They go into the running averages,

        rows = keep rows + n,  running += n / rows (batch - running),  keep = 1 for ten batches, then momentum

    for a batch of n real rows: the mean over the rows of the first ten batches, then an exponential average of batches
    weighted by their rows, so that short runs do not evaluate with their starting values, and the one row left at the
    end of a pass (whose variance is zero) counts as one row. Among equal batches that is the plain mean, then
    `running += (1 - momentum) (batch - running)`. Otherwise the running averages are used, and returned as they are.

    - `x`: `[examples, ..., features]`; `weight`: `f32[examples]`.
    - `ghost_size`: normalise each run of so many rows on its own (ghost batch norm), the last one shorter; None: all
      rows as one. Each run is then one batch for the running averages, in order. Evaluation does not depend on it.

    Ioffe and Szegedy 2015, algorithm 1; the variance is the biased one throughout (PyTorch's running one is n / (n - 1)
    times as large). Ghosts: Hoffer, Hubara and
    Soudry 2017, arXiv 1705.08741, algorithm 1.
    """
    if not train:
        return normalised(x, running["mean"], running["variance"]), running
    if ghost_size is None or ghost_size >= x.shape[0]:
        batch, count = statistics(x, weight)
        chunks = jax.tree.map(lambda leaf: leaf[None], (batch, count))
        return normalised(x, batch["mean"], batch["variance"]), updated(running, *chunks)
    parts, weights = (in_chunks(leaf, ghost_size) for leaf in (x, weight))
    batch, count = jax.vmap(statistics)(parts, weights)
    outputs = jax.vmap(normalised)(parts, batch["mean"], batch["variance"])
    return outputs.reshape(-1, *x.shape[1:])[: x.shape[0]], updated(running, batch, count)


def in_chunks(x: jax.Array, size: int) -> jax.Array:
    """`[examples, ...]` as `[chunks, size, ...]`, zeros behind the last example."""
    chunks = -(-x.shape[0] // size)
    padded = jnp.pad(x, [(0, chunks * size - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
    return padded.reshape(chunks, size, *x.shape[1:])


def statistics(x: jax.Array, weight: jax.Array) -> tuple[Any, jax.Array]:
    """`{"mean": [features], "variance": [features]}` of the rows with `weight > 0`, and their number, `i32[]`.

    In float32 whatever `x` is: sums of half precision would lose most of a batch.
    """
    x = x.astype(at_least_f32(x))
    axes = tuple(range(x.ndim - 1))
    real = lax.expand_dims((weight > 0), tuple(range(1, x.ndim)))
    count = jnp.sum(weight > 0, dtype=jnp.int32)
    places = count.astype(x.dtype) * (x.size // x.shape[0] // x.shape[-1])
    divisor = jnp.maximum(places, 1)
    mean = jnp.sum(jnp.where(real, x, 0), axes) / divisor
    centred = x - _last(mean, x.ndim)
    variance = jnp.sum(jnp.where(real, centred * centred, 0), axes) / divisor
    return {"mean": mean, "variance": variance}, count


def updated(running: Any, batches: Any, count: jax.Array) -> Any:
    """The running averages after `batches` (leaves `[chunks, features]`) of `count` real rows each, `i32[chunks]`.

    One after the other it is `running += rate_i (batch_i - running)`, rate_i = count_i / rows. At once: batch i has the
    share rate_i prod_{j > i} (1 - rate_j), and prod_j (1 - rate_j) is left of what was there. A batch without a real
    row changes nothing.
    """
    (updates, rows), rate = lax.scan(counted, (running["updates"], running["rows"]), count)
    left = jnp.flip(jnp.cumprod(jnp.flip(1 - rate)))
    share = rate * jnp.concatenate([left[1:], jnp.ones(1, jnp.float32)])
    batches = lax.stop_gradient(batches)

    def moved(now: jax.Array, new: jax.Array) -> jax.Array:
        # In differences, so that averages of what does not change stay as they are.
        return now + jnp.sum(share[:, None] * (new.astype(jnp.float32) - now[None]), 0)

    means = {name: moved(running[name], batches[name]) for name in ("mean", "variance")}
    return {**means, "updates": updates, "rows": rows}


def counted(so_far: tuple[jax.Array, jax.Array], count: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Updates and rows after one more batch of `count` rows, and its share in the average."""
    updates, rows = so_far
    new, any_real = count.astype(jnp.float32), count > 0
    # Subtracted, so that equal batches have whole numbers here, and the shares 1 / 1 to 1 / 10 exactly.
    gone = jnp.where(any_real & (updates >= FIRST), rows * (1 - MOMENTUM), 0)
    rows = rows - gone + new
    return (updates + any_real.astype(jnp.int32), rows), new / jnp.maximum(rows, 1)


def normalised(x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
    """In float32, then in the type of `x` again."""
    scale = lax.rsqrt(variance + EPSILON)
    kind = at_least_f32(x)
    centred = x.astype(kind) - _last(mean, x.ndim).astype(kind)
    return (centred * _last(scale, x.ndim).astype(kind)).astype(x.dtype)


def at_least_f32(x: jax.Array) -> Any:
    """The type in which `x` is averaged."""
    return x.dtype if x.dtype.itemsize > 4 else jnp.float32


def _last(values: jax.Array, rank: int) -> jax.Array:
    """`[features]` as `[1, ..., 1, features]`."""
    return lax.expand_dims(values, tuple(range(rank - 1)))
