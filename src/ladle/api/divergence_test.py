from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ladle
from ladle.api.divergence import EXPLODED, WINDOWS, diverged


def lines(*losses: float | None) -> list[dict]:
    return [{"examples": 10 * k, **({} if x is None else {"train_loss": x})} for k, x in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "untrained", "ends"),
    [
        ((1.0, 50.0, 60.0, 70.0), 1.0, True),
        ((1.0, 50.0, 60.0), 1.0, False),  # two windows are no verdict
        ((1.0, 70.0, 60.0, 50.0), 1.0, False),  # it falls
        ((1.0, 50.0, 2.0, 70.0, 80.0), 1.0, False),  # one sound window between
        ((1.0, 50.0, 60.0, 70.0), 8.0, False),
        ((5e-5, 6e-3, 7e-3, 8e-3), 1e-9, False),  # near zero a ratio says nothing
        ((None, 50.0, 60.0, 70.0), None, False),
        ((-3.0, -2.0, -1.0, -0.5), -4.0, False),
    ],
)
def test_only_losses_that_stay_high_end_a_run(losses, untrained, ends):
    assert (diverged(lines(*losses), lambda: untrained) is not None) == ends


@pytest.mark.parametrize(
    "line", [{"train_loss": math.nan}, {"train_loss": math.inf}, {"train_loss": 1.0, "refused": 1}]
)
def test_what_is_no_number_ends_it_at_once(line):
    assert "not finite after 640 examples" in str(diverged([{"examples": 640, **line}], lambda: 1.0))


def test_a_sound_run_never_asks_for_the_untrained_loss():
    def never() -> float:
        raise AssertionError("asked")

    assert diverged(lines(1.0, 0.9, 0.8, 0.7), never) is None


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8), st.floats(1.0, 1e6), st.integers(0, 7))
def test_one_outlier_never_ends_a_run(losses, outlier, place):
    losses[place % len(losses)] = outlier
    assert WINDOWS > 1 and EXPLODED >= 10
    assert diverged(lines(*losses), lambda: 1.0) is None


@pytest.mark.parametrize("seed", range(10))
def test_a_heavy_tail_and_few_validation_rows_are_sound(seed: int):
    """500 amounts near 10 and one 9,999: the training loss is near one throughout, the first validation loss is not."""
    rng = np.random.default_rng(1)
    a = rng.normal(size=(500, 1)).astype("f4")
    y = 10 + a[:, 0] + 0.1 * rng.normal(size=500)
    y[123] = 9999.0
    task = ladle.Task(ladle.models.linear(1, 1), None, ladle.data.arrays(a, y))
    assert ladle.fit(task, size=16, until="2 epochs", seed=seed).status == "finished"


@pytest.mark.parametrize("lane", ["device", "host"])
def test_a_run_that_explodes_is_ended_and_its_last_line_has_no_old_evaluation(lane):
    x = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
    data = ladle.data.arrays(x, 3 * x[:, 0], kind="regression")
    task = ladle.Task(ladle.models.linear(1, 1), "huber", data, optimizer="sgd", lr=3e3, lane=lane)
    with pytest.warns(ladle.DivergedWarning, match="rose to .* over 10 times the untrained model's"):
        run = ladle.fit(task, size=10, until="30 epochs")
    assert run.status == "diverged" and "valid_loss" not in run.final and run.final["examples"] < 30 * 160
