from __future__ import annotations

import math

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.speed import Speed
from ladle.policy.goodput import Goodput, goodput
from ladle.policy.range import Range


def test_goodput_is_largest_at_the_closed_form() -> None:
    line, noise = Speed(0.02, 1e-4), 800.0
    best = math.sqrt(noise * 200)
    assert all(goodput(best, line, noise) > goodput(best * x, line, noise) for x in (0.5, 0.9, 1.1, 2))
    assert max(range(1, 3000), key=lambda size: goodput(size, line, noise)) == 400
    # Its efficiency is Pollux's, to a factor that no size changes.
    ratio = goodput(1024, line, noise) / line.throughput(1024) / (goodput(128, line, noise) / line.throughput(128))
    assert ratio == pytest.approx(0.508772, abs=5e-7)


def test_goodput_stays_where_it_gains_less_than_it_is_asked_to() -> None:
    policy, line = Goodput(Range(32, 4096, 256, most=100), 0.02, 1e-4), Speed(0.02, 1e-4)
    assert policy.best(32, line, 800.0) == 512  # 256 and 512 are next to the best size, 400
    assert policy.best(256, line, 800.0) == 256
    assert policy.best(512, line, 800.0) == 512
    assert policy.best(1024, line, 800.0) == 512


def test_half_a_line_is_refused() -> None:
    with pytest.raises(ArgumentError, match="fixed_seconds must come with per_example_seconds"):
        Goodput(Range(32, 64, 64), fixed_seconds=0.1)
    with pytest.raises(ArgumentError, match="seconds must be above 0"):
        Goodput(Range(32, 64, 64), 0.1, 0.0)
