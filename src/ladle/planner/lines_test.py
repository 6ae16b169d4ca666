"""The two straight lines of the planner: memory and throughput."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.planner.memory import fit_memory, largest_fitting
from ladle.planner.throughput import fit_throughput


@given(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(0, 16), st.floats(1.0, 200.0))
def test_largest_fitting_is_the_largest(fixed, each, power, room):
    """On any line, whatever the limit: fits, and twice as much does not (or is not wanted)."""
    most, limit = 1 << power, fixed + each * room
    top, _ = largest_fitting(limit, lambda micro: fixed + each * micro, most=most)
    assert fixed + each * top <= limit
    assert top == most or fixed + each * 2 * top > limit


@given(st.lists(st.integers(0, 500), min_size=17, max_size=17), st.integers(0, 6000))
def test_largest_fitting_on_any_rising_curve(steps, limit):
    """Memory need not be a line: the answer still fits, and the next rung was looked at and does not."""
    curve = 100 + np.cumsum(steps)
    predict = lambda micro: int(curve[micro.bit_length() - 1])  # noqa: E731
    if predict(1) > limit:
        with pytest.raises(ArgumentError, match="memory must be at least"):
            largest_fitting(limit, predict, most=1 << 16)
        return
    top, _ = largest_fitting(limit, predict, most=1 << 16)
    assert predict(top) <= limit and (top == 1 << 16 or predict(2 * top) > limit)


def test_few_compilations_are_asked_for():
    asked = []
    top, line = largest_fitting(3_000_000, lambda micro: asked.append(micro) or 10**6 + 1000 * micro, most=1 << 20)
    assert top == 1024 and len(asked) <= 5 and len(set(asked)) == len(asked)
    assert line is not None and line.fixed_bytes == pytest.approx(1e6) and line.per_example_bytes == pytest.approx(1e3)


def test_one_example_too_much_says_how_much_it_needs():
    with pytest.raises(ArgumentError, match=r"at least 1,000,500 bytes.*got '1,000 bytes'"):
        largest_fitting(1000, lambda micro: 10**6 + 500 * micro, most=64)


def test_memory_that_shrinks_is_taken_as_flat():
    line = fit_memory({8: 200, 64: 100})
    assert line.per_example_bytes == 0 and line.fixed_bytes == 200 and line.largest(300) == math.inf
    assert fit_memory({8: 100, 64: 100}).largest(99) == 0
    with pytest.raises(ArgumentError):
        fit_memory({8: 200})


def test_throughput_recovers_the_line_and_its_errors_hold():
    rng = np.random.default_rng(0)
    sizes, knees, inside = (1, 16, 128, 1024), [], 0
    for _ in range(200):
        samples = {s: (0.02 + 1e-4 * s) * (1 + 0.3 * rng.exponential(size=8)) for s in sizes}
        fit = fit_throughput(samples)
        knees.append(fit.line.knee)
        inside += abs(math.log(fit.line.knee / 200)) <= 1.96 * fit.log_knee_sd
    assert np.median(knees) == pytest.approx(200, rel=0.02)
    assert 0.85 <= inside / 200 <= 0.99


def test_one_repeat_without_a_stall_is_enough():
    samples = {s: np.array([0.02 + 1e-4 * s] * 7) for s in (1, 16, 128, 1024)}
    samples[16][:-1] = 5.0
    fit = fit_throughput(samples)
    assert (fit.line.fixed_seconds, fit.line.per_example_seconds) == pytest.approx((0.02, 1e-4))
    assert fit.line.seconds(100) == pytest.approx(0.03) and fit.worst < 1e-9
    assert fit.points[0] == pytest.approx((1, 0.0201, 0.0201, 0.0201))


def test_no_part_is_negative():
    flat = fit_throughput({1: [0.02], 64: [0.0199], 512: [0.0198]}).line
    assert (flat.per_example_seconds, flat.knee) == (0, math.inf)
    assert flat.fixed_seconds == pytest.approx(0.0199, rel=0.01)
    steep = fit_throughput({1: [0.0001], 64: [0.02], 512: [0.2]})
    assert steep.line.fixed_seconds == 0 and steep.line.knee == 0 and steep.log_knee_sd == math.inf


def test_a_line_without_one_of_its_parts_is_none():
    flat, steep = fit_throughput({1: [0.02], 64: [0.0199]}), fit_throughput({1: [0.00105], 64: [0.07], 512: [0.56]})
    assert flat.worst < 0.1 and not flat.straight and "an example would cost no time" in flat.fault
    assert steep.worst < 0.1 and not steep.straight and "an update would cost no time" in steep.fault
    crooked = fit_throughput({1: [1.0], 8: [1.1], 64: [40.0]})
    assert not crooked.straight and "at worst" in crooked.fault


def test_times_that_are_no_line_are_read_between_those_measured():
    fit = fit_throughput({1: [1.0], 8: [8.0], 64: [200.0], 512: [3000.0]})
    assert not fit.straight
    assert [fit.seconds(size) for size in (1, 8, 36, 64, 1024)] == pytest.approx([1, 8, 104, 200, 6200])
    line = fit_throughput({1: [0.0201], 64: [0.0264], 8192: [0.8392]})
    assert line.straight and line.seconds(1000) == pytest.approx(0.12)
    falling = fit_throughput({1: [2.0], 64: [1.0], 512: [30.0]})
    assert falling.seconds(32) == 2.0, "times that fall are taken to stay"


@pytest.mark.parametrize("samples", [{1: [0.1]}, {1: [0.1], 2: []}, {1: [0.1], 2: [0.0]}, {1: [0.1], 2: [math.nan]}])
def test_times_that_cannot_be_fitted(samples):
    with pytest.raises(ArgumentError):
        fit_throughput(samples)
