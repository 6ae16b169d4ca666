"""How many outputs a model has, before anything runs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ladle.jax.objective import Objective
from ladle.jax.programs import Program


def output_width(objective: Objective, x: Any) -> int | None:
    """Outputs of one example, from shapes alone; None where the objective predicts nothing, or no row of scores.

    Whole numbers are answers, such as the words of a translation, and no scores of classes.

    - `x`: inputs as a tree of arrays with rows on the leading axis; only their shapes and types are looked at.

    >>> from ladle.jax.objective import of_functions
    >>> weights = lambda key: jnp.zeros((3, 2))
    >>> model = of_functions(weights, lambda w, batch: batch["y"], predict=lambda w, x: x @ w)
    >>> output_width(model, jnp.zeros((7, 3)))
    2
    """
    if objective.predict is None:
        return None
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), x)
    outputs = Program(_trace_outputs, objective).shape(row)
    shape = getattr(outputs, "shape", ())
    if len(shape) != 2 or not jnp.issubdtype(outputs.dtype, jnp.floating):
        return None
    return shape[1]


def _trace_outputs(objective: Objective, inputs: Any) -> Any:
    return objective.predict(*objective.init(jax.random.key(0)), inputs)  # type: ignore[misc]
