from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.report.curves import along, broken, curve, logarithmic, spaced, thin
from ladle.report.study import Group, RunRecord


def run(values: list[float | None], *, step: int = 10, pace: float = 1.0, status: str = "finished") -> RunRecord:
    lines = [
        {"examples": step * (k + 1), "updates": k + 1, "seconds": pace * (k + 1), "valid_loss": v}
        for k, v in enumerate(values)
    ]
    return RunRecord(Path("x"), {"status": status}, tuple(lines))


def test_seeds_become_mean_and_range() -> None:
    made = curve([run([3.0, 2.0, 1.0]), run([5.0, 2.0, 2.0], pace=3.0)], "valid_loss")
    assert made is not None and made.seeds == 2
    np.testing.assert_array_equal(made.examples, [10, 20, 30])
    np.testing.assert_array_equal(made.updates, [1, 2, 3])
    np.testing.assert_array_equal(made.seconds, [2, 4, 6])
    np.testing.assert_array_equal(made.mean, [4, 2, 1.5])
    np.testing.assert_array_equal(made.low, [3, 2, 1])
    np.testing.assert_array_equal(made.high, [5, 2, 2])


def test_a_mean_over_a_window_stands_in_its_middle() -> None:
    lines = [
        {"examples": 10 * k, "updates": k, "seconds": float(k), "train_loss": 1.0, "valid_loss": 1.0} for k in (1, 2, 4)
    ]
    made = [RunRecord(Path("x"), {}, tuple(lines))]
    training, validation = curve(made, "train_loss"), curve(made, "valid_loss")
    assert training is not None and validation is not None
    assert training.examples.tolist() == [5, 15, 30] and validation.examples.tolist() == [10, 20, 40]


def test_positions_that_differ_are_joined_by_straight_lines() -> None:
    made = curve([run([4.0, 0.0], step=10), run([4.0, 4.0, 4.0, 4.0], step=5)], "valid_loss")
    assert made is not None
    np.testing.assert_array_equal(made.examples, [10, 15, 20])
    np.testing.assert_array_equal(made.mean, [4, 3, 2])


def test_a_diverged_seed_does_not_shorten_the_others() -> None:
    bad = run([3.0, 90.0], status="diverged")
    made = curve([run([3.0, 2.0, 1.0]), bad], "valid_loss")
    assert made is not None and made.seeds == 1 and made.high.max() == 3.0
    alone = curve([bad], "valid_loss")
    assert alone is not None and alone.high.max() == 90.0 and alone.diverged and not made.diverged
    group = Group("64", 64, (bad, run([1.0, 1.0])))
    assert [(x, y) for _, x, y in broken(group, "valid_loss")] == [(20.0, 90.0)]


def test_too_little_is_no_curve() -> None:
    assert curve([], "valid_loss") is None
    assert curve([run([None, float("nan")])], "valid_loss") is None
    assert curve([run([1.0, 2.0]), run([1.0, 2.0], step=100)], "valid_loss") is None  # they never overlap


def test_a_single_evaluation_is_a_curve_of_one_point() -> None:
    made = curve([run([None, float("nan"), 1.0])], "valid_loss")
    assert made is not None and made.examples.tolist() == [30] and made.measured.tolist() == [True]


def test_a_point_is_measured_where_every_seed_was() -> None:
    made = curve([run([4.0, 0.0], step=10), run([4.0, 4.0, 4.0, 4.0], step=5)], "valid_loss")
    assert made is not None and made.measured.tolist() == [True, False, True]
    apart = curve([run([4.0, 0.0, 0.0], step=10), run([4.0, 4.0], step=13)], "valid_loss")
    assert apart is not None and apart.examples.tolist() == [13, 20, 26] and apart.measured.all()


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (6, 5), (1000, 16)])
def test_marks_stand_where_something_was_measured_and_are_not_too_many(count: int, most: int) -> None:
    made = curve([run([1.0] * count), run([1.0] * (2 * count), step=5)], "valid_loss", points=10_000)
    assert made is not None
    places = spaced(made, most)
    assert 1 <= places.size <= most and made.measured[places].all() and places[-1] == np.flatnonzero(made.measured)[-1]


def test_an_axis_never_told_is_not_a_number() -> None:
    silent = RunRecord(Path("x"), {}, ({"examples": 1, "valid_loss": 1.0},))
    assert np.isnan(along(silent, "seconds", np.array([1.0]))).all()


@given(st.integers(1, 5000), st.integers(2, 500))
def test_thinning_keeps_ends_order_and_the_limit(count: int, points: int) -> None:
    values = np.arange(count)
    kept = thin(values, points)
    assert kept[0] == 0 and kept[-1] == count - 1
    assert len(kept) <= max(points, 1) and (np.diff(kept) > 0).all()


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [([[1, 100]], True), ([[1, 5]], False), ([[0, 100]], False), ([], False), ([[np.nan]], False)],
)
def test_log_axes_only_for_wide_positive_ranges(ranges: list[list[float]], expected: bool) -> None:
    assert logarithmic([np.array(r, dtype=float) for r in ranges], 8) is expected
