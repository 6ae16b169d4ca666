from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ladle.core import confirmation
from ladle.core.consumption import Consumption
from ladle.core.errors import RunError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.order import Sequential
from ladle.feed.resident import ResidentFeed
from ladle.jax.fakes_test import OBJECTIVE, feed_of, run, same, sgd
from ladle.jax.objective import of_functions
from ladle.jax.optimizer import optimizer_named
from ladle.jax.probe import CompiledProbe
from ladle.jax.step import CompiledStep

ROWS, INPUTS, HIDDEN = 4096, 32, 1024


def init(key: Any) -> Any:
    first, second = jax.random.split(key)
    return {"in": jax.random.normal(first, (INPUTS, HIDDEN)) / 8, "out": jax.random.normal(second, (HIDDEN,)) / 16}


def loss(params: Any, batch: Any) -> Any:
    return (jnp.tanh(batch["x"] @ params["in"]) @ params["out"] - batch["y"]) ** 2


STATE_BYTES = 4 * (INPUTS * HIDDEN + HIDDEN)
DATA_BYTES = 4 * ROWS * (INPUTS + 1)


@pytest.fixture(scope="module")
def wide() -> CompiledProbe:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, INPUTS)).astype(np.float32)
    feed = ResidentFeed(Arrays({"x": x, "y": x[:, 0]}), Sequential(ROWS))
    step = CompiledStep(of_functions(init, loss), optimizer_named("sgd"))
    return CompiledProbe(step, feed.placed(step.place), pilot=BatchSpec(64, 64))


@pytest.fixture(scope="module")
def small() -> CompiledProbe:
    step = CompiledStep(OBJECTIVE, optimizer_named("sgd"))
    return CompiledProbe(step, feed_of("resident"), pilot=BatchSpec(4, 4), hyper={"lr": 0.5})


def test_memory_is_all_that_the_program_holds_and_nothing_twice():
    analysis = SimpleNamespace(
        argument_size_in_bytes=1000, output_size_in_bytes=200, temp_size_in_bytes=30, alias_size_in_bytes=4
    )
    compiled = {(8, False): SimpleNamespace(memory_analysis=lambda: analysis)}
    probe = CompiledProbe(sgd(), feed_of("resident"), BatchSpec(8, 8), programs=compiled)
    assert probe.memory_bytes(BatchSpec(8, 8)) == 1226


def test_memory_grows_in_a_line_with_the_micro_batch(wide: CompiledProbe):
    """Above data and state; the activations of one more example cost the same at any size."""
    sizes = np.array([128, 512, 1024, 2048])
    found = np.array([wide.memory_bytes(BatchSpec(int(size), int(size))) for size in sizes])
    assert found[0] > DATA_BYTES + STATE_BYTES
    slopes = np.diff(found) / np.diff(sizes)
    assert (slopes > 4 * HIDDEN).all(), "each example leaves at least its hidden layer"
    assert slopes.max() / slopes.min() < 1.25


def test_memory_of_an_accumulated_batch_does_not_depend_on_its_size(small: CompiledProbe):
    one, other = (small.memory_bytes(BatchSpec(size, 4)) for size in (8, 30))
    assert one == other > small.memory_bytes(BatchSpec(4, 4)) - 1


def test_data_and_state_are_counted_once():
    """Momentum holds one number more for each parameter: once in the argument, which the result takes over."""

    def held(name: str, rows: int) -> int:
        feed = feed_of("resident", None, source=Arrays({"x": np.ones((rows, 50), np.float32)}))
        objective = of_functions(lambda key: {"w": jnp.ones(50)}, lambda params, batch: batch["x"] @ params["w"])
        probe = CompiledProbe(CompiledStep(objective, optimizer_named(name)), feed, BatchSpec(1, 1))
        return probe.memory_bytes(BatchSpec(1, 1))

    assert held("sgd", 1000) - held("sgd", 100) == 900 * 50 * 4
    assert 50 * 4 <= held("momentum", 100) - held("sgd", 100) < 2 * 50 * 4


@pytest.mark.slow
def test_a_child_confirms_the_prediction(wide: CompiledProbe):
    """Batches of some tens of megabytes: what the system gave the child is what the compiler said, to 20 %."""
    specs = [BatchSpec(4096, 4096), BatchSpec(4096, 2048), BatchSpec(4096, 4096)]
    predicted = [wide.memory_bytes(spec) for spec in specs]
    assert wide.confirm_all(specs) == pytest.approx(predicted, rel=0.2)


@pytest.mark.slow
def test_a_child_confirms_for_many_devices(on_devices: Callable[[int, str], str]):
    code = """
from ladle.jax.fakes_test import *
from ladle.jax.probe import CompiledProbe
probe = CompiledProbe(sgd(), feed_of("resident"), BatchSpec(4, 4))
print(probe.confirm_bytes(BatchSpec(10, 4)), probe.limit_bytes()[1])
"""
    peak, *how = on_devices(2, code).split(maxsplit=1)
    assert int(peak) >= 0
    assert how[0].endswith("shared by 2 devices\n")


@pytest.mark.parametrize(
    "script, message",
    [
        ("echo a last word >&2; exit 3", "ended with code 3: a last word"),
        ("kill -9 $$", "ended with code -9: no message"),
        ("exit 0", "ended with code 0: no message"),
        ("sleep 30", "took over 0.3 s"),
    ],
)
def test_a_child_that_does_not_survive_confirms_nothing(
    small: CompiledProbe, script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script.replace('sleep', 'exec sleep')}\n")
    fake.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(fake))
    if "sleep" in script:
        monkeypatch.setattr(confirmation, "TIMEOUT_SECONDS", 0.3)
    with pytest.raises(RunError, match=message):
        small.confirm_bytes(BatchSpec(4, 4))


def test_no_more_rows_are_confirmed_than_there_are(
    small: CompiledProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rungs: list[int] = []

    def exported(self: CompiledStep, shapes: Any, rung: Any) -> bytes:
        rungs.append(rung.micro_size)
        return b""

    monkeypatch.setattr(CompiledStep, "exported", exported)
    for number, size in enumerate((64, 4)):
        small._export(BatchSpec(size, size), tmp_path / str(number))
    assert rungs == [small.feed.epoch_size, 4]


def test_a_probe_leaves_no_trace_on_a_run(small: CompiledProbe):
    def train():
        return run(small.step, small.feed, BatchSpec(6, 4, updates=5), lr=0.1)[0]

    before = train()
    moments = small.moments(BatchSpec(8, 4), updates=6)
    small.seconds(BatchSpec(8, 4), repeats=1)
    assert same(before, train())
    assert small.moments(BatchSpec(8, 4), updates=6) == moments, "each starts afresh"
    assert small.feed.start().drawn == 0


def test_moments_are_taken_at_the_parameters_that_the_pilot_reached(small: CompiledProbe):
    """An epoch of the pilot, then updates at rate zero, all of them measured: the same as by hand."""
    state, _, _ = run(small.step, small.feed, BatchSpec(4, 4, updates=10), lr=0.5)  # ceil(37 / 4) updates, one epoch
    draw, _ = small.feed.draw(small.feed.start().__class__(37), BatchSpec(8, 4, updates=6))
    _, observation = sgd(gauge=Gauge(every=1))(state, draw, BatchSpec(8, 4, updates=6), 0.0)
    found = small.moments(BatchSpec(8, 4), updates=6)
    assert found == observation.moments()
    assert found.count == 5, "five of 8 = 4 + 4; the last of the pass has 5 = 4 + 1"


@pytest.mark.parametrize("interrupted", [0.0, 0.006, 0.04])
def test_windows_are_long_enough_that_they_do_not_measure_themselves(monkeypatch, interrupted: float):
    """A window costs 0.3 ms and 50 us an update: one update alone would be told at seven times what it takes."""
    probe, counts = (
        CompiledProbe(CompiledStep(OBJECTIVE, optimizer_named("sgd")), feed_of("resident"), BatchSpec(4, 4)),
        [],
    )

    def timed(self: Any, state: Any, spec: BatchSpec, updates: int) -> tuple[Any, float]:
        counts.append(updates)
        return state, 3e-4 + 5e-5 * updates + (interrupted if len(counts) == 2 else 0.0)

    monkeypatch.setattr(CompiledProbe, "_timed", timed)
    for _ in range(2):
        found = probe.seconds(BatchSpec(8, 8), 2)
    assert found.min() == pytest.approx(5e-5, rel=0.06) and counts[-1] >= 100


def test_seconds_are_measured_even_where_training_would_diverge():
    probe = CompiledProbe(sgd(), feed_of("resident"), BatchSpec(4, 4), hyper={"lr": 1e30})
    found = probe.seconds(BatchSpec(8, 8), repeats=3)
    assert found.shape == (3,)
    assert (found > 0).all() and np.isfinite(found).all()
    assert probe.joules(BatchSpec(8, 8)) is None


@dataclass
class FakeMeter:
    """Answers `joules` for whatever was done."""

    joules: float | None = 12.0
    measures: bool = True
    least_seconds: float = 0.0

    def start(self) -> None: ...

    def stop(self) -> Consumption:
        return Consumption(1.0, 1.0, self.joules, None if self.joules is None else "measured")


@pytest.mark.parametrize(
    ("meter", "joules"),
    [(FakeMeter(), 12.0), (FakeMeter(None), None), (FakeMeter(measures=False), None)],
    ids=["measured", "counter stood still", "modelled"],
)
def test_joules_are_of_one_update_and_never_of_a_model(meter: FakeMeter, joules: float | None):
    probe = CompiledProbe(sgd(), feed_of("resident"), BatchSpec(4, 4), meter=meter)
    assert probe.joules(BatchSpec(8, 8)) == joules


def test_joules_are_the_mean_of_as_many_updates_as_the_meter_needs():
    probe = CompiledProbe(sgd(), feed_of("resident"), BatchSpec(4, 4), meter=FakeMeter(least_seconds=0.05))
    found = probe.joules(BatchSpec(8, 8))
    assert found is not None and found < 12.0


def test_the_limit_is_found_and_says_how(small: CompiledProbe):
    limit, how = small.limit_bytes()
    assert 0 < limit < math.inf
    assert how.startswith("90% of the ")
