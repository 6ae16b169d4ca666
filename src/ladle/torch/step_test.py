"""The step: cuts, lanes, moments and constants; states that are copied, kept, written and read."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ladle.core.errors import ArgumentError, CheckpointError
from ladle.core.moments import Gauge
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import Arrays
from ladle.feed.host import HostFeed
from ladle.feed.order import Permuted
from ladle.feed.resident import ResidentFeed
from ladle.torch.backend import TorchBackend
from ladle.torch.engine import TorchEngine
from ladle.torch.save import TorchSaver
from ladle.torch.state import State

BACKEND = TorchBackend()
DRAWN = np.random.default_rng(0)
DATA = {"x": DRAWN.normal(size=(60, 4)).astype(np.float32), "y": DRAWN.integers(0, 3, 60).astype(np.int32)}
WEIGHT = DRAWN.uniform(0.1, 2, 60).astype(np.float32)


def engine(rule: Any = "adamw", gauge: Gauge | None = None, dropout: float = 0.0) -> TorchEngine:
    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 3))

    made = BACKEND.objective(make, None, None, "classification")
    return BACKEND.engine(made, BACKEND.optimizer(rule), gauge=gauge, devices="cpu")


def feed(resident: bool, weight: np.ndarray | None = None) -> Any:
    order = Permuted(60, seed=1)
    if not resident:
        return HostFeed(Arrays(dict(DATA)), order, weight)
    return ResidentFeed(Arrays(dict(DATA)), order, weight).placed(engine().place)


def run(
    made: TorchEngine, spec: BatchSpec, updates: int, resident: bool = True, state: State | None = None, at: int = 0
):
    state = state or made.step.init(3)
    source, cursor = feed(resident, WEIGHT), feed(resident).start()
    cursor = replace(cursor, drawn=at)
    for _ in range(updates):
        draw, cursor = source.draw(cursor, spec)
        state, observation = made.step(state, draw, spec)
    return state, observation


def close(one: State, two: State, **how: Any) -> None:
    torch.testing.assert_close(one.weights, two.weights, **how)


def test_cuts_and_lanes_come_to_the_same():
    whole, _ = run(engine(), BatchSpec(20, 20), 7)
    for micro, resident in ((6, True), (6, False), (20, False), (32, False)):
        found, _ = run(engine(), BatchSpec(20, micro), 7, resident)
        close(found, whole, rtol=1e-5, atol=1e-6)


def test_many_updates_in_one_draw_are_those_one_by_one():
    one, _ = run(engine(dropout=0.5), BatchSpec(20, 6), 6)
    many, observation = run(engine(dropout=0.5), BatchSpec(20, 6, updates=6), 1)
    close(many, one, rtol=0, atol=0)
    assert observation.begun == 6


@pytest.mark.parametrize(("gauge", "micro", "counts"), [(None, 20, 0), (None, 5, 3), (Gauge(every=2), 20, 2)])
def test_what_is_measured(gauge: Gauge | None, micro: int, counts: int):
    """Three whole batches in a pass of 60: of several micro-batches all, of one alone by the gauge."""
    _, observation = run(engine(gauge=gauge), BatchSpec(20, micro, updates=3), 1)
    assert observation.moments().count == counts


def test_kept_written_and_read_it_goes_on_bit_for_bit(tmp_path: Path):
    made, spec, saver = engine(dropout=0.5), BatchSpec(20, 6), TorchSaver()
    whole, _ = run(made, spec, 8)
    state, _ = run(made, spec, 5)
    saver.save(tmp_path / "state", state)()
    copied, kept = made.copy(state), pickle.loads(pickle.dumps(made.to_host(state)))
    read = saver.load(tmp_path / "state", made.abstract_state({}))
    assert saver.describe(read) == saver.describe(state) == saver.describe(kept)
    for begun in (state, copied, made.place(kept), read):
        found, _ = run(made, spec, 3, state=begun, at=100)
        close(found, whole, rtol=0, atol=0)
    leaves = saver.arrays(tmp_path / "state", saver.describe(state))
    assert leaves[0].shape == (8, 4) and {path.suffix for path in (tmp_path / "state").iterdir()} == {
        ".json",
        ".safetensors",
    }


def test_constants_move_and_are_read_back():
    made = engine()
    state, _ = run(made, BatchSpec(20, 20), 2)
    state = made.step.transfer(state, {"b2": 0.9, "lr": 0.5})
    assert made.constants(state)["b2"] == 0.9 and state.optimizer.param_groups[0]["betas"] == (0.9, 0.9)
    with pytest.raises(ArgumentError, match="no such constant"):
        made.step.transfer(state, {"momentum": 0.9})


def test_a_compiled_module_has_one_shape():
    shapes: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        shapes.append(inputs)
        return graph.forward

    made = BACKEND.objective(lambda: torch.compile(nn.Linear(4, 3), backend=backend), None, None, "classification")
    compiled = BACKEND.engine(made, BACKEND.optimizer("sgd"), devices="cpu")
    state = compiled.step.init(3)
    for size, micro in ((20, 20), (33, 20), (7, 20)):
        state, _ = run(compiled, BatchSpec(size, micro), 3, state=state)
    assert state.compiled and len(shapes) == 1


def test_what_is_not_finite_is_refused_and_ends_the_draw():
    made, bad = engine(), dict(DATA)
    bad["x"] = DATA["x"].copy()
    bad["x"][Permuted(60, seed=1).ids(25, 1)] = np.nan
    source = ResidentFeed(Arrays(bad), Permuted(60, seed=1)).placed(made.place)
    draw, _ = source.draw(source.start(), BatchSpec(20, 20, updates=3))
    _, observation = made.step(made.step.init(0), draw, BatchSpec(20, 20, updates=3))
    assert observation.sums()["updates"] == 1 and observation.sums()["refused"] == 1


def test_weights_go_out_and_in():
    made = engine()
    state, _ = run(made, BatchSpec(20, 20), 2)
    weights = made.weights(state)
    again = made.with_weights(weights)
    assert (made.predict(again, DATA["x"]) == made.predict(state, DATA["x"])).all()
    assert list(weights) == list(made.weight_types())
    with pytest.raises(CheckpointError, match="nothing is cast or cut"):
        made.with_weights({**weights, "0.bias": weights["0.bias"][:3]})


def test_evaluation_counts_each_row_once():
    made = engine(dropout=0.5)
    state, rows = made.step.init(0), dict(DATA)
    each, found = made.losses(state, rows), made.evaluate(state, rows)
    assert found["valid_loss"] == pytest.approx(each.mean(), rel=1e-6) and len(each) == 60
    few = made.within(made.judging(rows)[1] // 10)
    assert few.judging(rows)[0] == 6 and few.evaluate(state, rows) == pytest.approx(found, rel=1e-6)
    with pytest.raises(ArgumentError, match="leave room for an evaluation"):
        made.within(1).evaluate(state, rows)
    assert state.model.training


def test_a_loss_of_company_is_found():
    def contrastive(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (outputs @ outputs.T).logsumexp(1)

    made = BACKEND.objective(nn.Linear(4, 3), contrastive, {}, "classification")
    assert made.declared
    with pytest.raises(ArgumentError, match="sum over rows"):
        BACKEND.engine(made, BACKEND.optimizer("sgd"), devices="cpu").require_independent(engine().place(DATA))
    engine().require_independent(engine().place(DATA))


def test_state_bytes_count_the_optimisers_averages():
    weights = sum(leaf.nbytes for leaf in engine().step.init(0).weights.values())
    assert engine("sgd").state_bytes() == weights
    assert 3 * weights <= engine("adamw").state_bytes() <= 3 * weights + 64


@pytest.mark.parametrize("rule", ["momentum", "adamw"])
def test_averages_begin_anew_and_nothing_else_does(rule: str):
    made = engine(rule)
    state, _ = run(made, BatchSpec(8, 8), 3)
    before = {name: leaf.clone() for name, leaf in state.weights.items()}
    assert len(state.optimizer.state) > 0
    state = made.step.reset(state)
    assert len(state.optimizer.state) == 0
    assert all(torch.equal(leaf, before[name]) for name, leaf in state.weights.items())
    fresh = made.step.init(3)
    fresh.model.load_state_dict(before)
    first, second = run(made, BatchSpec(8, 8), 2, state=state), run(made, BatchSpec(8, 8), 2, state=fresh)
    assert all(torch.equal(leaf, second[0].weights[name]) for name, leaf in first[0].weights.items())
