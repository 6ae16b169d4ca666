from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.jax.evaluate import Evaluator
from ladle.jax.example_loss import EachLoss
from ladle.jax.mesh import layout
from ladle.jax.objective import of_functions
from ladle.jax.programs import Program, shapes_of
from ladle.jax.room import Room
from ladle.jax.state import State

WIDTH = 400


def losses(params, batch):
    return jnp.sum(jnp.tanh(batch["x"][:, :, None] * params[None, None]), (1, 2)) - batch["y"]


OBJECTIVE = of_functions(lambda key: jnp.ones(WIDTH), losses, predict=lambda params, x: x * params[0])
STATE = State(jnp.linspace(0, 1, WIDTH), (), (), {}, jnp.zeros(2, jnp.uint32))
DATA = {"x": np.random.default_rng(0).standard_normal((70, 3)).astype(np.float32), "y": np.ones(70, np.float32)}


@pytest.mark.parametrize("limit, expected", [(10_000, 1024), (1_479, 64), (839, 32), (210, 1)])
def test_the_largest_power_of_two_that_fits(limit: int, expected: int):
    asked: list[int] = []

    def predict(rows: int) -> int:
        asked.append(rows)
        return 200 + 10 * rows if rows > 1 else 205

    room = Room(limit)
    found = [room.rows("losses", 1024, lambda rows: 8 * rows + 500, predict) for _ in range(2)]
    assert found == [expected, expected] and len(asked) <= 8  # asked once


def test_where_not_one_row_fits_a_limit_that_was_given_is_refused():
    with pytest.raises(ArgumentError, match="memory must leave room for an evaluation; got '9 bytes'"):
        Room(9).rows("losses", 8, lambda rows: 100, lambda rows: 10 * rows)


def test_a_trace_alone_bounds_what_a_program_takes():
    evaluator = Evaluator(OBJECTIVE, layout(1))
    operands = STATE.params, STATE.model_state, DATA
    bound = evaluator._sums.computed_bytes(*operands, rows=64)
    assert 64 * 3 * WIDTH * 4 <= evaluator.bytes_of(64, *operands) + 64 * 3 * WIDTH * 4 <= 2 * bound
    held = Program(lambda _, x: jax.lax.scan(lambda c, row: (c + row, 2 * row), x[0], x), None)
    assert held.computed_bytes(*shapes_of((np.ones((5, 4), np.float32),))) >= 5 * 16 + 16


def test_fewer_rows_at_once_judge_the_same():
    """Losses, means and predictions within a limit, which what is compiled keeps."""
    wide, state = Evaluator(OBJECTIVE, layout(1)), STATE
    operands = state.params, state.model_state, DATA
    limit = wide.bytes_of(16, *operands)
    tight = Evaluator(OBJECTIVE, layout(1), room=Room(limit))
    tight.room.found.clear()
    chosen = tight.room.rows("here", 70, lambda rows: limit + 1, lambda rows: tight.bytes_of(rows, *operands))
    assert tight.bytes_of(chosen, *operands) <= limit
    assert tight(state, DATA) == pytest.approx(wide(state, DATA), rel=1e-5)
    each = EachLoss(OBJECTIVE, layout(1), room=Room(limit))(state, DATA)
    np.testing.assert_allclose(each, EachLoss(OBJECTIVE, layout(1))(state, DATA), rtol=1e-6)
    np.testing.assert_array_equal(tight.predict(state, DATA["x"]), wide.predict(state, DATA["x"]))
