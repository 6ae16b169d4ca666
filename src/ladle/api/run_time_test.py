from __future__ import annotations

import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.api.run_time import RunTime, run_time
from ladle.core.errors import ArgumentError


@pytest.fixture(scope="module")
def plane() -> Assembly:
    x = np.random.default_rng(0).standard_normal((125, 2)).astype(np.float32)
    data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1], valid=0.2)
    return assemble(ladle.Task(ladle.models.linear(2, 1), "mse", data, optimizer="sgd", lr=0.1))


@pytest.mark.parametrize(
    ("size", "until", "windows", "evaluations"),
    [(10, "3 epochs", 3.0, 4), (10, "35 steps", 3.5, 5), ("full", "40 examples", 1.0, 2), (7, "250 examples", 2.5, 4)],
)
def test_a_run_is_told_in_its_windows_and_evaluations(plane, size, until, windows, evaluations):
    """100 training rows, so a window and an evaluation at the end of every pass, one before and one at the end."""
    told = run_time(plane, size, until=until)
    assert (told.windows, told.evaluations) == (windows, evaluations)
    run = ladle.fit(plane, size=size, until=until)
    assert sum("valid_loss" in line and line["evaluated"] == line["examples"] for line in run.metrics) == evaluations
    assert told.evaluation_seconds > 0 and told.saving_seconds == 0


def test_all_parts_are_in_the_whole():
    told = RunTime(windows=100.0, window_seconds=0.7, evaluations=10, evaluation_seconds=0.2, saving_seconds=0.5)
    assert (told.training_seconds, told.evaluating_seconds) == (70.0, 2.0)
    assert told.saves_seconds == 0.5 * (1 + 2 / 2), "the first and the last, and two between in 72 seconds"
    assert told.seconds == 73.0
    assert str(told) == "73 s (training 70 s, evaluations 2 s, checkpoints 1 s), compiling apart"


def test_nothing_is_left_behind_and_nothing_learned(plane):
    told = run_time(plane, 10, until="1 epochs", saved=True)
    assert told.saving_seconds >= 0 and told.windows == 1.0


def test_a_bound_in_seconds_is_refused(plane):
    with pytest.raises(ArgumentError, match="until must be epochs, examples or steps"):
        run_time(plane, 10, until="10 s")
