from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.batch import Batch
from ladle.core.errors import ArgumentError
from ladle.jax.mesh import layout
from ladle.jax.rows import filled


def test_all_local_devices_by_default():
    assert layout().devices == jax.local_device_count()
    assert layout(1).devices == layout(jax.local_devices()[:1]).devices == 1


@pytest.mark.parametrize("devices", [0, -1, 1.5, 10_000])
def test_a_number_of_devices_that_there_is_not_is_refused(devices):
    with pytest.raises(ArgumentError, match="devices must be"):
        layout(devices)


def test_no_devices_are_refused():
    with pytest.raises(ArgumentError, match="devices must hold at least one"):
        layout([])


def test_rows_are_rounded_up_to_the_devices(on_devices: Callable[[int, str], str]):
    code = """
from ladle.jax.mesh import layout
three = layout(3)
print([three.rows(n) for n in (1, 3, 4, 6, 7)], len(three.in_parts(jax.numpy.ones(6)).sharding.device_set),
      [shard.data.shape for shard in three.everywhere(jax.numpy.ones(6)).addressable_shards])
"""
    assert on_devices(4, "import jax" + code) == "[3, 3, 6, 6, 9] 3 [(6,), (6,), (6,)]\n"


@given(real=st.integers(1, 9), more=st.integers(0, 20))
def test_missing_rows_are_filled_up_with_the_batchs_own_at_weight_zero(real, more):
    values = np.arange(1, real + 1)
    batch = filled(Batch({"x": values}, values.astype(np.float32), values + 100, values, real), real + more)
    assert batch.data["x"].tolist() == [1 + i % real for i in range(real + more)]
    assert batch.weight.tolist() == [*range(1, real + 1), *[0] * more]
    assert batch.weight.dtype == np.float32
    assert (batch.position - 100).tolist() == batch.data["x"].tolist()


CHILD = """
import json, jax, numpy as np
from ladle.jax.fakes_test import *
from ladle.jax.evaluate import Evaluator
from ladle.core.moments import Gauge, Moments
compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, seconds, **facts: compiled.append(facts.get("fun_name")) if "backend_compile" in name else None)
weight = np.arange(N) % 3 / np.float32(2)
found = {"devices": jax.device_count()}
for lane, per_example in (("resident", False), ("host", False), ("resident", True)):
    step, feed = sgd(gauge=Gauge(per_example=True) if per_example else None), feed_of(lane, weight)
    for size, start in ((10, 0), (37, 0)) if per_example else ((37, 0), (10, 0), (5, 2), (40, 35), (1, 36)):
        state, observation, _ = run(step, feed, BatchSpec(size, 5 if per_example else 8), start=start)
        sums = observation.sums()
        sums = [sums[name] for name in ("loss", "weight", "metric/accuracy", "noise/trace")]
        found[f"{lane} {per_example} {size}"] = [*gradient(state).tolist(), *sums]
    if per_example:
        continue
    cursor, before = Cursor(), len(compiled)
    for size in (9, 30, 37, 11):
        spec = BatchSpec(size, 8, updates=5)
        draw, cursor = feed.draw(cursor, spec)
        state, observation = step(step.prepare(state, draw, spec), draw, spec, 0.1)
    if lane == "resident":
        assert len(compiled) == before, compiled[before:]
    found[f"{lane} run"] = [*flat(state.params).tolist(), observation.read()["train_loss"]]
found["evaluate"] = list(Evaluator(OBJECTIVE, step.layout, rows=10)(step.init(0), SOURCE.tree).values())
if (devices := jax.device_count()) > 1:
    state, observation, draw = run(sgd(gauge=Gauge()), feed_of("resident"), BatchSpec(32, 32))
    parts = np.split(draw.ids()[0], devices)
    expected = Moments.from_gradients([reference(part)[0] for part in parts], 32 // devices)
    moments = observation.moments()
    assert relative(gradient(state), reference(draw.ids()[0])[0]) < 1e-5
    assert np.allclose([moments.trace, moments.square], [expected.trace, expected.square], rtol=1e-3)
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("devices", [(1, 4), pytest.param((1, 2, 8), marks=pytest.mark.long)])
def test_any_number_of_devices_gives_the_same_gradients_and_losses(
    devices: tuple[int, ...], on_devices: Callable[[int, str], str]
):
    """And where there are several, each one's own part of a micro-batch is a replica whose noise is measured."""
    with ThreadPoolExecutor(2) as children:
        one, *others = (json.loads(text) for text in children.map(partial(on_devices, code=CHILD), devices))
    assert [found.pop("devices") for found in (one, *others)] == list(devices)
    for found in others:
        for name, numbers in one.items():
            np.testing.assert_allclose(found[name], numbers, rtol=1e-5, atol=1e-5, err_msg=name)
