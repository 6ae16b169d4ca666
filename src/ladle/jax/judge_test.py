"""A part of the data walked in chunks: every row once, the ragged tail masked."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ladle.jax import judge
from ladle.jax.fakes_test import OBJECTIVE, SOURCE, N, loss, sgd
from ladle.jax.judge import Chunks, Judged


@pytest.mark.parametrize(("count", "chunks", "rows"), [(1, 1, 1), (5, 2, 3), (6, 2, 3), (5, 4, 3)])
def test_chunks_hold_every_row_once_and_repeat_the_last(count: int, chunks: int, rows: int):
    """In NumPy and inside a program alike, and with chunks that hold nothing."""
    found = Chunks.of(count, chunks, rows, np)
    assert found.ids.shape == found.weight.shape == (chunks, rows)
    assert found.ids[found.weight > 0].tolist() == list(range(count))
    assert set(found.ids[found.weight == 0].tolist()) <= {count - 1}
    for mine, theirs in zip(found, Chunks.of(jnp.uint32(count), chunks, rows), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("rows", [7, N, 64])
def test_a_chunk_without_weight_adds_nothing_and_losses_come_in_order(rows: int):
    step = sgd()
    state, expected = step.init(0), np.asarray(loss(step.init(0).params, SOURCE.tree))
    what = Judged(OBJECTIVE, step.layout), state.params, state.model_state, step.place(SOURCE.tree)
    alone, more = (Chunks.of(N, -(-N // rows) + extra, rows) for extra in (0, 2))
    np.testing.assert_array_equal(judge.sums(*what, alone), judge.sums(*what, more))
    np.testing.assert_allclose(judge.sums(*what, alone)[0], expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(judge.losses(*what, more)[:N], expected, rtol=1e-5)
