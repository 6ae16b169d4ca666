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
from ladle.core.stage import DeviceStage
from ladle.jax.augment import changed
from ladle.jax.mesh import Layout
from ladle.jax.objective import LEVELS
from ladle.jax.precision import LOSS_SCALE


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

    @property
    def rows(self) -> int:
        return self.weight.shape[0]

    def between(self, first: int, end: int) -> MicroBatch:
        """Its rows `first .. end`."""
        rows = jax.tree.map(lambda leaf: leaf[first:end], self._replace(levels=None))
        return rows._replace(levels=self.levels)


class Place(NamedTuple):
    """A place in the order: `offset` examples into pass `epoch`, `u32[]` each."""

    epoch: Any
    offset: Any

    def drawn(self, epoch_size: Any) -> jax.Array:
        """Examples drawn before it, `f32[]`."""
        return self.epoch.astype(jnp.float32) * jnp.float32(epoch_size) + self.offset.astype(jnp.float32)

    def after(self, count: Any) -> Place:
        """So many examples later, in the same pass."""
        return self._replace(offset=self.offset + count)


def levels_of(state: Any) -> dict[str, jax.Array]:
    """Those of the run's constants that a loss sees, and the scale of its gradient where there is one."""
    levels = {name: state.hyper[name] for name in LEVELS if name in state.hyper}
    return {**levels, LOSS_SCALE: state.scaling.scale} if state.scaling else levels


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
    place: Place,
    count: jax.Array,
    micro_size: int,
    augment: DeviceStage | None = None,
) -> MicroBatch:
    """The next `min(count, micro_size)` rows from `place` on; surplus rows carry weight zero.

    Surplus rows repeat the micro-batch's own real rows, so that a model with batch statistics does not see
    made-up examples. `state`: holds the run's key and constants. `count`: `u32[]`, traced. `augment`: changes them.
    """
    epoch, first = place
    lane = jnp.arange(layout.rows(micro_size), dtype=jnp.uint32)
    real = jnp.minimum(count, jnp.uint32(micro_size))
    places = layout.spread(first + jnp.where(lane < real, lane, lane % jnp.maximum(real, jnp.uint32(1))))

    def ordered(told: tuple[Any, Any], places: jax.Array) -> jax.Array:
        return program(*told, places, jnp, lax.while_loop)

    # Each device by itself: a loop over rows of all of them would ask all of them, each time, whether it goes on.
    ids = layout.each(ordered, (resident.tables, epoch), places)
    rows = changed(augment, resident.tables, epoch, places, taken(resident.data, ids))
    weight = (lane < real).astype(jnp.float32)
    if resident.weight is not None:
        weight = weight * taken(resident.weight, ids)
    return MicroBatch(rows, layout.spread(weight), keys_at(state.key, epoch, places), levels_of(state))


def taken(data: Any, ids: jax.Array) -> Any:
    """Rows `ids` of every array. No id is checked: those of an order are in bounds."""
    return jax.tree.map(lambda leaf: leaf.at[ids].get(mode="promise_in_bounds"), data)


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
