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
from ladle.jax.freeze import Frozen, parted, whole
from ladle.jax.paths import path_text
from ladle.jax.state import State
from ladle.jax.step import CompiledStep

PARTS = ("model_state", "params")
"""Fields of `State` that outputs are computed from, in the order in which JAX takes the keys of a dict."""


def weight_types(step: CompiledStep) -> dict[str, Weight]:
    """Name, place in a state, type and shape of every weight, from shapes alone."""
    return _named(step.abstract_state())


def weights(state: State) -> dict[str, np.ndarray]:
    """Copies of all weights on the host."""
    leaves = jax.tree.leaves(_parts(state))
    return dict(zip(_named(state), (np.array(leaf) for leaf in leaves), strict=True))


def with_weights(step: CompiledStep, given: Mapping[str, np.ndarray]) -> State:
    """A state to compute outputs with: these weights, and nothing to train on from.

    Raises `CheckpointError` for a weight that is missing, or of another type or shape: nothing is cast or cut.
    """
    like = step.abstract_state()
    wanted = _named(like)
    for name in (*wanted, *given):
        want, got = _type(wanted.get(name)), _type(given.get(name))
        if want != got:
            why = "nothing is cast or cut"
            raise CheckpointError(must(f"weight {name}", f"be {want}", got, why, "the model that it was saved with"))
    leaves = [np.asarray(given[name]) for name in wanted]
    placed = step.placed_state(jax.tree.structure(_parts(like)).unflatten(leaves))
    params, model_state = placed["params"], placed["model_state"]
    if isinstance(like.model_state, Frozen):
        params, model_state = parted(params, model_state, like.model_state)
    return State(params, model_state, (), {}, np.zeros(2, np.uint32))  # type: ignore[arg-type]


def _parts(state: State) -> dict[str, Any]:
    """What the model itself has: frozen weights in their places among the parameters."""
    return dict(zip(reversed(PARTS), whole(state.params, state.model_state), strict=True))


def _named(state: State) -> dict[str, Weight]:
    parts, found = _parts(state), {}
    for part in PARTS:
        for path, leaf in jax.tree_util.tree_leaves_with_path(parts[part]):
            if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
                got, why = str(leaf.dtype), "a file of weights holds plain numbers"
                raise ArgumentError(must("weights", "be numbers", got, why, "jax.random.key_data(key) in the model"))
            name = ".".join(filter(None, (part, path_text(path))))
            if name in found:
                why = "weights are told apart by their names"
                raise ArgumentError(must("weights", "have names of their own", name, why, "keys without dots"))
            place = f"{_place(state, part, path)}{jax.tree_util.keystr(path)}"
            found[name] = Weight(place, str(np.dtype(leaf.dtype)), tuple(leaf.shape))
    return found


def _place(state: State, part: str, path: Any) -> str:
    """Where a state keeps the weight that its model has at `path` of `part`."""
    kept = state.model_state
    if not isinstance(kept, Frozen):
        return f".{part}"
    if part == "model_state":
        return ".model_state.inner"
    frozen = {found for found, _ in jax.tree_util.tree_leaves_with_path(kept.weights)}
    return ".model_state.weights" if path in frozen else ".params"


def _type(one: Any) -> str:
    return "none" if one is None else f"{one.dtype}[{','.join(map(str, one.shape))}]"
