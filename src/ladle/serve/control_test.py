"""The line against a closed form, and what the controller makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from ladle.serve.control import JUDGED, LEAST, SHARE, Controller, Line
from ladle.serve.forecast import SAFE, Forecast, Load
from ladle.serve.numbers import Histogram, Numbers

TIMES = {1: 1.1e-3, 2: 1.2e-3, 4: 1.4e-3, 8: 1.8e-3, 16: 2.6e-3, 32: 4.2e-3, 64: 7.4e-3}
"""1 ms and 0.1 ms a row, exactly."""


def controller(target: float = 0.02) -> Controller:
    return Controller(target, Line(TIMES), 64)


def test_the_line_is_weighted_least_squares():
    rng = np.random.default_rng(0)
    before = {rows: took * rng.uniform(0.7, 1.3) for rows, took in TIMES.items()}
    rows, took = np.array(list(before)), np.array(list(before.values()))
    slope, fixed = np.polyfit(rows, took, 1, w=1 / took)
    assert Line(before).speed.per_example_seconds == pytest.approx(slope)
    assert Line(before).speed.fixed_seconds == pytest.approx(fixed)


def test_a_line_never_promises_less_than_nothing():
    assert Line({1: 1e-3, 2: 4e-3}).speed.fixed_seconds == 0.0
    assert Line({1: 2e-3, 2: 1e-3}).speed.per_example_seconds == 0.0
    assert Line({1: 2e-3}).seconds(1) == pytest.approx(2e-3)


def test_the_line_follows_the_machine_and_keeps_its_slope_where_all_batches_are_alike():
    line = Line(TIMES)
    for _ in range(200):
        line.add(4, 3 * 1.4e-3)
    assert line.seconds(4) == pytest.approx(3 * 1.4e-3, rel=0.15)
    assert line.seconds(64) >= TIMES[64]
    for _ in range(400):
        line.add(4, 1.4e-3)
    assert line.seconds(4) == pytest.approx(1.4e-3, rel=0.05)


def test_one_stall_counts_as_ten_times_the_line_at_most():
    one, other = Line(TIMES), Line(TIMES)
    one.add(4, 14e-3)
    other.add(4, 60.0)
    assert other.seconds(4) == pytest.approx(one.seconds(4))


def test_the_limit_is_the_largest_rung_within_the_budget():
    assert controller().limit == 64
    assert controller(3e-3 / SHARE).limit == 16
    assert controller(1e-4).limit == 1


def test_what_is_predicted_of_a_request_is_the_work_before_it_and_its_own_batch():
    control = controller(3e-3 / SHARE)  # Batches of 16 rows.
    assert control.predicted(1, 0, 0.0) == pytest.approx(1.1e-3)
    assert control.predicted(1, 3, 0.5e-3) == pytest.approx(0.5e-3 + 1.4e-3)
    assert control.predicted(1, 16, 0.0) == pytest.approx(2.6e-3 + 1.1e-3)
    assert control.predicted(4, 45, 0.0) == pytest.approx(3 * 2.6e-3 + 1.1e-3)


def test_the_budget_shrinks_while_the_p99_is_above_the_target_and_grows_back():
    control = controller()
    for _ in range(20 * JUDGED):
        control.answered(0.03)
    assert control.budget == pytest.approx(LEAST * 0.02) and control.p99 == 0.03
    for _ in range(20 * JUDGED):
        control.answered(0.001)
    assert control.budget == pytest.approx(SHARE * 0.02)


def test_a_request_may_always_wait_for_a_quarter_of_the_target():
    assert controller().allowance(1) == pytest.approx(0.02 - 1.1e-3)
    assert controller(1e-3).allowance(64) == pytest.approx(0.25e-3)


def test_the_ramp_ends_where_the_target_is_missed_or_nothing_is_gained():
    def flat(connections: int) -> Load:
        return Load(connections, 100.0, 1e-3, 2e-3, 0.0)

    def refusing(connections: int) -> Load:
        return Load(connections, 100.0 * connections, 1e-3, 2e-3, 0.02 if connections > 4 else 0.0)

    assert [one.connections for one in Forecast.of(0.02, Line(TIMES), 64, flat).loads] == [1, 2, 4]
    assert Forecast.of(0.02, Line(TIMES), 64, refusing).capacity == pytest.approx(SAFE * 400)
    unasked = Forecast.of(0.02, Line(TIMES), 64)
    assert unasked.capacity is None and "not measured" in unasked.explain()


def test_metrics_are_cumulative_buckets():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)
    assert histogram.lines("h") == ['h_bucket{le="1.0"} 2', 'h_bucket{le="2.0"} 3', 'h_bucket{le="+Inf"} 4',
                                    "h_sum 12", "h_count 4"]  # fmt: skip
    numbers = Numbers()
    numbers.status(503, "full")
    assert 'ladle_refused_total{why="full"} 1' in numbers.text({})
