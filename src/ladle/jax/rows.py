"""The rows of one micro-batch inside a compiled program: which examples, which weights, which random keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.batch import Batch
from ladle.core.protocols import OrderProgram
from ladle.jax.mesh import Layout
from ladle.jax.objective import LEVELS


class Resident(NamedTuple):
    """A data set that lives on the devices.

    - `data`: tree of arrays, leading axis = examples; `weight`: `f32[examples]` or None for all one.
    - `tables`: what the order's program reads (seed words, class layout).
    """

    data: Any
    weight: jax.Array | None
    tables: dict[str, Any]


class MicroBatch(NamedTuple):
    """What a loss sees: `data` rows, their `weight` (`f32[rows]`, 0 = padding) and one random key each.

    - `levels`: regularisation in force, `{"dropout": f32[], ...}`; what is not named is as the model has it.
    """

    data: Any
    weight: jax.Array
    keys: jax.Array
    levels: Mapping[str, jax.Array] | None = None


def levels_of(hyper: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Those of the run's constants that a loss sees."""
    return {name: hyper[name] for name in LEVELS if name in hyper}


def keys_at(key: jax.Array, epoch: jax.Array, place: jax.Array) -> jax.Array:
    """One random key per example, from (run key, epoch, place in the epoch) alone.

    It does not depend on how the batch was cut, so dropout draws the same masks for any micro-batch size and any
    number of devices. Where a model draws nothing the compiler removes this.
    """
    base = jax.random.fold_in(jax.random.wrap_key_data(key), epoch)
    return jax.vmap(lambda p: jax.random.fold_in(base, p))(place)


def gather(
    layout: Layout,
    program: OrderProgram,
    resident: Resident,
    state: Any,
    epoch: jax.Array,
    first: jax.Array,
    count: jax.Array,
    micro_size: int,
) -> MicroBatch:
    """Rows at places `first .. first + min(count, micro_size)` of pass `epoch`; surplus rows carry weight zero.

    Surplus rows repeat the micro-batch's own real rows, so that a model with batch statistics does not see
    made-up examples. `state`: holds the run's key and constants. `epoch`, `first`, `count`: `u32[]`, traced.
    """
    lane = jnp.arange(layout.rows(micro_size), dtype=jnp.uint32)
    real = jnp.minimum(count, jnp.uint32(micro_size))
    place = layout.spread(first + jnp.where(lane < real, lane, lane % jnp.maximum(real, jnp.uint32(1))))
    ids = program(resident.tables, epoch, place, jnp, lax.while_loop)
    rows = jax.tree.map(lambda leaf: leaf.at[ids].get(mode="promise_in_bounds"), resident.data)
    weight = (lane < real).astype(jnp.float32)
    if resident.weight is not None:
        weight = weight * resident.weight.at[ids].get(mode="promise_in_bounds")
    return MicroBatch(rows, layout.spread(weight), keys_at(state.key, epoch, place), levels_of(state.hyper))


def filled(batch: Batch, rows: int) -> Batch:
    """`batch` with exactly `rows` rows: where some are lacking, its own again with weight zero, as `gather` does."""
    held = len(batch.weight)
    if held == rows:
        return batch
    lane = np.arange(rows)
    again = lane % held
    data = jax.tree.map(lambda leaf: leaf[again], batch.data)
    weight = np.where(lane < held, batch.weight[again], np.float32(0))
    return replace(batch, data=data, weight=weight, position=batch.position[again], ids=batch.ids[again])
