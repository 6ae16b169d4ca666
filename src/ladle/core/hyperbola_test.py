from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.core.hyperbola import FARTHEST, better_model, fit_hyperbola, fit_power_law, widened
from ladle.critical.definition import share_size
from ladle.quadratic.noisy_quadratic import NoisyQuadratic

SIZES = [2.0**i for i in range(6, 15)]
STEPS = {
    85: [46000, 23000, 13282, 7000, 3840, 2528, 1917, 1600, 1600],
    151: [96000, 49000, 24000, 12000, 7128, 4350, 2940, 2400, 2300],
    302: [196000, 90000, 46000, 23400, 13300, 7224, 4980, 3400, 2879],
    604: [311000, 166000, 81000, 37440, 21320, 11400, 7199, 4700, 3800],
    1200: [642000, 331000, 176000, 94000, 46500, 25000, 15360, 8900, 6500],
}
"""Steps to a target loss at batch sizes 64 to 16384, by millions of parameters (Zhang et al. 2024)."""

PUBLISHED = {
    85: (1293.83, 2.834e6, 2190.6, 745.32),
    151: (1752.42, 5.677e6, 3239.8, 955.16),
    302: (2095.35, 1.138e7, 5432.6, 1393.73),
    604: (2459.93, 1.945e7, 7906.6, 1888.52),
    1200: (3897.31, 4.338e7, 11131.1, 2533.41),
}


@pytest.mark.parametrize("millions", STEPS)
def test_published_fits_to_the_digits(millions):
    fit = fit_hyperbola(SIZES, STEPS[millions])
    least_steps, least_examples, critical, overhead = PUBLISHED[millions]
    assert fit.min_steps == pytest.approx(least_steps, abs=0.01)
    assert fit.min_examples == pytest.approx(least_examples, rel=5e-4)
    assert fit.critical == pytest.approx(critical, abs=0.1)
    assert share_size(fit.critical) == pytest.approx(overhead, abs=0.01)


def test_published_exponent():
    sizes = [share_size(fit_hyperbola(SIZES, steps).critical) for steps in STEPS.values()]
    law = fit_power_law(list(STEPS), sizes)
    assert law.exponent == pytest.approx(0.4682782, abs=2e-6)
    assert law.factor == pytest.approx(93.1968, abs=2e-3)


@pytest.mark.parametrize(("shrink", "expected"), [(0.5, 414.1), (0.1, 316.1), (0.01, 301.5)])
def test_the_hyperbola_is_the_limit_of_small_steps(shrink, expected):
    """Multiplicative noise of scale 300, each full-batch step shrinking the loss by `shrink`."""
    sizes = 2.0 ** np.arange(14)
    fit = fit_hyperbola(sizes, math.log(1e3) / -np.log1p(-shrink / (1 + 300 / sizes)))
    assert fit.critical == pytest.approx(expected, rel=0.03)
    if shrink == 0.01:
        assert fit.critical == pytest.approx(300, rel=0.01)


def test_noisy_quadratic_at_its_best_constant_rates():
    """d = 1000, h = c = 1/i, 5 % of the first loss, best of 60 rates: known steps, and the hyperbola fits to 8 %."""
    quadratic = NoisyQuadratic.power_law(1000)
    target = 0.05 * quadratic.loss(quadratic.begin())
    known = {1: 10087, 4: 2579, 16: 726, 64: 309, 256: 223, 1024: 205, 4096: 201, 16384: 189, 65536: 186}
    rates = np.geomspace(1e-3, 1.99, 60)
    steps = {
        size: min(quadratic.steps_to(target, size=size, rate=float(rate), most=10**7) for rate in rates)
        for size in known
    }
    assert steps == known
    fit = fit_hyperbola(list(known), list(known.values()))
    assert fit.min_steps == pytest.approx(188.5, rel=0.02)
    assert fit.critical == pytest.approx(49.2, rel=0.05)
    assert max(abs(fit.steps(size) / count - 1) for size, count in known.items()) < 0.09


@given(st.floats(1, 1e6), st.floats(1e-2, 1e6))
def test_an_exact_table_is_recovered(least_steps, critical):
    sizes = critical * np.geomspace(1 / 30, 30, 9)
    fit = fit_hyperbola(sizes, least_steps * (1 + critical / sizes))
    assert fit.min_steps == pytest.approx(least_steps, rel=1e-8)
    assert fit.critical == pytest.approx(critical, rel=1e-8)
    assert fit.spread < 1e-9


def test_standard_errors_are_those_of_repeated_tables():
    rng = np.random.default_rng(0)
    sizes = np.geomspace(8, 8192, 11)
    fits = [fit_hyperbola(sizes, 100 * (1 + 300 / sizes) * np.exp(0.05 * rng.standard_normal(11))) for _ in range(300)]
    variances = [np.square(fit.log_sd).sum() - 2 * fit.log_cov for fit in fits]
    assert np.log([fit.critical for fit in fits]).std() == pytest.approx(np.sqrt(np.mean(variances)), rel=0.15)
    laws = [fit_power_law(sizes, 3 * sizes**0.5 * np.exp(0.1 * rng.standard_normal(11))) for _ in range(300)]
    assert np.std([law.exponent for law in laws]) == pytest.approx(
        np.sqrt(np.mean([law.exponent_sd**2 for law in laws])), rel=0.15
    )


@pytest.mark.parametrize(
    "table", [([1], [1]), ([1, 1], [2, 3]), ([1, 2], [3, math.inf]), ([1, 2], [0, 1]), ([1, 2], [1])]
)
def test_tables_that_cannot_be_fitted(table):
    with pytest.raises(ArgumentError, match="the table"):
        fit_hyperbola(*table)


def test_the_interval_covers_the_truth_and_knows_when_a_table_bounds_one_side_only():
    rng = np.random.default_rng(1)
    sizes = np.geomspace(8, 8192, 11)
    held = 0
    for _ in range(200):
        fit = fit_hyperbola(sizes, 100 * (1 + 300 / sizes) * np.exp(0.05 * rng.standard_normal(11)))
        held += fit.interval[0] <= 300 <= fit.interval[1]
        assert fit.interval[0] < fit.critical < fit.interval[1]
    assert 0.9 <= held / 200 <= 0.99
    linear = fit_hyperbola(sizes, 1e6 * (1 / sizes + 1e-9) * np.exp(0.05 * rng.standard_normal(11)))
    assert linear.interval[0] > 1e3 and linear.interval[1] == math.inf
    flat = fit_hyperbola(sizes, 100 * np.exp(0.05 * rng.standard_normal(11)))
    assert flat.interval[0] == 0 and flat.interval[1] < 100
    assert all(map(math.isnan, fit_hyperbola([1, 2], [3, 2]).interval))


@pytest.mark.parametrize("power", [1.0, 1.2])
def test_sizes_that_all_scale_perfectly_say_only_that_the_critical_one_is_above(power):
    sizes = 2.0 ** np.arange(3, 9)
    fit = fit_hyperbola(sizes, 1e6 * sizes**-power)
    assert fit.critical == math.inf == fit.interval[1] and fit.interval[0] > 256
    assert fit.min_steps == 0 and fit.steps(16) == pytest.approx(fit.min_examples / 16)


def test_sizes_that_save_no_step_say_only_that_the_critical_one_is_below():
    fit = fit_hyperbola([8, 32, 128, 256], [100] * 4)
    assert fit.critical == 0 == fit.interval[0] and fit.interval[1] < 8
    assert fit.min_examples == 0 and fit.steps(16) == pytest.approx(100)


def test_a_critical_size_is_never_a_number_that_the_sizes_cannot_tell():
    rng = np.random.default_rng(4)
    sizes = 2.0 ** np.arange(3, 9)
    fits = [fit_hyperbola(sizes, 100 * (1 + 5000 / sizes) * np.exp(0.05 * rng.standard_normal(6))) for _ in range(100)]
    assert all(fit.interval[0] <= fit.critical <= fit.interval[1] for fit in fits)
    assert {fit.critical for fit in fits if fit.critical > 256 * FARTHEST} == {math.inf}


def test_the_better_model_is_the_one_that_made_the_table():
    rng = np.random.default_rng(2)
    sizes = np.geomspace(8, 1024, 8)
    noise = np.exp(0.03 * rng.standard_normal(8))
    assert better_model(sizes, 100 * (1 + 100 / sizes) * noise).weight > 0.99
    law = better_model(sizes, 1e4 * sizes**-0.5 * noise)
    assert law.better == "power law" and law.weight < 0.01
    few = better_model([8, 16, 32, 64], [100.0] * 4)
    assert few.better is None and math.isnan(few.weight)
    with pytest.raises(ArgumentError, match="three or more"):
        better_model([1, 2], [2, 1])


def test_the_interval_holds_where_small_sizes_are_noisier_than_large_ones():
    """Errors of 10 % at three sizes and 1 % at three, each told by three seeds: residuals alone hold in nine of ten."""
    rng, sizes, trials = np.random.default_rng(0), np.array([4, 16, 64, 256, 1024, 4096]), 200
    sd = np.array([0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    alone = held = 0
    for _ in range(trials):
        seeds = sd * math.sqrt(3) * rng.standard_normal((3, 6))
        fit = fit_hyperbola(sizes, 25 * (1 + 44 / sizes) * np.exp(seeds.mean(0)))
        wide = widened(fit, sizes, seeds.std(0, ddof=1) / math.sqrt(3), 2)
        assert wide.interval[0] <= fit.interval[0] and wide.interval[1] >= fit.interval[1]
        alone += fit.interval[0] <= 44 <= fit.interval[1]
        held += wide.interval[0] <= 44 <= wide.interval[1]
    assert alone / trials < 0.93 < held / trials


def test_errors_that_are_nothing_or_unknown_leave_the_interval():
    fit = fit_hyperbola([8, 32, 128], [30.0, 15.0, 11.0])
    assert widened(fit, [8, 32, 128], [0, 0, 0], 2) == fit == widened(fit, [8, 32, 128], [math.nan] * 3, 2)
    flat = fit_hyperbola([8, 32, 128], [10.0, 10.0, 10.0])
    assert flat.critical == 0 and widened(flat, [8, 32, 128], [0.1] * 3, 2) == flat
