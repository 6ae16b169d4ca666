from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.scaling.optima import noisy_rate, sgd_noise, sign_rate, surge, surge_peak

DENSE = 0.1 * np.eye(50) + 0.9


def test_one_step_of_sgd():
    """H = Sigma = diag(1/i), 20 coordinates, a random place: the formula against a grid over the expected loss."""
    rng = np.random.default_rng(1)
    h = c = 1 / np.arange(1, 21.0)
    g = h * rng.standard_normal(20)
    along, noise, most = (h * g * g).sum(), (h * c).sum() / (h * g * g).sum(), (g * g).sum() / (h * g * g).sum()
    rates = np.linspace(0, 2 * most, 200_001)
    gain = -rates * (g * g).sum() + rates**2 / 2 * (along + (h * c).sum() / 7)
    assert noisy_rate(7, noise=noise, most=most) == pytest.approx(0.99171, abs=1e-5)
    assert rates[gain.argmin()] == pytest.approx(0.99170, abs=1e-5)


@given(st.floats(1e-6, 1e-4), st.floats(2, 100))
def test_the_linear_rule_is_its_limit_for_small_sizes(share, kappa):
    assert noisy_rate(share * kappa, noise=1.0) / noisy_rate(share, noise=1.0) == pytest.approx(kappa, rel=0.011)
    assert noisy_rate(kappa / share, noise=1.0) == pytest.approx(1, abs=1e-4)


def test_surge_peak():
    """Sign updates, H = 0.1 I + 0.9 11', 50 coordinates, mean 0.01, sd 1: exact optimum at 360.6, formula 356.2."""
    peak = surge_peak(DENSE, mean=0.01, sd=1.0)
    assert peak == pytest.approx(356.2, abs=0.05)
    sizes = np.geomspace(1, 1e5, 20_001)[9000:12_000:3]
    exact = np.array([sign_rate(DENSE, 0.01, 1.0, size) for size in sizes])
    assert sizes[exact.argmax()] == pytest.approx(360.6, abs=0.7)


def test_surge_is_close_to_the_exact_rate_around_the_peak():
    peak = surge_peak(DENSE, 0.01, 1.0)
    sizes = np.geomspace(peak / 30, peak * 3, 200)
    exact = np.array([sign_rate(DENSE, 0.01, 1.0, size) for size in sizes])
    np.testing.assert_allclose(exact / exact.max(), [surge(size, peak) for size in sizes], rtol=0.03)


def test_without_coupling_there_is_no_surge():
    assert surge_peak(np.eye(50), 0.01, 1.0) == math.inf
    rates = np.array([sign_rate(np.eye(50), 0.01, 1.0, size) for size in np.geomspace(1, 1e5, 200)])
    assert (np.diff(rates) >= 0).all()


def test_surge_of_unequal_coordinates():
    """The peak of the small-argument formula, found on a grid, for a random positive curvature."""
    rng = np.random.default_rng(0)
    root = np.abs(rng.standard_normal((6, 6)))
    h, mean, sd = root @ root.T, rng.uniform(0.5, 2, 6) * 1e-3, rng.uniform(0.5, 2, 6)
    a = mean / sd
    coupled = a @ h @ a - np.diag(h) @ a**2
    sizes = np.geomspace(1e2, 1e8, 200_001)
    rate = np.sqrt(sizes) / (np.trace(h) + 2 / math.pi * sizes * coupled)
    assert surge_peak(h, mean, sd) == pytest.approx(sizes[rate.argmax()], rel=1e-3)


def test_growing_the_batch_is_lowering_the_rate():
    assert sgd_noise(0.1, rows=1000, size=50, momentum=0.9) == pytest.approx(20)
    assert sgd_noise(0.1 / 5, rows=1000, size=10) == pytest.approx(sgd_noise(0.1, rows=1000, size=50))
    assert sgd_noise(0.1, rows=1000, size=10, momentum=0.9) == pytest.approx(sgd_noise(1.0, rows=1000, size=10))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: surge_peak([1.0, 2.0], 0.1, 1.0), "square matrix"),
        (lambda: sgd_noise(0.1, rows=10, size=1, momentum=1.0), "momentum must be from 0 to below 1"),
    ],
)
def test_wrong_arguments_are_refused(call, said):
    with pytest.raises(ArgumentError, match=said):
        call()
