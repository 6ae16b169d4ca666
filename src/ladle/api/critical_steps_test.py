from __future__ import annotations

import json
import math

import pytest

import ladle
from ladle.api.critical_steps import _left_out, measure_steps
from ladle.core.errors import ArgumentError, RunError


@pytest.fixture(scope="module")
def assembly():
    from ladle.api.assembly import assemble

    data = ladle.data.load("digits")
    task = ladle.Task(ladle.models.linear(64, 10), ladle.losses.cross_entropy, data, optimizer="sgd", lr=2.0)
    return assemble(task)


def test_steps_to_a_target_with_their_hyperbola(assembly, tmp_path):
    out = tmp_path / "critical"
    found = measure_steps(assembly, "valid_loss=0.6", sizes=(16, 64, 1024), seeds=2, micro_size=8, out=out)
    steps = [row["steps"] for row in found.table]
    assert steps[0] > steps[1] > steps[2] > 1
    assert all(row["low"] <= row["steps"] <= row["high"] for row in found.table)
    assert [one.name for one in found.definitions][:2] == ["Bc = E_min/S_min", "B_20% from 16"]
    assert found["Bc"].value == pytest.approx(found.facts["fit"]["min_examples"] / found.facts["fit"]["min_steps"])
    written = json.loads((out / "critical.json").read_text())
    assert written["points"] == [] and written["target"] == "valid_loss <= 0.6"
    assert (out / "critical.png").stat().st_size > 10_000
    assert "Bc = E_min/S_min" in str(found)


def test_a_target_that_is_not_reached_is_one_line_and_a_size_that_does_not_is_listed(assembly):
    with pytest.raises(RunError, match="target must be reached at three sizes or more.*0 of 3 sizes reached it"):
        measure_steps(assembly, "valid_loss=1e-6", sizes=(64, 256, 1024), until="3 steps", micro_size=8)
    found = measure_steps(
        assembly, "valid_accuracy=0.8", sizes=(32, 64, 128, 1438), until="1300 examples", micro_size=8
    )
    assert any("left out of the fit: 1438; larger sizes" in note and "too high" in note for note in found.notes)
    assert any("fewer than 5 sizes" in note for note in found.notes)
    assert found.table[-1]["steps"] is None and math.isfinite(found["Bc"].value)


@pytest.mark.parametrize(
    ("target", "how", "message"),
    [
        ("valid_loss", {}, "the target must be METRIC=VALUE"),
        ("valid_loss=low", {}, "the target must be METRIC=VALUE"),
        ("valid_los=0.4", {}, "try 'valid_loss'"),
        ("train_loss=0.4", {}, "the target must name a validation metric"),
        ("valid_loss=1", {"sizes": (8, 16)}, "sizes must hold three or more sizes"),
        ("valid_loss=1", {"sizes": (8, 16, 5000)}, "sizes must be at most the 1,438 training examples"),
        ("valid_loss=1", {"until": "5 min"}, "until must be epochs, examples or steps; got '5 min'"),
        ("valid_loss=1", {"seeds": 0}, "seeds must be a whole number from 1 on"),
        ("valid_loss=5", {}, "the target must be a target that takes training; got 'valid_loss=5'"),
        ("valid_loss >= 0.4", {}, "the target must be a target that takes training"),
        ("valid_accuracy<=0.95", {}, "because a fresh model has valid_accuracy"),
        ("valid_loss=1", {"base": 0}, "base must be positive"),
    ],
)
def test_what_cannot_be_measured_is_refused(assembly, target, how, message):
    with pytest.raises(ArgumentError, match=message):
        measure_steps(assembly, target, **how)


def test_which_way_a_size_left_out_moves_the_critical_one():
    assert _left_out([4], [8, 16, 32]).endswith("Bc may be too low")
    assert "too high" in _left_out([4, 64], [8, 16, 32]) and "too low" in _left_out([4, 64], [8, 16, 32])
    assert _left_out([16], [8, 32, 64]) == "never reached, left out of the fit: 16"


@pytest.mark.long
def test_steps_of_an_mlp_at_tuned_rates_follow_the_hyperbola():
    data = ladle.data.load("digits")
    task = ladle.Task(ladle.models.mlp(64, 64, 10), ladle.losses.cross_entropy, data, optimizer="sgd")
    found = measure_steps(task, "valid_loss=0.4", sizes=[2**power for power in range(3, 11)])
    assert found.facts["better"] == "hyperbola" and found.facts["weight"] > 0.9
    assert 5 < found["Bc"].low < found["Bc"].value < found["Bc"].high < 100
