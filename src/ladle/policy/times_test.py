from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.policy.change import Last
from ladle.policy.times import Spent, Times


@given(fixed=st.floats(0, 0.1), each=st.floats(1e-7, 1e-2), sizes=st.sets(st.integers(1, 4096), min_size=2, max_size=5))
def test_the_line_of_exact_times_is_exact(fixed: float, each: float, sizes: set[int]) -> None:
    line = Times(sizes={size: Spent(3.0, 3 * (fixed + each * size)) for size in sizes}).speed()
    assert line is not None
    for size in sizes:
        assert line.seconds(size) == pytest.approx(fixed + each * size, rel=1e-6)


def test_neither_part_of_the_line_is_below_zero() -> None:
    falling = Times(sizes={10: Spent(1.0, 0.5), 20: Spent(1.0, 0.4)}).speed()
    steep = Times(sizes={10: Spent(1.0, 0.1), 20: Spent(1.0, 0.5)}).speed()
    assert falling is not None
    assert steep is not None
    assert falling.per_example_seconds == 0.0 < falling.fixed_seconds
    assert steep.fixed_seconds == 0.0 < steep.per_example_seconds
    assert Times(sizes={10: Spent(1.0, 0.5)}).speed() is None
    assert Times().speed() is None


def test_windows_are_timed_under_the_size_they_ran_at() -> None:
    times = Times().absorb(None, Progress())
    times = times.absorb(Last(64, 64, 1.0), Progress(640, updates=10, seconds=1.0))
    times = times.absorb(Last(128, 64, 1.0), Progress(1920, updates=20, seconds=2.6))
    assert times.sizes == {64: (10, 1.0), 128: (10, pytest.approx(1.6))}
    assert times.absorb(Last(128, 64, 1.0), Progress(1920, updates=20, seconds=2.6)) == times
    assert Times.recall(json.loads(json.dumps(times.to_json()))) == times


def test_older_windows_of_a_size_fade() -> None:
    times = Times(10, 1.0, {64: Spent(10, 1.0)}).absorb(Last(64, 64, 1.0), Progress(1280, updates=20, seconds=4.0))
    assert times.sizes == {64: (15, 3.5)}
