from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.planner.target import Cost, best_log_sd, efficiency, frugal_size, mixed

POSITIVE = st.floats(1e-6, 1e4)


def test_known_answer():
    cost = Cost(0.02, 1e-4, noise=800)
    assert cost.best == pytest.approx(400)
    assert cost(cost.best) == pytest.approx((math.sqrt(0.02) + math.sqrt(1e-4 * 800)) ** 2)
    grid = np.linspace(10, 4000, 40_001)
    assert grid[np.argmin([cost(size) for size in grid])] == pytest.approx(400, abs=0.2)


def test_known_answer_for_a_mix_of_time_and_energy():
    for share, best in ((0.5, 316.228), (0.0, 400.0), (1.0, (4 / 0.05 * 800) ** 0.5)):
        fixed, each = (mixed(e, t, share=share, power_watts=300.0) for e, t in ((4.0, 0.02), (0.05, 1e-4)))
        assert Cost(fixed, each, noise=800).best == pytest.approx(best, abs=5e-4)


@given(POSITIVE, POSITIVE, POSITIVE)
def test_the_optimum_is_flat(fixed, each, noise):
    cost = Cost(fixed, each, noise=noise)
    doubled = cost(2 * cost.best) / cost(cost.best)
    assert doubled == pytest.approx(cost(cost.best / 2) / cost(cost.best))
    assert 1 < doubled <= 1.125 + 1e-12


@pytest.mark.parametrize(("knee_over_noise", "loss"), [(1.0, 0.125), (4.0, 1 / 9)])
def test_how_flat(knee_over_noise, loss):
    cost = Cost(knee_over_noise, 1.0, noise=1.0)
    assert cost(2 * cost.best) / cost(cost.best) - 1 == pytest.approx(loss)


@given(POSITIVE, POSITIVE, POSITIVE, st.floats(1e-3, 1.0))
def test_the_interval_ends_where_the_cost_says(fixed, each, noise, share):
    cost, largest = Cost(fixed, each, noise=noise), 1e6
    low, high = cost.within(share, largest=largest)
    best = cost(cost.clipped(largest))
    assert 1 <= low <= cost.clipped(largest) * (1 + 1e-9) and cost.clipped(largest) <= high * (1 + 1e-9)
    for end, edge in ((low, 1.0), (high, largest)):
        assert cost(end) <= best * (1 + share) * (1 + 1e-6)
        if end != edge:
            assert cost(end) == pytest.approx(best * (1 + share), rel=1e-6)


def test_edges():
    assert Cost(1.0, 0.0, noise=10).best == math.inf
    assert Cost(1.0, 0.0, noise=10).within(0.05, largest=1e9)[0] == pytest.approx(200)
    assert Cost(0.0, 1.0, noise=100).within(0.05, largest=1e9) == pytest.approx((1, 1 + 0.05 * 101))
    assert Cost(1.0, 1.0, noise=0).clipped(64) == 1


def test_best_size_has_the_largest_goodput():
    """Throughput times efficiency is 1 over the cost, up to a factor (Pollux)."""
    cost, sizes = Cost(0.02, 1e-4, noise=800), np.linspace(1, 4000, 7999)
    goodput = np.array([size / (0.02 + 1e-4 * size) * efficiency(size, noise=800) for size in sizes])
    assert sizes[goodput.argmax()] == pytest.approx(cost.best, abs=0.5)
    np.testing.assert_allclose(goodput * [cost(size) for size in sizes], 800)


def test_adascale_gain_over_scale_is_pollux_efficiency():
    noise, base, size = 800.0, 128.0, 1024.0
    scale, variance = size / base, noise / base
    gain = (variance + 1) / (variance / scale + 1)
    assert gain == pytest.approx(4.070175, abs=5e-7)
    assert efficiency(size, noise=noise, reference=base) == pytest.approx(gain / scale)
    assert efficiency(size, noise=noise, reference=base) == pytest.approx(0.508772, abs=5e-7)


def test_uncertainty_of_the_best_size():
    rng = np.random.default_rng(0)
    knees, noises = 200 * np.exp(0.2 * rng.standard_normal(20_000)), 800 * np.exp(0.5 * rng.standard_normal(20_000))
    assert np.log(np.sqrt(knees * noises)).std() == pytest.approx(best_log_sd(0.2, 0.5), rel=0.02)


def test_frugal_size_wastes_its_share():
    size = frugal_size(0.05, noise=800)
    assert 1 / efficiency(size, noise=800) == pytest.approx(1.05)
