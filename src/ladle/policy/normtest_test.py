from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.noise import NoiseScale
from ladle.policy.normtest import NormTest, norm_test
from ladle.policy.range import Range

SIZES = Range(16, 2048, micro_size=256)


def exactly(trace: float, square: float) -> NoiseScale:
    """A noise scale known without error."""
    phi = trace / square
    return NoiseScale(phi, phi, phi, "resolved", gradient_sq=square, trace=trace)


@pytest.mark.parametrize(("theta", "factor"), [(0.5, 3.99974), (1.0, 0.99994)])
def test_the_biased_norm_test_grows_by_no_more_than_its_cap(theta: float, factor: float) -> None:
    noise = exactly(100.0, 1e-4)
    assert norm_test(noise.value, 64, theta) / 64 == pytest.approx(factor, abs=5e-6)
    assert NormTest(SIZES, theta).asked(noise, 64).value / 64 == pytest.approx(factor, abs=5e-6)
    # The plain estimate of |G|^2 knows no such cap.
    assert NormTest(SIZES, theta, "unbiased").asked(noise, 64).value == pytest.approx(1e6 / theta**2)


@given(phi=st.floats(1e-3, 1e9), batch=st.integers(1, 10**6), theta=st.floats(0.05, 3))
def test_the_biased_norm_test_by_its_definition(phi: float, batch: int, theta: float) -> None:
    s, q = 7.0, 7.0 / phi
    assert norm_test(phi, batch, theta) == pytest.approx(s / (theta**2 * (q + s / batch)), rel=1e-9)
    assert norm_test(phi, batch, theta) <= batch / theta**2 * (1 + 1e-12)


def test_the_norm_test_asks_for_its_cap_where_the_gradient_is_lost_in_noise() -> None:
    unknown = NoiseScale(math.inf, 500.0, math.inf, "lower bound only", trace=3.0, gradient_sq=-0.1)
    wanted = NormTest(SIZES, 0.5).asked(unknown, 64)
    assert wanted.value == wanted.high == 64 / 0.25
    assert wanted.low == pytest.approx(norm_test(500, 64, 0.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormTest((16, 64)), "sizes must be a ladle.policy.Range"),  # type: ignore[arg-type]
        (lambda: NormTest(SIZES, math.nan), "theta must be above 0"),
        (lambda: NormTest(SIZES, 0.5, "best"), "estimator must be 'biased' or 'unbiased'"),  # type: ignore[arg-type]
    ],
)
def test_impossible_policies_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
