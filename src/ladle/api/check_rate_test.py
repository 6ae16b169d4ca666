from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import optax
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.api.check_rate import check_rate, checked, examples_of
from ladle.core.errors import ArgumentError
from ladle.core.noise import NoiseScale
from ladle.core.plan import Evidence, Plan
from ladle.core.record import plain
from ladle.planner.rate_check import judge


def plan(lr: float | None, size: int = 32, **changed) -> Plan:
    evidence = (Evidence("reference_lr", 0.1, "", "given", ""), Evidence("lr", lr or 0.0, "", "predicted", "rule"))
    made = Plan(size, size, lr, "optimum", (size, size), NoiseScale.unknown(), evidence=evidence, reference_lr=0.1)
    return replace(made, **changed)


def task(**changed) -> ladle.Task:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((320, 3)).astype(np.float32)
    y = (X @ [1.0, -2.0, 0.5] + 0.01 * rng.standard_normal(320)).astype(np.float32)
    data = ladle.data.arrays(X, y, valid=0.2)
    return ladle.Task(ladle.models.linear(3, 1), ladle.losses.mse, data, **{"optimizer": "sgd", **changed})


@pytest.fixture(scope="module")
def assembly():
    return assemble(task())


@pytest.mark.parametrize(
    ("lr", "verdict"),
    [(0.1, "the rule holds here"), (0.002, "a higher rate was better"), (0.9, "a lower rate was better")],
)
def test_a_linear_model_has_a_rate_that_holds(assembly, lr, verdict):
    """(w x - y)^2 with unit inputs and 1 % noise: 0.1 is near the best; 1 and more diverge."""
    before = plan(lr)
    after = check_rate(assembly, before)
    assert [note for note in after.notes if note.startswith(f"Rate check: {verdict}")], after.notes
    number = after.number("lr")
    assert number is not None and after.lr == number.value
    moved = verdict != "the rule holds here"
    assert (number.source, after.lr != lr) == ("measured" if moved else "predicted", moved)
    assert ("(measured, the best of three" in after.explain()) == moved
    assert Plan.from_json(json.loads(json.dumps(plain(after.to_json()), allow_nan=False))).lr == after.lr


def test_nothing_is_compiled_for_the_rates(assembly, compilations: Counter[str]):
    check_rate(assembly, plan(0.3))
    before = compilations.copy()
    check_rate(assembly, plan(0.1))
    assert compilations == before


def test_where_nothing_is_resolved_nothing_changes():
    before = plan(0.3)
    after = checked(before, judge((0.1, 0.3, 0.9), [[1.0, 2.0], [1.0, 1.5], [1.5, 1.0]], examples=100))
    assert after.lr == before.lr and after.number("lr") == before.number("lr")
    assert "Rate check: not resolved" in after.notes[0] and after.number("lower_rate_gap") is not None


def test_how_long_a_run_is():
    assert examples_of(plan(0.3), rows=1000) == 10_000
    assert examples_of(plan(0.3), rows=10) == 12 * 32
    assert examples_of(plan(0.3), rows=10**9) == 1000 * 32
    slow = (Evidence("examples_per_second", 900.0, "examples/s", "predicted", ""),)
    assert examples_of(plan(0.3, evidence=slow), rows=10**9) == 2000


@pytest.mark.long
@pytest.mark.slow
def test_a_plan_checks_its_rate_when_it_is_asked_to():
    made = ladle.plan(task(lr=0.1), check_lr=True)
    assert sum(note.startswith("Rate check: ") for note in made.notes) == 1
    assert made.lr is not None and math.isfinite(made.lr)


def test_without_a_rate_there_is_nothing_to_check():
    with pytest.raises(ArgumentError, match="check_lr must have a rate to check"):
        ladle.plan(task(optimizer=optax.sgd(optax.linear_schedule(0.1, 0.0, 9))), check_lr=True)


@pytest.mark.parametrize("lr", [0.0, -1.0, math.inf])
def test_a_rate_of_zero_is_refused(lr):
    with pytest.raises(ArgumentError, match="lr must be a positive number"):
        ladle.plan(task(), lr=lr)
