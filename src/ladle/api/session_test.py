"""Joules in the record: where a meter measures, and nowhere else."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api import sitting as module
from ladle.core.record import METRICS_FILE, read_lines
from ladle.energy.clock import ClockMeter
from ladle.energy.counters import Counter, CounterMeter

X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
DATA = ladle.data.arrays(X, X @ np.ones(3), kind="regression")
TIMED = {"seconds", "cpu_seconds", "window_seconds", "examples_per_second"}
OWN = {*TIMED, "memory_bytes", "memory_limit_bytes", "joules"}
"""Fields that two equal runs need not share."""


def run(folder: Path | None = None, until: str = "3 epochs", **more: Any) -> ladle.Run:
    task = ladle.Task(ladle.models.linear(3, 1), "mse", DATA, optimizer="sgd", lr=0.1)
    return ladle.fit(task, 12, until=until, out=folder, **more)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose counter goes on by 2 J whenever it is read."""

    def meter(**_: Any) -> CounterMeter:
        ticks = itertools.count(100.0, 2.0)
        return CounterMeter([Counter("made up", lambda: next(ticks))], "a made-up counter")

    monkeypatch.setattr(module, "best_meter", meter)


def joules(lines: Any) -> list[float | None]:
    return [line.get("joules") for line in lines if "lr_factor" in line]


def test_lines_tell_the_joules_so_far_and_a_resumed_run_goes_on_from_them(tmp_path: Path, counted: None) -> None:
    first = run(tmp_path / "a")
    assert joules(first.metrics) == [2.0, 4.0, 6.0] and "joules" not in first.metrics[0]
    assert first.used is not None and first.used.joules == 8.0
    longer = run(tmp_path / "a", "5 epochs", resume=True)
    assert joules(longer.metrics) == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert joules(read_lines(tmp_path / "a" / METRICS_FILE)) == joules(longer.metrics)


def test_without_a_counter_lines_are_as_they_were_and_nothing_is_told_of_a_part(
    tmp_path: Path, counted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = run()
    with monkeypatch.context() as patch:
        patch.setattr(module, "best_meter", lambda **_: ClockMeter("no counters"))
        plain = run(tmp_path / "a")
    assert not any("joules" in line for line in plain.metrics)
    for one, other in zip(measured.metrics, plain.metrics, strict=True):
        assert {k: v for k, v in one.items() if k not in OWN} == {k: v for k, v in other.items() if k not in OWN}
        assert [name for name in one if name != "joules"] == list(other)
    longer = run(tmp_path / "a", "4 epochs", resume=True)
    assert joules(longer.metrics) == [None] * 4, "a sum that leaves the first sitting out would be wrong"
