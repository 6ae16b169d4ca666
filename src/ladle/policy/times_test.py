from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.policy.times import line_of, timed


@given(fixed=st.floats(0, 0.1), each=st.floats(1e-7, 1e-2), sizes=st.sets(st.integers(1, 4096), min_size=2, max_size=5))
def test_the_line_of_exact_times_is_exact(fixed: float, each: float, sizes: set[int]) -> None:
    line = line_of({"times": {str(size): [3.0, 3 * (fixed + each * size)] for size in sizes}})
    assert line is not None
    for size in sizes:
        assert line.seconds(size) == pytest.approx(fixed + each * size, rel=1e-6)


def test_neither_part_of_the_line_is_below_zero() -> None:
    falling = line_of({"times": {"10": [1.0, 0.5], "20": [1.0, 0.4]}})
    steep = line_of({"times": {"10": [1.0, 0.1], "20": [1.0, 0.5]}})
    assert falling is not None
    assert steep is not None
    assert falling.per_example_seconds == 0.0 < falling.fixed_seconds
    assert steep.fixed_seconds == 0.0 < steep.per_example_seconds
    assert line_of({"times": {"10": [1.0, 0.5]}}) is None
    assert line_of({}) is None


def test_windows_are_timed_under_the_size_they_ran_at() -> None:
    memory = timed({"size": 64}, Progress(640, updates=10, seconds=1.0))
    memory = timed({**memory, "size": 128}, Progress(1920, updates=20, seconds=2.6))
    assert memory["times"] == {"64": [10, 1.0], "128": [10, pytest.approx(1.6)]}
    assert timed(memory, Progress(1920, updates=20, seconds=2.6)) == memory
