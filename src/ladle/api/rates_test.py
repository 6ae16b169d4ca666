from __future__ import annotations

import math
from collections import Counter

import numpy as np
import optax
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.api.racetrack import FIXED, LEAST, Racetrack
from ladle.api.rates import found_rate, tryout_of
from ladle.core.errors import ArgumentError
from ladle.core.spec import BatchSpec
from ladle.planner.tryout import JUDGING


def task(rows: int = 400, **changed) -> ladle.Task:
    """Linear regression with unit inputs: SGD's best rate is near 0.3, above 1 it diverges."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 3)).astype(np.float32)
    y = (X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(rows)).astype(np.float32)
    data = ladle.data.arrays(X, y, valid=0.2)
    return ladle.Task(ladle.models.linear(3, 1), ladle.losses.mse, data, **{"optimizer": "sgd", **changed})


def rate_of(run: ladle.Run) -> float:
    return run.assembly.engine.constants(run.state)["lr"]


@pytest.fixture(scope="module")
def assembly():
    return assemble(task())


@pytest.mark.parametrize("usual", [1e-4, 0.1, 5.0])
def test_a_linear_model_finds_its_rate_whatever_the_usual_one_is(assembly, usual):
    finding = found_rate(assembly, BatchSpec(32, 32), usual, {}, until="20 epochs", seconds=1e9)
    assert finding.race is not None and finding.race.verdict != "not resolved"
    assert 0.03 < finding.rate < 0.7
    assert finding.race.low < finding.rate < finding.race.high


def test_nothing_is_compiled_for_another_rate_seed_or_race(assembly, compilations: Counter[str]):
    found_rate(assembly, BatchSpec(32, 32), 0.1, {}, until="20 epochs", seconds=1e9)
    before = compilations.copy()
    found_rate(assembly, BatchSpec(32, 32), 0.3, {}, until="30 epochs", seconds=1e9)
    assert compilations == before


def test_the_horizon_is_the_run_that_is_meant_as_far_as_the_seconds_go(assembly):
    track = Racetrack(assembly, BatchSpec(32, 32))
    spec = track.spec
    assert tryout_of(assembly, "20 epochs", 1e9).horizon(track, spec, rows=320) == 200
    assert tryout_of(assembly, "77 steps", 1e9).horizon(track, spec, rows=320) == 77
    assert tryout_of(assembly, "10 min", 1e9).horizon(track, spec, rows=320) == 300
    assert tryout_of(assembly, None, 0.0).horizon(track, spec, rows=320) == 0


def test_runs_are_judged_on_the_same_rows_as_many_as_the_seconds_pay_for(assembly, monkeypatch):
    large = assemble(task(rows=6000))
    monkeypatch.setattr(Racetrack, "judging_seconds", lambda track: 1e-6 * len(track.rows["y"]))
    few = Racetrack(large, BatchSpec(32, 32))
    rows = few.rows
    assert len(rows["y"]) == LEAST < len(large.valid["y"])
    assert len(few.judged_in(0.0).rows["y"]) == LEAST
    assert len(few.judged_in(600e-6).rows["y"]) == 512
    assert few.judged_in(1.0).rows is large.valid
    found = tryout_of(large, None, 400 * 600e-6 / JUDGING)
    assert [len(found.track(BatchSpec(size, size), {}).rows["y"]) for size in (32, 1024)] == [512, 512]
    fixed = tryout_of(large, "10 epochs", 1e9, aim="loss").track(BatchSpec(32, 32), {})
    assert len(fixed.rows["y"]) == FIXED, "a run's rate is no matter of how fast the machine is"
    assert Racetrack(assembly, BatchSpec(32, 32)).rows is assembly.valid
    assert {tuple(row) for row in np.asarray(rows["x"])} <= {tuple(row) for row in np.asarray(large.valid["x"])}


def test_without_a_validation_part_training_rows_judge():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((64, 3)).astype(np.float32)
    bare = ladle.Task(
        ladle.models.linear(3, 1), ladle.losses.mse, ladle.data.arrays(X, X[:, 0], valid=0.0), optimizer="sgd"
    )
    finding = found_rate(assemble(bare), BatchSpec(16, 16), 0.1, {}, until="20 epochs", seconds=1e9)
    assert finding.race is not None and finding.race.rate is not None


@pytest.mark.slow
def test_a_plan_measures_the_rate_that_nobody_chose_and_keeps_the_one_that_somebody_did():
    made = ladle.plan(task(), budget=600.0, until="20 epochs")
    number = made.number("lr")
    assert number is not None and number.source == "measured" and number.low is not None and number.high is not None
    assert number.low < made.lr < number.high
    assert sum(note.startswith("Rates: ") for note in made.notes) == 1
    kept = ladle.plan(task(lr=0.02), budget=600.0, until="20 epochs")
    assert kept.reference_lr == 0.02 and kept.number("lr").source == "predicted"
    assert not any(note.startswith("Rates: ") for note in kept.notes)
    told = ladle.plan(task(), lr=0.002, check_lr=True, budget=600.0, until="20 epochs")
    assert told.number("lr").source == "predicted" and any("the given" in note for note in told.notes)
    ruled = ladle.plan(task(), lr="rule", budget=600.0, until="20 epochs")
    assert ruled.reference_lr == assemble(task()).reference_lr and ruled.number("lr").source == "predicted"


def test_without_a_rate_there_is_nothing_to_check():
    with pytest.raises(ArgumentError, match="check_lr must have a rate to check"):
        ladle.plan(task(optimizer=optax.sgd(optax.linear_schedule(0.1, 0.0, 9))), check_lr=True)


@pytest.mark.parametrize("lr", [0.0, -1.0, math.inf])
def test_a_rate_of_zero_is_refused(lr):
    with pytest.raises(ArgumentError, match="lr must be a positive number"):
        ladle.plan(task(), lr=lr)


def test_a_run_has_the_fastest_rate_where_it_is_asked_to_look_for_it():
    poor = assemble(task(lr=1e-4))
    run = ladle.fit(poor, size=32, until="20 epochs", lr="sweep")
    assert 0.03 < rate_of(run) < 0.7
    assert run.final["valid_loss"] < 0.1 * ladle.fit(poor, size=32, until="20 epochs").final["valid_loss"]
    with pytest.raises(ArgumentError, match="lr must be left to the optimiser"):
        ladle.fit(task(optimizer=optax.sgd(optax.linear_schedule(0.1, 0.0, 9))), size=32, lr="sweep")


def test_a_schedule_begins_with_the_rate_that_was_found(assembly):
    one = ladle.fit(assembly, size=32, until="20 epochs", lr="sweep")
    other = ladle.fit(assembly, policy="0:32 10ep:64", until="20 epochs", lr="sweep")
    assert rate_of(one) == rate_of(other)
