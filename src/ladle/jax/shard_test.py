"""State in parts: the rule, what each device holds, and numbers that are those of a whole state."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ladle
from ladle.api.assembly import assemble
from ladle.core.errors import ArgumentError
from ladle.jax.mesh import layout
from ladle.jax.shard import SMALL, axis_of, bytes_each

DATA = ladle.data.load("digits")
MODEL = ladle.models.mlp(64, 32, 10)


@given(shape=st.lists(st.integers(1, 96), max_size=4), devices=st.integers(1, 9))
def test_the_axis_is_the_largest_that_the_devices_divide(shape: list[int], devices: int):
    axis = axis_of(shape, devices)
    divided = [length for length in shape if length % devices == 0]
    if axis is None:
        assert devices == 1 or math.prod(shape) < SMALL or not divided
    else:
        assert devices > 1 and math.prod(shape) >= SMALL
        assert shape[axis] == max(divided) and shape.index(shape[axis]) <= axis
        assert all(length % devices or length < shape[axis] for length in shape[:axis])


def test_one_device_has_all_and_the_programs_of_a_whole_state():
    assert layout(1, shard_state=True) == layout(1)
    task = ladle.Task(MODEL, "cross_entropy", DATA, shard_state=jax.device_count() == 1)
    assert assemble(task).engine.step.layout == layout()  # type: ignore[attr-defined]
    state = {"w": jax.ShapeDtypeStruct((128, 64), np.float32)}
    assert bytes_each(layout(1, shard_state=True), state) == 128 * 64 * 4


def test_what_is_neither_true_nor_false_is_refused():
    with pytest.raises(ArgumentError, match="shard_state must be True or False"):
        ladle.Task(MODEL, "cross_entropy", DATA, shard_state="zero")  # type: ignore[arg-type]


def test_several_processes_do_not_share_a_state(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ArgumentError, match="shard_state must be False with several processes"):
        layout(1, shard_state=True)


CHILD = """
import json, jax, numpy as np
from pathlib import Path
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.resident import ResidentFeed
from ladle.jax.engine import JaxEngine
from ladle.jax.objective import of_model
from ladle.jax.optimizer import optimizer_named
from ladle.jax.save import OrbaxSaver
from ladle.jax.step import CompiledStep
from ladle.models import as_model, mlp
from ladle.models.losses import cross_entropy

random = np.random.default_rng(0)
rows = Arrays({"x": random.normal(size=(96, 64)).astype(np.float32), "y": random.integers(0, 10, 96).astype(np.int32)})
READ = ("train_loss", "grad_norm", "clipped", "noise/trace", "noise/square")
FEEDS = {"resident": ResidentFeed(rows, Permuted(96, 0)), "host": HostFeed(rows, Permuted(96, 0))}


def engine(shared, devices=jax.device_count()):
    objective = of_model(as_model(mlp(64, 72, 10)), cross_entropy, {})
    rule = optimizer_named("adamw", {"ema": 0.9, "clip": 2.0})
    return JaxEngine(CompiledStep(objective, rule, gauge=Gauge(), devices=devices, shard_state=shared))


def trained(engine, state, feed, cursor):
    draw, cursor = feed.draw(cursor, BatchSpec(32, 16, updates=2))
    state, seen = engine.step(state, draw, BatchSpec(32, 16, updates=2))
    wanted = engine.abstract_state({})
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        assert a.sharding.is_equivalent_to(b.sharding, a.ndim), (a.sharding, b.sharding)
    read = seen.read()
    return state, cursor, [read[name] for name in READ]


def held(state):
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(state))


found = {}
for lane, feed in FEEDS.items():
    for shared in (True,) if lane == "host" else (False, True):
        one = engine(shared)
        state, cursor, numbers = trained(one, one.step.init(0, {"lr": 0.01}), feed, feed.start())
        found[f"{lane} {shared}"] = numbers + list(one.evaluate(state, rows.tree).values())
        if lane == "host":
            continue
        assert held(state) == one.state_bytes(), (held(state), one.state_bytes())
        found[f"bytes {shared}"] = [one.state_bytes(), one.state_bytes(whole=True)]
        for again in (one.copy(state), one.place(one.to_host(state))):
            assert held(again) == held(state)
        judged = one.with_weights(one.weights(one.averaged(state)))
        found[f"outputs {shared}"] = one.predict(judged, rows.tree["x"][:3]).ravel().tolist()
        if shared:
            moved, folder = state, Path(FOLDER)
            for number, devices in enumerate((2, jax.device_count())):
                OrbaxSaver().save(folder / str(number), moved)()
                there = engine(True, devices)
                moved = OrbaxSaver().load(folder / str(number), there.abstract_state({"lr": 0.01}))
                assert held(moved) == there.state_bytes()
                moved, cursor, numbers = trained(there, moved, feed, cursor)
                found[f"moved {number}"] = numbers
        else:
            for number in range(2):
                state, cursor, numbers = trained(one, state, feed, cursor)
                found[f"stayed {number}"] = numbers
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("devices", [4, pytest.param(8, marks=pytest.mark.long)])
def test_devices_that_share_a_state_have_the_numbers_of_a_whole_one(
    devices: int, tmp_path: Path, on_devices: Callable[[int, str], str]
):
    """In both lanes; through the host, a file of weights, and checkpoints that go to 2 devices and back again."""
    found = json.loads(on_devices(devices, CHILD.replace("FOLDER", repr(str(tmp_path)))))
    for one, other in (
        ("resident False", "resident True"),
        ("resident False", "host True"),
        ("outputs False", "outputs True"),
        ("stayed 0", "moved 0"),
        ("stayed 1", "moved 1"),
    ):
        np.testing.assert_allclose(found[one], found[other], rtol=2e-4, atol=1e-6, err_msg=other)
    whole = 4 * (64 * 72 + 72 + 72 * 10 + 10)
    cut = 4 * 64 * 72
    state, parts = found["bytes False"][0], found["bytes True"]
    assert state == parts[1]
    assert state - parts[0] == 4 * cut * (devices - 1) // devices  # Weights, two moments and the average.
    assert 4 * whole <= state <= 4 * whole + 128
