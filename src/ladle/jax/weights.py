"""A model's weights by name, as NumPy arrays: what is written for other programs and read back. No optimiser in them.

params.0.weight    params.blocks.1.bias    model_state.0.mean
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ladle.core.backend import Weight
from ladle.core.errors import ArgumentError, CheckpointError, must
from ladle.jax.state import State
from ladle.jax.step import CompiledStep

PARTS = ("model_state", "params")
"""Fields of `State` that outputs are computed from, in the order in which JAX takes the keys of a dict."""


def weight_types(step: CompiledStep) -> dict[str, Weight]:
    """Name, place in a state, type and shape of every weight, from shapes alone."""
    return _named(_parts(step.abstract_state()))


def weights(state: State) -> dict[str, np.ndarray]:
    """Copies of all weights on the host."""
    parts = _parts(state)
    return dict(zip(_named(parts), (np.array(leaf) for leaf in jax.tree.leaves(parts)), strict=True))


def with_weights(step: CompiledStep, given: Mapping[str, np.ndarray]) -> State:
    """A state to compute outputs with: these weights, and nothing to train on from.

    Raises `CheckpointError` for a weight that is missing, or of another type or shape: nothing is cast or cut.
    """
    parts = _parts(step.abstract_state())
    wanted = _named(parts)
    for name in (*wanted, *given):
        want, got = _type(wanted.get(name)), _type(given.get(name))
        if want != got:
            why = "nothing is cast or cut"
            raise CheckpointError(must(f"weight {name}", f"be {want}", got, why, "the model that it was saved with"))
    leaves = [np.asarray(given[name]) for name in wanted]
    placed = step.place(jax.tree.structure(parts).unflatten(leaves))
    return State(placed["params"], placed["model_state"], (), {}, np.zeros(2, np.uint32))  # type: ignore[arg-type]


def _parts(state: State) -> dict[str, Any]:
    return {part: getattr(state, part) for part in PARTS}


def _named(parts: dict[str, Any]) -> dict[str, Weight]:
    found: dict[str, Weight] = {}
    for part in PARTS:
        for path, leaf in jax.tree_util.tree_leaves_with_path(parts[part]):
            if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
                got, why = str(leaf.dtype), "a file of weights holds plain numbers"
                raise ArgumentError(must("weights", "be numbers", got, why, "jax.random.key_data(key) in the model"))
            name = ".".join(filter(None, (part, jax.tree_util.keystr(path, simple=True, separator="."))))
            if name in found:
                why = "weights are told apart by their names"
                raise ArgumentError(must("weights", "have names of their own", name, why, "keys without dots"))
            place = f".{part}{jax.tree_util.keystr(path)}"
            found[name] = Weight(place, str(np.dtype(leaf.dtype)), tuple(leaf.shape))
    return found


def _type(one: Any) -> str:
    return "none" if one is None else f"{one.dtype}[{','.join(map(str, one.shape))}]"
