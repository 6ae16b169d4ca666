"""A model's outputs as a StableHLO program (`jax.export`), for programs that have no ladle.

    program(weights..., inputs...) -> outputs        weights in the order of their names, then the leaves of the inputs

Weights are arguments, so the file is small and its numbers are those of the file of weights.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import export

from ladle.core.errors import ArgumentError, must
from ladle.core.npy import one_line
from ladle.jax.freeze import thawed, whole
from ladle.jax.objective import Objective
from ladle.jax.state import State

ROWS = "rows"


def exported(objective: Objective, state: State, x: Any) -> tuple[bytes, bool]:
    """The program, and whether it takes any number of rows; else as many as `x` has.

    - `x`: inputs as a tree of arrays; only their types and the shapes of a row are looked at, if any number will do.

    Raises `ArgumentError` where the model cannot be exported.
    """
    params, model_state = whole(state.params, state.model_state)
    own, row = jax.tree.leaves((model_state, params)), jax.tree.leaves(x)
    structure, inputs = jax.tree.structure((model_state, params)), jax.tree.structure(x)

    def program(*given: Any) -> Any:
        model_state, params = structure.unflatten(given[: len(own)])
        return predict(params, model_state, inputs.unflatten(given[len(own) :]))  # type: ignore[misc]

    predict = thawed(objective.predict)
    held = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in own]
    (rows,) = export.symbolic_shape(ROWS, constraints=[f"{ROWS} >= 1"])
    failure: Exception | None = None
    for count in (rows, len(row[0])):
        shapes = [jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype) for leaf in row]
        try:
            return bytes(export.export(jax.jit(program))(*held, *shapes).serialize()), count is rows
        except Exception as error:  # A model of the user's may fail in any way; with a fixed number it mostly does not.
            failure = error
    why = one_line(failure)
    raise ArgumentError(must("model", "be one that JAX can export", objective.name, why, "a model without callbacks"))


def run_exported(program: bytes, state: State, x: Any) -> np.ndarray:
    """Outputs of a program that was written by `exported` and read again."""
    loaded = export.deserialize(bytearray(program))
    params, model_state = whole(state.params, state.model_state)
    leaves = jax.tree.leaves((model_state, params, x))
    return np.asarray(jax.jit(loaded.call)(*leaves))
