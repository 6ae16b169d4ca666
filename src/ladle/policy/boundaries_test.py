from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ladle.policy.boundaries import falls


def quarter_cosine(done: float) -> float:
    return math.cos(math.pi * done / 2)


@given(decay=st.floats(1.05, 10), end=st.integers(10, 10**7))
def test_falls_is_where_the_curve_has_come_down(decay: float, end: int) -> None:
    positions = falls(quarter_cosine, decay, end, most=8)
    assert list(positions) == sorted(set(positions))
    for at in positions:
        assert any(quarter_cosine(at / end) <= decay**-k < quarter_cosine((at - 1) / end) for k in range(1, 9))
    assert falls(lambda done: 1.0, decay, end) == ()
