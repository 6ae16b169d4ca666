from __future__ import annotations

import math

import numpy as np
import pytest

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.core.moments import pair
from ladle.core.noise import estimate
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.readings import Instrument, readings

QUADRATIC = NoisyQuadratic.power_law(30, 0.5, noise_scale=200)
POINT = QUADRATIC.at(None)


def test_by_default_the_truth_is_told():
    moments = Instrument().moments(POINT, size=64, updates=50, position=0)
    noise = estimate(moments)
    assert noise.verdict == "resolved"
    assert (noise.value, noise.low, noise.high) == pytest.approx((200, 200, 200), rel=1e-6)
    assert moments.projection / moments.projections == pytest.approx(POINT.projection)
    assert moments.examples == 50 * 64


def test_a_window_of_one_update_is_resolved_where_all_is_known():
    assert estimate(Instrument().moments(POINT, size=64, updates=1, position=0)).verdict == "resolved"
    assert estimate(Instrument(micro_steps=8).moments(POINT, size=64, updates=1, position=0)).verdict == "unresolved"


def test_a_policy_reads_the_moments_it_would_read_in_a_run():
    moments = Instrument(micro_steps=8).moments(POINT, size=64, updates=50, position=3)
    told = readings(POINT, moments, size=64)
    assert Progress(reading=told).moments() == moments
    assert told["noise_scale"] == estimate(moments).value
    assert told["grad_norm"] ** 2 == pytest.approx(POINT.gradient_sq + POINT.trace / 64)
    assert told["train_loss"] == POINT.loss


def test_estimates_are_as_noisy_as_those_of_drawn_gradients():
    """Mean and covariance of (trace, square) of one update: `pair` of drawn normal gradients, against ours."""
    rng, draws, parts, rows = np.random.default_rng(0), 4000, 4, 8
    g = QUADRATIC.curvature * np.sqrt(QUADRATIC.start)
    means = g + np.sqrt(QUADRATIC.noise / rows) * rng.standard_normal((draws, parts, len(g)))
    batch = (means.mean(1) ** 2).sum(1)
    drawn = np.stack(pair(rows * (means**2).sum((1, 2)), batch, rows * parts, parts))
    made = [Instrument(parts, seed=i).moments(POINT, size=rows * parts, updates=1, position=0) for i in range(draws)]
    told = np.array([(m.trace, m.square) for m in made]).T
    np.testing.assert_allclose(told.mean(1), drawn.mean(1), atol=4 * drawn.std(1).max() / math.sqrt(draws))
    np.testing.assert_allclose(np.cov(told), np.cov(drawn), rtol=0.15)


def test_estimated_intervals_cover_the_truth():
    covered = 0
    for i in range(400):
        noise = estimate(Instrument(micro_steps=16, seed=i).moments(POINT, size=256, updates=40, position=0))
        covered += noise.low <= 200 <= noise.high
    assert 0.92 <= covered / 400 <= 0.98


def test_random_numbers_are_a_function_of_seed_and_position():
    def told(seed: int, position: int):
        return Instrument(micro_steps=4, seed=seed).moments(POINT, size=64, updates=10, position=position)

    assert told(0, 100) == told(0, 100)
    assert len({told(0, 100).trace, told(0, 200).trace, told(1, 100).trace}) == 3


def test_one_example_has_no_spread():
    moments = Instrument(micro_steps=8).moments(POINT, size=1, updates=100, position=0)
    assert moments.count == 0
    assert "noise_scale" not in readings(POINT, moments, size=1)


@pytest.mark.parametrize("bad", [{"micro_steps": 1}, {"micro_steps": -2}, {"micro_steps": 8, "seed": -1}])
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(ArgumentError, match="must be"):
        Instrument(**bad)
