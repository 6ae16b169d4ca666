from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.policy.boundaries import falls
from ladle.policy.seesaw import Seesaw
from ladle.policy.segments import serial_fraction


def quarter_cosine(done: float) -> float:
    return math.cos(math.pi * done / 2)


def half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


@pytest.mark.parametrize(
    ("curve", "decay", "fraction", "within"),
    [
        (quarter_cosine, 1.01, 2 / math.pi, 0.01),
        (half_cosine, 1.01, 0.5, 0.01),
        (quarter_cosine, 2, 0.77983, 5e-6),
    ],
)
def test_the_serial_part_that_seesaw_leaves(curve: Any, decay: float, fraction: float, within: float) -> None:
    end = 10**9
    policy = Seesaw(2**20, decay, falls(curve, decay, end, most=2000), largest=2**60, micro_size=64)
    assert serial_fraction(policy.table, end) == pytest.approx(fraction, rel=within)


@given(decay=st.floats(1.1, 8), share=st.floats(0.1, 1), steps=st.integers(1, 12))
def test_seesaw_keeps_rate_over_root_of_size_on_the_curve_of_the_decay(decay: float, share: float, steps: int) -> None:
    growth = max(1.01, 1 + share * (decay - 1))
    at = tuple(range(100, 100 * steps + 1, 100))
    policy = Seesaw(10_000, decay, at, largest=10**6, micro_size=64, growth=growth)
    for k, segment in enumerate(policy.table):
        assert segment.lr_factor / math.sqrt(segment.size / 10_000) == pytest.approx(decay**-k, rel=1e-9)
    falling = [segment.lr_factor for segment in policy.table]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Seesaw(64, 2, (10,), 128, 1, growth=4), "growth must be at most decay=2; got 4"),
        (lambda: Seesaw(64, 1, (10,), 128, 1), "decay must be a number from 1.01"),
        (lambda: Seesaw(64, 2, (10, 10), 128, 1), "boundaries must ascend"),
        (lambda: Seesaw(64, 2, (10,), 32, 1), "largest must be at least first=64"),
        (lambda: Seesaw(64, 2, 8000, 128, 1), "boundaries must be positions"),  # type: ignore[arg-type]
    ],
)
def test_impossible_schedules_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
