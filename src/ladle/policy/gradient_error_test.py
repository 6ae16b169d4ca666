from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale
from ladle.policy.adaptive import Range
from ladle.policy.gradient_error import AdAdaGrad, InnerProduct, NormTest, norm_test

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


def test_the_inner_product_test_in_closed_form() -> None:
    # Var(g_i'G) = G'Sigma G for a given Sigma and G.
    rng = np.random.default_rng(1)
    g, root = rng.standard_normal(6), rng.standard_normal((6, 6))
    sigma = root @ root.T
    s, q, along = float(np.trace(sigma)), float(g @ g), float(g @ sigma @ g)
    x = g + rng.standard_normal((200_000, 6)) @ root.T
    assert along == pytest.approx(((x - x.mean(0)) @ g).var(), rel=0.02)
    policy = InnerProduct(SIZES, theta=0.5, nu=0.3)
    inner, across = along / (0.25 * q * q), (s - along / q) / (0.09 * q)
    assert policy.asked(exactly(s, q), along).value == pytest.approx(max(inner, across))
    assert InnerProduct(SIZES, 0.5, nu=math.inf).asked(exactly(s, q), along).value == pytest.approx(inner)


def test_the_inner_product_test_waits_for_a_projection() -> None:
    sums = Moments.from_pairs([93.0, 92.0, 94.0] * 9, [0.1, 0.11, 0.09] * 9, 12_800)
    reading = {f"noise/{name}": value for name, value in vars(sums).items()}
    policy = InnerProduct(SIZES, nu=1.0)
    memory, _ = policy.decide(policy.init(None), Progress())
    assert policy.decide(memory, Progress(12_800, reading=reading))[1].spec.size == 16
    reading |= {"noise/projection": 27 * 0.5, "noise/projections": 27.0}
    assert policy.decide(memory, Progress(12_800, reading=reading))[1].spec.size == 32


def test_adadagrad_is_the_norm_test_at_eta() -> None:
    sums = Moments.from_pairs([93.0, 92.0, 94.0] * 9, [0.1, 0.11, 0.09] * 9, 12_800)
    reading = {f"noise/{name}": value for name, value in vars(sums).items()}
    policy, test = AdAdaGrad(SIZES, 0.3), NormTest(SIZES, 0.3)
    memory, _ = policy.decide(policy.init(None), Progress())
    ours, theirs = (p.decide(memory, Progress(12_800, reading=reading)) for p in (policy, test))
    assert ours[0] == theirs[0]
    assert ours[1].reason == theirs[1].reason.replace("(norm test)", "(adadagrad)")
    assert AdAdaGrad(SIZES, 0.5, "inner product").needs == ("noise", "projection")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormTest((16, 64)), "sizes must be a ladle.policy.Range"),  # type: ignore[arg-type]
        (lambda: NormTest(SIZES, math.nan), "theta must be above 0"),
        (lambda: NormTest(SIZES, 0.5, "best"), "estimator must be 'biased' or 'unbiased'"),  # type: ignore[arg-type]
        (lambda: InnerProduct(SIZES, nu=0), "nu must be above 0"),
        (lambda: AdAdaGrad(SIZES, test="t"), "test must be 'norm' or 'inner product'"),  # type: ignore[arg-type]
    ],
)
def test_impossible_policies_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
