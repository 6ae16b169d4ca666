from __future__ import annotations

import math

import pytest

from ladle.core.speed import Speed


def test_the_knee_has_half_of_the_largest_throughput() -> None:
    speed = Speed(0.02, 1e-4)
    assert speed.throughput(speed.knee) == pytest.approx(0.5 / speed.per_example_seconds)
    assert speed.throughput(1e12) == pytest.approx(1 / speed.per_example_seconds, rel=1e-6)


def test_where_time_does_not_grow_there_is_no_knee() -> None:
    assert Speed(0.02, 0.0).knee == math.inf
    assert Speed(0.0, 1e-4).knee == 0.0
