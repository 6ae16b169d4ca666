"""The optimiser's state in the host's memory, from one update to the next.

Its arrays lie in memory that the host pins and the devices read by themselves. An update fetches them, moves them on,
and puts them back, inside the compiled program: a device needs room for them only there, beside weights and gradient,
when what the backward pass had kept is free again (Ren et al. 2021, "ZeRO-Offload", arXiv 2101.06840, which computes
the update on the host as well). Arrays of fewer than `SMALL` numbers, such as a count, stay on the devices.

What moves is a fact of a layout, `Layout.offload`; nothing here does anything where that is False.
"""

from __future__ import annotations

from typing import Any

import jax

from ladle.jax.mesh import HOST, Layout
from ladle.jax.shard import SMALL, bytes_each, sharding_of
from ladle.jax.state import State


def fetched(layout: Layout | None, opt_state: Any) -> Any:
    """Inside a compiled program: an optimiser's state on the devices."""
    return _moved(layout, opt_state, host=False)


def parked(layout: Layout | None, opt_state: Any) -> Any:
    """Inside a compiled program: an optimiser's state where it lies between updates."""
    return _moved(layout, opt_state, host=True)


def places(layout: Layout, tree: Any) -> Any:
    """Where each array of a state, or of a part of one, lies between updates: a tree of shardings."""
    placed = jax.tree.map(lambda leaf: sharding_of(layout, leaf.shape), tree)
    if not layout.offload or not isinstance(tree, State):
        return placed
    return placed._replace(opt_state=jax.tree.map(lambda leaf: _place(layout, leaf, host=True), tree.opt_state))


def put(layout: Layout, tree: Any) -> Any:
    """A state, or a part of one, where the programs want it; from the host or from other devices."""
    return jax.device_put(tree, places(layout, tree))


def parked_bytes(layout: Layout, state: State) -> int:
    """Bytes that the host keeps for each device of a state, of arrays or shapes."""
    if not layout.offload:
        return 0
    return bytes_each(layout, [leaf for leaf in jax.tree.leaves(state.opt_state) if _moves(leaf)])


def _moved(layout: Layout | None, opt_state: Any, host: bool) -> Any:
    if layout is None or not layout.offload:
        return opt_state
    return jax.tree.map(
        lambda leaf: jax.device_put(leaf, _place(layout, leaf, host)) if _moves(leaf) else leaf, opt_state
    )


def _moves(leaf: Any) -> bool:
    return leaf.size >= SMALL


def _place(layout: Layout, leaf: Any, host: bool) -> Any:
    place = sharding_of(layout, leaf.shape)
    return place.with_memory_kind(HOST) if host and _moves(leaf) else place
