"""Devices as one mesh: those of this process, or of all processes of a run. Examples are split over it; parameters are
on all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ladle.core.errors import ArgumentError, must
from ladle.core.foreign import require_narrow
from ladle.core.spec import require_count

AXIS = "data"
HOST = "pinned_host"
"""The kind of memory of the host from which a device reads by itself."""


@jax.tree_util.register_static
@dataclass(frozen=True)
class Layout:
    """Where arrays live. `devices` are all devices that share a batch.

    - `shard_state`: whether they share a state too, each keeping a part of it; see `ladle.jax.shard`.
    - `offload`: whether the optimiser's state lies in the host's memory between updates; see `ladle.jax.offload`.
    """

    mesh: Mesh
    shard_state: bool = False
    offload: bool = False

    @property
    def devices(self) -> int:
        return self.mesh.size

    @property
    def uniform(self) -> bool:
        """Whether all arrays of a state lie in one way: whole, in the memory of every device."""
        return not (self.shard_state or self.offload)

    @property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def split(self) -> NamedSharding:
        """Leading axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    def rows(self, micro_size: int) -> int:
        """Rows that a compiled micro-batch has: `micro_size` rounded up so that every device gets as many.

        The surplus carries weight zero, so any size runs on any number of devices with the same result.
        """
        return -(-micro_size // self.devices) * self.devices

    def spread(self, value: Any) -> Any:
        """Inside a compiled program: split the leading axis over the devices."""
        if self.devices == 1:
            return value
        return jax.lax.with_sharding_constraint(value, self.split)

    def each(self, function: Callable[[Any, Any], Any], whole: Any, rows: Any, *, spread: bool = True) -> Any:
        """Inside a compiled program: `function(whole, rows)` of each device for its own rows, without the others.

        - `whole`: a tree that every device has. `rows`, and what comes of them: trees whose leading axis is spread.
        - `spread`: False where all devices come to the same, by a sum over `AXIS`.
        """
        if self.devices == 1:
            return function(whole, rows)
        split, everywhere = PartitionSpec(AXIS), PartitionSpec()
        ends = split if spread else everywhere
        specs = {"in_specs": (everywhere, split), "out_specs": ends}
        return jax.shard_map(function, mesh=self.mesh, check_vma=False, **specs)(whole, rows)

    @cached_property
    def own(self) -> Layout:
        """That of the devices which this process can put something on: its own part of the mesh."""
        return self if self.alone else Layout(_mesh(self.mesh.local_devices))

    @cached_property
    def alone(self) -> bool:
        """Whether all devices are this process's own."""
        return len(self.mesh.local_devices) == self.devices

    @cached_property
    def processes(self) -> int:
        """How many processes have a part of it."""
        return self.devices // len(self.mesh.local_devices)

    def everywhere(self, tree: Any) -> Any:
        """Put a tree on every device, once. Whoever puts, owns: nothing given in is donated later.

        Over several processes each puts its own copy on its own devices; nothing travels, so all have to hold the same.
        """
        if self.alone and not any(map(_shared, jax.tree.leaves(tree))):
            return jax.device_put(_fitting(tree), self.replicated)
        return jax.tree.map(self._across, _fitting(tree))

    def _across(self, leaf: Any) -> Any:
        """One leaf on all devices of several processes, or, from there, on those of this process alone."""
        if _shared(leaf):
            if leaf.sharding == self.replicated:
                return leaf
            parts = [shard.data for shard in leaf.addressable_shards]
        else:
            parts = [shard.data for shard in jax.device_put(leaf, self.own.replicated).addressable_shards]
        return jax.make_array_from_single_device_arrays(np.shape(leaf), self.replicated, parts)

    def in_parts(self, tree: Any) -> Any:
        """Put rows on the devices, each its part: over several processes, each its own rows, as many as the others."""
        if self.alone:
            return jax.device_put(_fitting(tree), self.split)
        return jax.tree.map(partial(jax.make_array_from_process_local_data, self.split), _fitting(tree))


def is_parked(sharding: Any) -> bool:
    """Whether an array of that place is in the host's memory.

    >>> is_parked(layout(1).replicated), is_parked(None)
    (False, False)
    """
    return getattr(sharding, "memory_kind", None) == HOST


def _shared(leaf: Any) -> bool:
    """Whether it is an array of several processes."""
    return isinstance(leaf, jax.Array) and not leaf.is_fully_addressable


def _fitting(tree: Any) -> Any:
    """`tree`, where its numbers fit the bits that JAX keeps: it would make others of large ids, and say nothing."""
    if jax.dtypes.canonicalize_dtype(np.int64).itemsize < 8:
        for path, leaf in jax.tree.leaves_with_path(tree):
            if isinstance(leaf, np.ndarray) and leaf.dtype.itemsize > 4:
                require_narrow(leaf, f"data{jax.tree_util.keystr(path)}", "ids from 0 without gaps, or float32")
    return tree


def layout(devices: Sequence[Any] | int | None = None, shard_state: bool = False, offload: bool = False) -> Layout:
    """The layout over `devices`: a list (of local ones their numbers will do), a number of local ones, or all of them.

    One device has all of a state.

    Raises `ArgumentError` for more devices than there are, or none; where several processes would share a state, or
    keep one in the host's memory; and where devices cannot read that.
    """
    local = jax.local_devices()
    if devices is None:
        chosen = local
    elif not isinstance(devices, Sequence):
        if require_count("devices", devices) > len(local):
            why = "no more are visible to JAX on this host"
            raise ArgumentError(must("devices", f"be at most {len(local)}", devices, why, f"devices={len(local)}"))
        chosen = local[:devices]
    else:
        chosen = [local[one] if isinstance(one, int) else one for one in devices]
    if not chosen:
        raise ArgumentError(
            must("devices", "hold at least one", chosen, "a batch needs a device", "jax.local_devices()")
        )
    if shard_state and jax.process_count() > 1:
        why = "a checkpoint is written by one process, which has to reach all of the state"
        raise ArgumentError(must("shard_state", "be False with several processes", shard_state, why, "one process"))
    if offload:
        _require_host_memory(chosen)
    return Layout(_mesh(chosen), shard_state and len(chosen) > 1, offload)


def _require_host_memory(devices: Sequence[Any]) -> None:
    if jax.process_count() > 1:
        why = "a state in the host's memory is put there by one process"
        raise ArgumentError(must("offload", "be False with several processes", True, why, "one process"))
    kinds = {memory.kind for memory in devices[0].addressable_memories()}
    if HOST not in kinds:
        why = f"{devices[0].device_kind} reads no memory of the host ({', '.join(sorted(kinds))})"
        raise ArgumentError(must("offload", "be False on this device", True, why, "remat='full', or smaller batches"))


def across() -> Layout:
    """The layout over all devices of all processes of a run."""
    return Layout(_mesh(jax.devices()))


def _mesh(devices: Sequence[Any]) -> Mesh:
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))
