"""The optimiser's state on the host: where each array lies, and numbers that are those of a state on the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ladle
from ladle.core.errors import ArgumentError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.fold import Fold
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.resident import ResidentFeed
from ladle.jax.engine import JaxEngine
from ladle.jax.mesh import HOST, layout
from ladle.jax.objective import of_model
from ladle.jax.offload import parked_bytes
from ladle.jax.optimizer import optimizer_named
from ladle.jax.save import OrbaxSaver
from ladle.jax.shard import SMALL
from ladle.jax.step import CompiledStep
from ladle.models import as_model, mlp
from ladle.models.losses import cross_entropy

RANDOM = np.random.default_rng(0)
ROWS = Arrays({
    "x": RANDOM.normal(size=(96, 64)).astype(np.float32),
    "y": RANDOM.integers(0, 10, 96).astype(np.int32),
})  # fmt: skip
FEEDS = {"resident": ResidentFeed(ROWS, Permuted(96, 0)), "host": HostFeed(ROWS, Permuted(96, 0))}
DIGITS = ladle.data.load("digits")


def engine(offload: bool = True, rule: str = "adamw", gauge: Gauge | None = None, **how: Any) -> JaxEngine:
    objective = of_model(as_model(mlp(64, 72, 10)), cross_entropy, {})
    optimizer = optimizer_named(rule, {"ema": 0.9, "clip": 2.0})
    return JaxEngine(CompiledStep(objective, optimizer, gauge=gauge, devices=1, offload=offload, **how))


def lie_as_told(engine: JaxEngine, state: Any) -> bool:
    """Whether each array of a state lies where the engine says; some of the optimiser's, and no others, on the host."""
    wanted = engine.abstract_state({})
    kinds = jax.tree.map(lambda leaf: leaf.sharding.memory_kind, state)
    same = kinds == jax.tree.map(lambda leaf: leaf.sharding.memory_kind, wanted)
    host = [leaf for leaf in jax.tree.leaves(state) if leaf.sharding.memory_kind == HOST]
    moved = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.size >= SMALL]
    return same and len(host) == len(moved) > 0 and all(a is b for a, b in zip(host, moved, strict=True))


def trained(engine: JaxEngine, lane: str, state: Any, updates: int = 3) -> tuple[Any, dict[str, float]]:
    feed, spec = FEEDS[lane], BatchSpec(32, 16, updates=updates)
    draw, _ = feed.draw(feed.start(), spec)
    state, seen = engine.step(state, draw, spec)
    return state, dict(seen.read())


@pytest.mark.parametrize("lane", FEEDS)
def test_numbers_are_to_the_bit_those_of_a_state_on_the_device(lane: str):
    gauge = Gauge(geometry="preconditioned")  # It reads the second moment.
    host, device = engine(gauge=gauge), engine(False, gauge=gauge)
    begun = host.step.init(0, {"lr": 0.01})
    assert lie_as_told(host, begun)
    state, seen = trained(host, lane, begun)
    other, known = trained(device, lane, device.step.init(0, {"lr": 0.01}))
    assert lie_as_told(host, state) and seen == known
    for mine, its in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(its))


def test_a_state_stays_on_the_host_wherever_it_is_changed_copied_or_loaded(tmp_path: Path):
    one = engine()
    state, _ = trained(one, "resident", one.step.init(0, {"lr": 0.01}))
    OrbaxSaver().save(tmp_path / "0", state)()
    loaded = OrbaxSaver().load(tmp_path / "0", one.abstract_state({"lr": 0.01}))
    changed = one.step.transfer(one.copy(state), {"b1": 0.8, "lr": 0.02})
    draw, _ = FEEDS["host"].draw(FEEDS["host"].start(), BatchSpec(32, 32))
    rebased = one.rebase()(one.copy(state), draw, BatchSpec(32, 32), 8)
    ways = (one.copy(state), one.place(one.to_host(state)), loaded, changed, rebased, one.step.reset(state))
    assert all(lie_as_told(one, each) for each in ways)
    assert trained(one, "resident", loaded)[1] == trained(engine(False), "resident", one.to_host(one.copy(state)))[1]


def test_trials_side_by_side_are_those_in_turn():
    one = engine(rule="adam")
    order = Fold(np.arange(80), 80, 0, room=96)
    rows = one.place(ROWS.tree), one.place(np.ones(96, np.float32))
    trials = one.trials(*rows, [np.arange(80, 96)], (16,), None)
    states = [trials.start(0, {"lr": rate}) for rate in (0.01, 0.02)]
    alone = [trials.score(trials.advance(one.copy(each), order, 16, 0, 5)[0], 0) for each in states]
    together, _ = trials.advance_all(states, [order] * 2, 16, 0, 5)
    assert all(lie_as_told(one, each) for each in together)
    for mine, its in zip(trials.score_all(together, [0, 0]), alone, strict=True):
        assert mine == pytest.approx(its, rel=1e-5)


def test_a_run_is_that_without_it_and_goes_on_with_or_without_it(tmp_path: Path, compilations: Counter[str]):
    task = ladle.Task(mlp(64, 72, 10), "cross_entropy", DIGITS, lr=1e-3)
    plain = ladle.fit(task, size=64, until="3 epochs")
    how = {"size": 64, "out": tmp_path / "run"}
    ladle.fit(task.with_(offload=True), until="1 epochs", **how)
    compilations.clear()
    ladle.fit(task.with_(offload=True), until="2 epochs", resume=True, **how)
    assert compilations.total() == 0
    run = ladle.fit(task, until="3 epochs", resume=True, **how)
    assert run.final["valid_loss"] == plain.final["valid_loss"] and run.final["train_loss"] == plain.final["train_loss"]


def test_what_the_host_keeps_is_counted_where_it_is_not_the_device():
    one = engine()
    state = one.abstract_state({})
    assert parked_bytes(one.step.layout, state) == 2 * 4 * 64 * 72 and parked_bytes(layout(1), state) == 0
    assert one.state_bytes() == one.state_bytes(whole=True)  # On a processor nothing is saved.


@pytest.mark.long
def test_a_plan_confirms_it_in_the_child_and_says_that_nothing_is_saved_here():
    task = ladle.Task(mlp(64, 72, 10), "cross_entropy", DIGITS, lr=1e-3, offload=True)
    made = ladle.plan(task)
    assert made.number("memory_measured_bytes") is not None
    assert "offload saves nothing here: the memory of the device is that of the host." in made.notes


CHILD = """
import ladle
task = ladle.Task(ladle.models.mlp(64, 72, 10), "cross_entropy", "digits", lr=1e-3)
for how in ({}, {"shard_state": True}):
    runs = [ladle.fit(task.with_(**how, offload=offload), size=64, until="1 epochs") for offload in (False, True)]
    print(*(run.final["valid_loss"] for run in runs))
"""


@pytest.mark.long
def test_several_devices_that_share_a_state_or_not(on_devices: Callable[[int, str], str]):
    for line in on_devices(2, CHILD).splitlines()[-2:]:
        whole, parked = map(float, line.split())
        assert whole == pytest.approx(parked, rel=1e-6)


class Bare:
    """A device that knows no memory but its own."""

    device_kind = "abacus"

    def addressable_memories(self) -> list[Any]:
        return [jax.local_devices()[0].memory("device")]


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ArgumentError, match="offload must be True or False; got 'state'"):
        ladle.Task(mlp(64, 72, 10), "cross_entropy", DIGITS, offload="state")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="offload must be False on this device; got True; because abacus reads no"):
        layout([Bare()], offload=True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ArgumentError, match="offload must be False with several processes"):
        layout(1, offload=True)
