from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.running import RUNNING
from ladle.jax.fakes_test import OBJECTIVE, N, X, Y, sgd
from ladle.jax.mesh import layout
from ladle.jax.objective import of_functions
from ladle.jax.reestimate import Reestimator

DATA = {"x": X, "y": Y}


def start(key: Any) -> Any:
    running = {"mean": jnp.full(5, 9.0), "variance": jnp.full(5, 9.0), "updates": jnp.int32(3), "rows": jnp.float32(60)}
    return {"w": jnp.eye(5)}, {"norm": running, "seen": jnp.float32(7)}


def tallied(params: Any, state: Any, batch: Any) -> Any:
    """Two running sums as ladle's batch norm would keep them, in an own model: of the real rows of a chunk."""
    tally, h = state["norm"], batch["x"] @ params["w"]
    rows = tally["rows"] + len(h)
    mean = (tally["rows"] * tally["mean"] + h.sum(0)) / rows
    norm = {"mean": mean, "variance": tally["variance"] + jnp.square(h).sum(0), "rows": rows}
    return jnp.zeros(len(h)), {"norm": norm, "seen": state["seen"] + 1}


def test_a_state_is_filled_chunk_by_chunk_and_the_rest_of_it_stays() -> None:
    """37 rows in one chunk: whatever the tally says replaces mean and variance, and nothing else."""
    objective = of_functions(start, tallied, has_state=True, additive=False)
    state = sgd(objective).init(0)
    after = Reestimator(objective, layout(1))(state, DATA)
    np.testing.assert_allclose(after.model_state["norm"]["mean"], X.mean(0), atol=1e-6)
    np.testing.assert_allclose(after.model_state["norm"]["variance"], np.square(X).sum(0), rtol=1e-5)
    assert set(after.model_state["norm"]) == RUNNING
    for name, value in (("updates", 3), ("rows", 60)):
        assert after.model_state["norm"][name] == value
    assert after.model_state["seen"] == 7
    assert after.params is state.params


def test_a_model_without_batch_norm_is_refused_in_one_sentence() -> None:
    with pytest.raises(ArgumentError, match="reestimate must be asked of a model with batch norm; got 'loss'"):
        Reestimator(OBJECTIVE, layout(1))(sgd().init(0), DATA)


def test_chunks_are_equal_and_of_whole_ghosts() -> None:
    counting = Reestimator(of_functions(start, tallied, has_state=True), layout(1), rows=16)
    state = sgd(of_functions(start, tallied, has_state=True)).init(0)
    own = state.model_state
    assert counting._at_once(state, own, DATA, N) == 13  # three chunks, not 16 + 16 + 5
    counting.ghosts = 4
    assert counting._at_once(state, own, DATA, N) == 16


CHILD = """
import json, jax, numpy as np
from ladle.jax.fakes_test import *
from ladle.jax.objective import of_model
from ladle.jax.reestimate import Reestimator
from ladle.models import losses, mlp
X4 = np.random.default_rng(1).normal(1, 2, (N, 4, 4)).astype(np.float32)
SOURCE4 = Arrays({"x": X4, "y": Y})
found = []
for devices in COUNTS:
    objective = of_model(mlp(16, 8, 8, 3, norm="batch", ghost_size=GHOST), losses.cross_entropy, {})
    step = sgd(objective, devices=devices)
    cursor, state, told = Cursor(), step.init(0, {"lr": 0.1}), []
    for spec in (BatchSpec(37, 20), BatchSpec(31, 20)):
        draw, cursor = feed_of("resident", source=SOURCE4).draw(cursor, spec)
        state, observation = step(state, draw, spec, 1.0)
        told.append(observation.read()["train_loss"])
    anew = Reestimator(objective, step.layout, rows=19)(state, SOURCE4.tree)
    found.append([*(flat(tree).tolist() for tree in (state.params, state.model_state, anew.model_state)), told])
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ghost", "counts"),
    [
        (None, (1, 8)),
        pytest.param(None, (1, 2, 4, 8), marks=pytest.mark.long),
        pytest.param(8, (1, 2, 4, 8), marks=pytest.mark.long),
    ],
)
def test_batch_norm_over_devices_is_that_of_one_to_rounding(
    ghost: int | None, counts: tuple[int, ...], on_devices: Callable[[int, str], str]
) -> None:
    """Statistics, losses and parameters after two updates of ragged micro-batches, and re-estimated statistics.

    Rows of a chunk are rounded up to the devices; those that fill up have no say. Ghosts are runs of 8 rows, whichever
    devices hold them. Statistics of each device's own rows would differ by tens of percent.
    """
    code = CHILD.replace("COUNTS", repr(counts)).replace("GHOST", repr(ghost))
    one, *others = json.loads(on_devices(8, code))
    for found in others:
        for mine, theirs in zip(found, one, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-6)
