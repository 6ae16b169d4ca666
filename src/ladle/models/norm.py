"""The norms of the built-in models: over the rows of a batch, or over the values of one example.

Batch norm knows which rows are real, over a whole micro-batch or over ghosts: fixed numbers of its rows. Layer, group
and RMS norm take each example by itself: the loss stays a sum over examples, however a batch is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from ladle.core.errors import ArgumentError, must
from ladle.core.norms import checked_norm

EPSILON = 1e-5
MOMENTUM = 0.9
"""Share of the running averages that a batch as large as those before it leaves, once there were ten."""

FIRST = 10
"""Batches of which the running averages are plain means."""

Kind = Literal["batch", "layer", "group", "rms"]


@dataclass(frozen=True)
class Norm:
    """Which norm the hidden layers of a built-in model have. Equal values are equal norms.

    - `kind`: "batch", "layer", "group", "rms" or None. `ghost_size`: of batch norm. `groups`: of group norm.

    Called as `h, running = norm(x, running, weight, train=...)`, before a scale and a shift for each feature;
    `running` is None but for batch norm.
    """

    kind: str | None = None
    ghost_size: int | None = None
    groups: int | None = None

    @property
    def over_batch(self) -> bool:
        """Whether an example's values depend on the others in its batch."""
        return self.kind == "batch"

    @property
    def rows(self) -> int | None:
        """Rows normalised together, 0 for a whole micro-batch; None where each example stands alone."""
        return (self.ghost_size or 0) if self.over_batch else None

    @property
    def name(self) -> str:
        """What a model's name says of it: " batch norm", " ghost norm 32", " group norm 8" or nothing."""
        if self.kind is None:
            return ""
        if self.ghost_size is not None:
            return f" ghost norm {self.ghost_size}"
        return f" {self.kind} norm" + ("" if self.groups is None else f" {self.groups}")

    def described(self) -> dict[str, Any]:
        """The arguments of a model that make it again."""
        return {"norm": self.kind, "ghost_size": self.ghost_size, "groups": self.groups}

    def layer(self, layer: Any) -> Any:
        """A layer's parameters with those of its norm: its "bias" is then added after the norm."""
        return layer if self.kind is None else {**layer, "scale": jnp.ones_like(layer["bias"])}

    def begin(self, widths: tuple[int, ...]) -> Any:
        """The model's state before any batch was seen, for layers of so many features."""
        return tuple(map(batch_norm_init, widths)) if self.over_batch else ()

    def __call__(self, x: jax.Array, running: Any, weight: jax.Array, *, train: bool) -> tuple[jax.Array, Any]:
        if self.over_batch:
            return batch_norm(x, running, weight, train=train, ghost_size=self.ghost_size)
        return rms_norm(x) if self.kind == "rms" else group_norm(x, self.groups or 1), None


NO_NORM = Norm()


def norm_of(
    kind: str | None,
    batch_norm: bool = False,
    ghost_size: Any = None,
    groups: Any = None,
    *,
    widths: tuple[int, ...],
    places: int = 1,
) -> Norm:
    """The norm that a model's arguments ask for, over layers of `widths` features at `places` places or more.

    Raises `ArgumentError` for what is no norm, and for one of single values, which would all become zero.
    """
    if batch_norm and kind not in (None, "batch"):
        why = "a layer has one norm"
        raise ArgumentError(must("norm", "be 'batch' beside batch_norm=True", kind, why, "norm alone"))
    if batch_norm and not widths:
        why = "a linear model has no hidden layer to normalise"
        raise ArgumentError(must("batch_norm", "be False for two widths", True, why, "mlp(64, 128, 10)"))
    kind = "batch" if batch_norm else kind
    found = checked_norm(kind, groups, widths, places=places)
    return Norm(kind, checked_ghost_size(kind == "batch", ghost_size), found)


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

    Over several devices the sums run over the rows of all of them (`x` is one array, whatever devices hold its parts),
    so that statistics are synchronised by what they mean: those of one device, to rounding. Ghosts are runs of rows of
    the whole micro-batch, and do not depend on the devices either.

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
    row changes nothing. A tally, which has no "updates", takes them in as `pooled` says.
    """
    if "updates" not in running:
        return pooled(running, lax.stop_gradient(batches), count)
    (updates, rows), rate = lax.scan(counted, (running["updates"], running["rows"]), count)
    left = jnp.flip(jnp.cumprod(jnp.flip(1 - rate)))
    share = rate * jnp.concatenate([left[1:], jnp.ones(1, jnp.float32)])
    batches = lax.stop_gradient(batches)

    def moved(now: jax.Array, new: jax.Array) -> jax.Array:
        # In differences, so that averages of what does not change stay as they are.
        return now + jnp.sum(share[:, None] * (new.astype(jnp.float32) - now[None]), 0)

    means = {name: moved(running[name], batches[name]) for name in ("mean", "variance")}
    return {**means, "updates": updates, "rows": rows}


def pooled(tally: Any, batches: Any, count: jax.Array) -> Any:
    """A tally `{"mean", "variance", "rows"}` with `batches` (leaves `[chunks, features]`) of `count` rows each in it.

        rows = sum n_i,  mean = sum n_i mean_i / rows,  variance = sum n_i (variance_i + (mean_i - mean)^2) / rows

    over what was in the tally and the batches: the mean of the variances within, and the variance of the means. So it
    is the mean and the (biased) variance of all rows at once, however they were cut; written in differences, because
    the mean square minus the squared mean loses its digits where the mean is large.

    Chan, Golub and LeVeque 1979, Stanford STAN-CS-79-773, equation 2.1.
    """
    new = count.astype(jnp.float32)
    rows = tally["rows"] + jnp.sum(new)
    share, kept = (new / jnp.maximum(rows, 1))[:, None], tally["rows"] / jnp.maximum(rows, 1)
    means, variances = (batches[name].astype(jnp.float32) for name in ("mean", "variance"))
    was = tally["mean"]
    mean = was + jnp.sum(share * (means - was[None]), 0)
    within = kept * tally["variance"] + jnp.sum(share * variances, 0)
    between = kept * (was - mean) ** 2 + jnp.sum(share * (means - mean[None]) ** 2, 0)
    return {"mean": mean, "variance": within + between, "rows": rows}


def counted(so_far: tuple[jax.Array, jax.Array], count: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Updates and rows after one more batch of `count` rows, and its share in the average."""
    updates, rows = so_far
    new, any_real = count.astype(jnp.float32), count > 0
    # Subtracted, so that equal batches have whole numbers here, and the shares 1 / 1 to 1 / 10 exactly.
    gone = jnp.where(any_real & (updates >= FIRST), rows * (1 - MOMENTUM), 0)
    rows = rows - gone + new
    return (updates + any_real.astype(jnp.int32), rows), new / jnp.maximum(rows, 1)


def normalised(x: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
    """`(x - mean) / sqrt(variance + 1e-5)` for each feature: in float32, then in the type of `x` again."""
    scale = lax.rsqrt(variance + EPSILON)
    kind = at_least_f32(x)
    centred = x.astype(kind) - _last(mean, x.ndim).astype(kind)
    return (centred * _last(scale, x.ndim).astype(kind)).astype(x.dtype)


def at_least_f32(x: jax.Array) -> Any:
    """The type in which `x` is averaged."""
    return x.dtype if x.dtype.itemsize > 4 else jnp.float32


def group_norm(x: jax.Array, groups: int = 1) -> jax.Array:
    """`(x - mean) / sqrt(variance + 1e-5)` over the places and the features of each of `groups`, example by example.

        mean, variance: of x[i, ..., g c : (g + 1) c], c = features / groups, for example i and group g

    - `x`: `[examples, ..., features]`; `groups` divides the features. One group is layer norm: over all values of an
      example. The variance is the biased one. Before any scale and shift, which are a number for each feature.

    Wu and He 2018, arXiv 1803.08494, equations 1 to 3; one group: Ba, Kiros and Hinton 2016, arXiv 1607.06450,
    equation 3, over the places of an image too.

    >>> group_norm(jnp.array([[1.0, 3.0, 10.0, 30.0]]), 2).round(3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    parts = _parts(x, groups)
    centred = parts - jnp.mean(parts, (1, 3), keepdims=True)
    variance = jnp.mean(centred * centred, (1, 3), keepdims=True)
    return (centred * lax.rsqrt(variance + EPSILON)).reshape(x.shape).astype(x.dtype)


def rms_norm(x: jax.Array) -> jax.Array:
    """`x / sqrt(mean of x^2 + 1e-5)` over all values of each example: the scale alone, the mean stays.

    - `x`: `[examples, ..., features]`. Zhang and Sennrich 2019, arXiv 1910.07467, equation 4.

    >>> bool(jnp.allclose(rms_norm(jnp.array([[3.0, 4.0]])), jnp.array([[3.0, 4.0]]) / 12.5**0.5))
    True
    """
    parts = _parts(x, 1)
    square = jnp.mean(parts * parts, (1, 3), keepdims=True)
    return (parts * lax.rsqrt(square + EPSILON)).reshape(x.shape).astype(x.dtype)


def _parts(x: jax.Array, groups: int) -> jax.Array:
    """`[examples, ..., features]` as `[examples, places, groups, features / groups]`, in float32 at least."""
    places = math.prod(x.shape[1:-1])
    return x.astype(at_least_f32(x)).reshape(x.shape[0], places, groups, x.shape[-1] // groups)


def _last(values: jax.Array, rank: int) -> jax.Array:
    """`[features]` as `[1, ..., 1, features]`."""
    return lax.expand_dims(values, tuple(range(rank - 1)))
