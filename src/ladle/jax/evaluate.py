"""Evaluation: exact means over any number of examples, at a batch size of its own, with the model in eval mode."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.jax import judge
from ladle.jax.judge import Chunks, Judged
from ladle.jax.mesh import Layout
from ladle.jax.objective import Objective
from ladle.jax.programs import Form, Program, shapes_of
from ladle.jax.room import MOST, Room, beside_bytes, surely_enough
from ladle.jax.state import State


class Evaluator:
    """Means of loss and metrics over a part of the data, and predictions.

    - `rows`: how many are judged at once, at most: fewer where they would not stay within `room`. The ragged tail is
      masked, so every example counts once and equally.

    A part of another number of examples is another program.
    """

    def __init__(self, objective: Objective, layout: Layout, rows: int = MOST, room: Room = Room()) -> None:
        self.objective = objective
        self.layout = layout
        self.rows = layout.rows(rows)
        self.room = Room(room.limit)
        judged = Judged.over(objective, layout)
        self._sums = Program(_trace_sums, judged, Form(static=("rows",)))
        self._predict = Program(_trace_predict, judged)

    def __call__(self, state: State, data: Any, prefix: str = "valid_") -> dict[str, float]:
        """`{prefix + "loss": ..., prefix + metric: ...}` over all examples of `data` (on the device or the host)."""
        operands = state.params, state.model_state, data
        sums = self._sums(*operands, rows=self.at_once(*operands))
        return judge.reading(self.objective, sums, count_of(data), prefix)

    def at_once(self, *operands: Any) -> int:
        """How many rows of the data, last of `operands` (arrays or shapes), are judged at once."""
        return judging_rows(self.room, self._sums, self.layout, self.rows, operands)

    def bytes_of(self, rows: int, *operands: Any) -> int:
        """What judging so many rows at once takes beside the operands, as the compiler counts it."""
        return beside_bytes(self._sums, *shapes_of(operands), rows=rows)

    def predict(self, state: State, x: Any) -> np.ndarray:
        """Outputs for every row of `x`, in order; at most `rows` of them on the device at a time.

        Raises `ArgumentError` where there is no row, or the objective has no `predict`.
        """
        if self.objective.predict is None:
            raise ArgumentError(must("predict", "be given", None, "outputs are asked for", "predict=..."))
        x = jax.tree.map(np.asarray, x)
        count = count_of(x)
        rows, parts = self._predicted_at_once(state, x, count), []
        for first in range(0, count, rows):
            part = jax.tree.map(lambda leaf: padded(leaf[first : first + rows], rows), x)  # noqa: B023
            parts.append(np.asarray(self._predict(state.params, state.model_state, part))[: count - first])
        return np.concatenate(parts)

    def _predicted_at_once(self, state: State, x: Any, count: int) -> int:
        most, own = min(self.rows, count), (state.params, state.model_state)

        def part(rows: int) -> Any:
            return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype), x)

        return self.room.rows(
            (most, *jax.tree.leaves(part(most))),
            most,
            lambda rows: surely_enough(self._predict, *shapes_of(own), part(rows)),
            lambda rows: beside_bytes(self._predict, *shapes_of(own), part(rows)),
        )


def judging_rows(room: Room, program: Program, layout: Layout, most: int, operands: tuple[Any, ...]) -> int:
    """Rows at once of a judging program with `rows` static, whose last operand is the data."""
    most = min(most, layout.rows(count_of(operands[-1])))
    shapes = shapes_of(operands)
    rows = room.rows(
        (most, *jax.tree.leaves(shapes)),
        most,
        lambda rows: surely_enough(program, *operands, rows=layout.rows(rows)),
        lambda rows: beside_bytes(program, *shapes, rows=layout.rows(rows)),
    )
    return layout.rows(rows)


def _trace_sums(judged: Judged, params: Any, model_state: Any, data: Any, *, rows: int) -> jax.Array:
    return judge.sums(judged, params, model_state, data, Chunks.over(data, rows))


def _trace_predict(judged: Judged, params: Any, model_state: Any, x: Any) -> Any:
    return judged.objective.predict(params, model_state, x)  # type: ignore[misc]


def padded(rows: np.ndarray, count: int) -> np.ndarray:
    """`rows` repeated at the end up to `count` rows."""
    return rows if len(rows) == count else np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), 0)])


def count_of(tree: Any) -> int:
    """Rows of a tree of arrays. Raises `ArgumentError` where they differ, or are none."""
    counts = {jax.tree_util.keystr(path): leaf.shape[0] for path, leaf in jax.tree.leaves_with_path(tree)}
    if len(set(counts.values())) > 1:  # Rows past the end of an array would be read as some others of it.
        got, why = ", ".join(f"{name} {found:,}" for name, found in counts.items()), "row i of each is of example i"
        raise ArgumentError(must("rows", "have as many rows in every array", got, why, "arrays of equal length"))
    count = next(iter(counts.values()))
    if count < 1:
        raise ArgumentError(must("rows", "be at least 1", count, "a mean of nothing is no number", "more rows"))
    return count
