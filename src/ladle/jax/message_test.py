"""Sums over the devices of several processes: in one message, the same as in one process."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.jax.mesh import layout
from ladle.jax.message import joins, messages
from ladle.jax.objective import of_model
from ladle.models import as_model, mlp
from ladle.models.losses import cross_entropy


@given(sizes=st.lists(st.integers(0, 40), max_size=12), most=st.integers(1, 50))
def test_messages_hold_every_array_once_in_order_and_no_more_than_they_may(sizes: list[int], most: int):
    found = messages(sizes, most)
    assert [place for first, end in found for place in range(first, end)] == list(range(len(sizes)))
    assert all(end - first == 1 or sum(sizes[first:end]) <= most for first, end in found)
    for (first, end), (_, after) in pairwise(found):
        assert sum(sizes[first : end + 1]) > most and after > end


def test_devices_of_one_process_are_left_to_the_compiler():
    objective = of_model(as_model(mlp(4, 3, 2)), cross_entropy, {})
    assert not joins(layout(), objective, {}, ())


CHILD = """
import json
from functools import partial
import jax, jax.numpy as jnp, numpy as np
from ladle.jax import message
from ladle.jax.mesh import layout
from ladle.jax.objective import of_model
from ladle.jax.rows import MicroBatch
from ladle.jax.update import _sums, _sums_alone
from ladle.models import as_model, mlp
from ladle.models.losses import cross_entropy

over, random = layout(), np.random.default_rng(0)
model = as_model(mlp(64, 72, 10, dropout=0.5))
objective = of_model(model, cross_entropy, {"twice": lambda outputs, y: 2 * outputs.sum(-1)})
params, state = objective.init(jax.random.key(0))
keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(1), number))(jnp.arange(24))
x, y = random.normal(size=(24, 64)).astype(np.float32), random.integers(0, 10, 24)
weight = np.where(np.arange(24) < 21, random.random(24), 0).astype(np.float32)
rows = MicroBatch({"x": x, "y": y}, weight, keys, {"dropout": np.float32(0.3)})
message.MOST = MOST


@jax.jit
def together(params, rows):
    rows = jax.tree.map(over.spread, rows._replace(levels=None))._replace(levels=rows.levels)
    split, levels = rows._replace(levels=None), rows.levels
    return message.added(over, partial(_sums_alone, objective), (params, state, levels), split)


alone = jax.jit(lambda params, rows: _sums(objective, params, state, rows)[0])
text = together.lower(params, rows).compile().as_text()
pairs = zip(jax.tree.leaves(together(params, rows)), jax.tree.leaves(alone(params, rows)), strict=True)
far = max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)
print(json.dumps({"far": far, "sums": text.count(" all-reduce(")}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("most", ["2**22", pytest.param("700", marks=pytest.mark.long)])
def test_the_sums_are_those_of_one_device_in_one_message(most: str, on_devices: Callable[[int, str], str]):
    """Weights of rows, padding, masks of dropout by the row's key, a metric, and levels that are data."""
    found = json.loads(on_devices(3, CHILD.replace("= MOST", f"= {most}")))
    assert found["far"] < 1e-5
    assert found["sums"] == 1  # Those of several messages may be joined by the compiler again, never more.
