from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.policy.geometric import Geometric


def size_at(policy: Any, examples: int) -> int:
    return policy.decide(None, Progress(examples))[1].spec.size


def test_geometric_by_hand() -> None:
    policy = Geometric(32, 1000, growth=2, every=500, micro_size=64)
    hand = {0: 32, 499: 32, 500: 64, 999: 64, 1000: 128, 1500: 256, 2000: 512, 2499: 512, 2500: 1000, 10**9: 1000}
    assert {examples: size_at(policy, examples) for examples in hand} == hand


@given(first=st.integers(1, 300), more=st.integers(0, 3000), growth=st.floats(1.01, 5), examples=st.integers(0, 40_000))
def test_geometric_is_its_formula(first: int, more: int, growth: float, examples: int) -> None:
    last = first + more
    policy = Geometric(first, last, growth, every=100, micro_size=64)
    assert size_at(policy, examples) == round(min(last, first * growth ** (examples // 100)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Geometric(64, 32, 2, 10, 1), "last must be at least first=64"),
        (lambda: Geometric(64, 128, 1, 10, 1), "growth must be a number from 1.01"),
        (lambda: Geometric(64, 128, math.nan, 10, 1), "growth must be a number from 1.01"),
        (lambda: Geometric(64, 128, 2, 0, 1), "every must be at least 1"),
    ],
)
def test_impossible_schedules_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
