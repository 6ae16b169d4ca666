from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.assembly import assemble
from ladle.api.run_memory import SLACK_BYTES, RunMemory, limit_of, memory_of, within_limit
from ladle.api.setup import Terms, set_up
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError
from ladle.core.plan import Evidence, Plan

ROWS, WIDTH = 400, 32


def made() -> Any:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2 * ROWS, WIDTH)).astype(np.float32), rng.integers(0, 3, 2 * ROWS)
    data = ladle.data.arrays(x, y, valid=0.5, kind="classification")
    return assemble(ladle.Task(ladle.models.mlp(WIDTH, 64, 3), ladle.losses.cross_entropy, data, optimizer="momentum"))


def test_the_peak_is_the_largest_of_three_moments() -> None:
    parts = RunMemory(100, 50, 10, 10, 30, evaluation_rows=8, evaluation_bytes=20)
    assert parts.resting == 170 and parts.beside_update == 60
    assert parts.peak(update_bytes=300) == 360
    assert parts.peak(update_bytes=111) == 200  # a save
    assert replace(parts, evaluation_bytes=40).peak(update_bytes=111) == 210
    assert parts.peak(update_bytes=300, waits=False) == 360 + 2 * 30


def test_the_parts_are_counted_from_shapes() -> None:
    assembly = made()
    parts = memory_of(assembly)
    weights = 4 * (WIDTH * 64 + 64 + 64 * 3 + 3)
    assert abs(parts.state_bytes - 2 * weights) < 64  # momentum, and a few numbers
    rows = sum(leaf.nbytes for leaf in assembly.task.data.train.values())
    assert parts.train_bytes == rows and parts.valid_bytes == sum(x.nbytes for x in assembly.task.data.valid.values())
    assert parts.evaluation_rows == ROWS and parts.evaluation_bytes >= 4 * ROWS * 64


def test_an_evaluation_keeps_to_the_limit_and_reads_the_same() -> None:
    assembly = made()
    parts, state = memory_of(assembly), assembly.engine.step.init(0, {})
    limit = parts.resting + SLACK_BYTES + max(parts.saving_bytes + 1, parts.evaluation_bytes // 2)
    held = within_limit(assembly, limit)
    less = memory_of(held)
    assert less.evaluation_rows < parts.evaluation_rows
    assert less.resting + less.evaluation_bytes <= limit
    found, expected = (one.engine.evaluate(state, one.valid) for one in (held, assembly))
    assert found == pytest.approx(expected, rel=1e-5)
    assert within_limit(held, limit) is held and held.engine.gauged(ladle.Gauge(parts=2)).room_bytes is not None


def test_a_limit_below_what_is_always_there_is_refused() -> None:
    with pytest.raises(ArgumentError, match="memory must be more than .* bytes; got '1,000 bytes'"):
        within_limit(made(), 1000)


def test_a_run_by_a_plan_keeps_the_limit_that_the_plan_was_made_under() -> None:
    given = Evidence("memory_limit_bytes", 1e7, "bytes", "given", "given")
    base = Plan(8, 8, 0.1, "given", (8, 8), ladle.noise.NoiseScale.unknown())
    plan = replace(base, evidence=(given,))
    assert limit_of(None) is None and limit_of(base) is None and limit_of(plan) == 10_000_000
    assert limit_of(replace(base, evidence=(replace(given, source="measured"),))) is None
    setup = set_up(made(), Terms(until=Until.parse("1 epoch"), plan=plan))
    assert setup.assembly.limit_bytes == 10_000_000
    assert set_up(made(), Terms(until=Until.parse("1 epoch"), size=8)).assembly.limit_bytes is None


def test_a_fit_within_a_limit_cuts_its_batches_by_it(tmp_path: Any) -> None:
    assembly = made()
    parts = memory_of(assembly)
    limit = parts.resting + SLACK_BYTES + parts.saving_bytes + 60_000
    run = ladle.fit(assembly, size=ROWS, memory=limit, until="1 epoch", out=tmp_path / "run")
    assert run.final["micro_size"] < ROWS and run.assembly.limit_bytes == limit
    assert "valid_loss" in run.final
