from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.quadratic.noisy_quadratic import NoisyQuadratic
from ladle.quadratic.recursion import Recursion, SecondMoments

LAW = NoisyQuadratic.power_law(20)


def slow(
    quadratic: NoisyQuadratic, spread: SecondMoments, *, size: float, rate: float, steps: int, momentum: float = 0.0
):
    """The recursion of (E x^2, E x u, E u^2) written as products of 2x2 matrices, one step at a time."""
    table = np.array([[spread.square, spread.cross], [spread.cross, spread.velocity]]).transpose(2, 0, 1)
    h = quadratic.curvature
    mean = np.zeros_like(h)
    for _ in range(steps):
        mean += table[:, 0, 0] / steps
        n = (quadratic.noise + quadratic.multiplicative * h * h * table[:, 0, 0]) / size
        move = np.stack([np.stack([1 - rate * h, 0 * h - rate * momentum], 1), np.stack([h, 0 * h + momentum], 1)], 1)
        kick = np.array([-rate, 1.0])
        table = move @ table @ move.transpose(0, 2, 1) + n[:, None, None] * np.outer(kick, kick)
    return table, mean


CASES = {
    "plain": (LAW, 16, 0.1, 0.0),
    "a step that lands on the minimum": (LAW, 4, 1.0, 0.0),
    "past the minimum": (LAW, 4, 1.7, 0.0),
    "multiplicative": (NoisyQuadratic(LAW.curvature, LAW.noise, LAW.start, 30.0), 8, 0.3, 0.0),
    "heavy ball": (LAW, 16, 0.1, 0.9),
    "heavy ball, multiplicative": (NoisyQuadratic(LAW.curvature, 0 * LAW.noise, LAW.start, 5.0), 3.5, 0.1, 0.5),
    "without noise": (NoisyQuadratic([1.0, 0.1], [0.0, 0.0], [1.0, 4.0]), 1, 0.5, 0.9),
    "it diverges": (LAW, 1, 2.3, 0.0),
    "on the edge": (LAW, 1, 2.0, 0.0),
}


@pytest.mark.parametrize("case", CASES)
def test_many_steps_at_once_are_the_steps_one_by_one(case):
    quadratic, size, rate, momentum = CASES[case]
    spread = SecondMoments(quadratic.start, 0.1 * quadratic.start, 0.3 * quadratic.start)
    for steps in (1, 2, 3, 37):
        now, mean = quadratic.window(spread, size=size, rate=rate, steps=steps, momentum=momentum)
        table, slow_mean = slow(quadratic, spread, size=size, rate=rate, steps=steps, momentum=momentum)
        np.testing.assert_allclose(now.square, table[:, 0, 0], rtol=1e-10)
        np.testing.assert_allclose(now.cross, table[:, 0, 1], rtol=1e-8, atol=1e-13)
        np.testing.assert_allclose(now.velocity, table[:, 1, 1], rtol=1e-10)
        np.testing.assert_allclose(mean, slow_mean, rtol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sampled_runs_have_the_expected_moments(momentum):
    """NumPy draws gradients of `size` examples; mean over runs against the recursion, within 4 standard errors."""
    quadratic = NoisyQuadratic([1.0, 0.2, 0.05], [0.5, 1.0, 0.1], [1.0, 2.0, 3.0], 2.0)
    rng, runs, size, rate, steps = np.random.default_rng(0), 20_000, 4, 0.1, 25
    h, c = quadratic.curvature, quadratic.noise
    x, u = np.sqrt(quadratic.start) * np.ones((runs, 3)), np.zeros((runs, 3))
    for _ in range(steps):
        g = h * x
        noise = np.sqrt((c + quadratic.multiplicative * g**2) / size) * rng.standard_normal((runs, 3))
        u = momentum * u + g + noise
        x = x - rate * u
    expected = quadratic.after(quadratic.begin(), size=size, rate=rate, steps=steps, momentum=momentum)
    for sample, exact in ((x * x, expected.square), (x * u, expected.cross), (u * u, expected.velocity)):
        assert (np.abs(sample.mean(0) - exact) < 4 * sample.std(0) / math.sqrt(runs)).all()


def test_a_million_steps_land_in_the_closed_steady_state():
    """T7: 1/2 sum rate c / (size (2 - rate h)), rate .1, size 16, d 20."""
    assert LAW.loss(LAW.steady(16, 0.1)) == pytest.approx(0.00575108, abs=5e-9)
    end = LAW.after(LAW.begin(), size=16, rate=0.1, steps=10**6)
    assert LAW.loss(end) == pytest.approx(LAW.loss(LAW.steady(16, 0.1)), rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("multiplicative", [0.0, 7.0])
def test_the_steady_state_does_not_move(momentum, multiplicative):
    quadratic = NoisyQuadratic(LAW.curvature, LAW.noise, LAW.start, multiplicative)
    rate = quadratic.largest_rate(8, momentum) / 3
    steady = quadratic.steady(8, rate, momentum)
    after = quadratic.recursion(8, rate, momentum).step(steady)
    for name in ("square", "cross", "velocity"):
        np.testing.assert_allclose(getattr(after, name), getattr(steady, name), rtol=1e-10)
    end = quadratic.after(quadratic.begin(), size=8, rate=rate, steps=10**6, momentum=momentum)
    np.testing.assert_allclose(end.square, steady.square, rtol=1e-8)


@given(
    momentum=st.floats(0, 0.98),
    multiplicative=st.floats(0, 100),
    size=st.floats(0.5, 1000),
    curvature=st.lists(st.floats(1e-3, 10), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_the_largest_rate_is_the_edge_of_stability(momentum, multiplicative, size, curvature):
    h = np.array(curvature)
    quadratic = NoisyQuadratic(h, h, np.ones_like(h), multiplicative)
    for share, stable in ((0.99, True), (1.01, False)):
        rate = share * quadratic.largest_rate(size, momentum)
        moves = quadratic.recursion(size, rate, momentum).matrix()[:, :3, :3]
        assert (np.abs(np.linalg.eigvals(moves)).max() < 1) == stable


@given(steps=st.integers(1, 3000), more=st.integers(1, 3000), momentum=st.sampled_from([0.0, 0.9]))
@settings(max_examples=30, deadline=None)
def test_two_windows_are_one(steps, more, momentum):
    how = {"size": 7, "rate": 0.05, "momentum": momentum}
    first, early = LAW.window(LAW.begin(), steps=steps, **how)
    second, late = LAW.window(first, steps=more, **how)
    whole, mean = LAW.window(LAW.begin(), steps=steps + more, **how)
    np.testing.assert_allclose(second.square, whole.square, rtol=1e-9)
    np.testing.assert_allclose((steps * early + more * late) / (steps + more), mean, rtol=1e-9)


def test_momentum_zero_is_the_limit_of_heavy_ball():
    plain = LAW.after(LAW.begin(), size=4, rate=0.2, steps=500)
    recursion = LAW.recursion(4, 0.2)
    heavy = Recursion(recursion.curvature, recursion.noise, recursion.noise_x, 0.2, momentum=0.0)
    np.testing.assert_allclose(heavy._run_heavy(LAW.begin(), 500)[0].square, plain.square, rtol=1e-10)
    tiny = LAW.after(LAW.begin(), size=4, rate=0.2, steps=500, momentum=1e-12)
    np.testing.assert_allclose(tiny.square, plain.square, rtol=1e-9)


def test_the_best_rate_of_one_step():
    """T3: eps_max / (1 + B_noise / B), against a grid of rates."""
    h, x = 1 / np.arange(1, 21.0), np.random.default_rng(1).standard_normal(20)
    quadratic = NoisyQuadratic(h, h, x**2)
    point = quadratic.at(None)
    rates = np.linspace(0.9, 1.1, 2001)
    losses = [quadratic.loss(quadratic.recursion(7, float(e)).step(quadratic.begin())) for e in rates]
    assert point.best_step(7) == pytest.approx(rates[int(np.argmin(losses))], abs=1e-4)
    assert point.best_step(7) == pytest.approx(0.99170, abs=6e-6)
    full = point.gradient_sq / point.bend
    assert point.best_step(7) == pytest.approx(full / (1 + point.noise_scale / 7), rel=1e-12)


def test_moments_of_a_point_are_those_of_drawn_gradients():
    quadratic = NoisyQuadratic([1.0, 0.5], [0.5, 2.0], [4.0, 1.0])
    point = quadratic.at(None)
    g = np.array([2.0, 0.5])
    sigma = np.diag(quadratic.noise)
    assert (point.loss, point.gradient_sq, point.trace) == (2.25, 4.25, 2.5)
    assert point.projection == pytest.approx(g @ sigma @ g)
    assert point.trace_sq == pytest.approx(np.trace(sigma @ sigma))
    assert point.noise_scale == pytest.approx(1.5 / (4 + 0.5 * 0.25))
    assert point.simple_noise_scale == pytest.approx(2.5 / 4.25)


def test_multiplicative_noise_has_one_noise_scale_everywhere():
    quadratic = NoisyQuadratic(LAW.curvature, 0 * LAW.noise, LAW.start, 300.0)
    for spread in (quadratic.begin(), quadratic.after(quadratic.begin(), size=50, rate=0.2, steps=1000)):
        assert quadratic.at(spread).simple_noise_scale == pytest.approx(300)
        assert quadratic.at(spread).noise_scale == pytest.approx(300)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_steps_to_a_target_is_the_first_step_below_it(momentum):
    how = {"size": 8, "rate": 0.1, "momentum": momentum}
    target = 0.2 * LAW.loss(LAW.begin())
    steps = int(LAW.steps_to(target, **how))
    assert LAW.loss(LAW.after(LAW.begin(), steps=steps, **how)) <= target
    assert LAW.loss(LAW.after(LAW.begin(), steps=steps - 1, **how)) > target
    assert LAW.steps_to(target, **how, most=steps) == steps
    assert LAW.steps_to(target, **how, most=steps - 1) == math.inf
    halfway = LAW.after(LAW.begin(), steps=steps // 2, **how)
    assert LAW.steps_to(target, spread=halfway, **how) == steps - steps // 2
    assert LAW.steps_to(10.0, **how) == 0


@pytest.mark.parametrize("rate", [1.0, 0.5, 2.0, 1.9999])
def test_steps_at_special_rates_are_those_of_the_windows(rate):
    quadratic = NoisyQuadratic([1.0, 0.5], [0.01, 0.01], [0.2, 4.0])
    for target in (0.9, 0.5, 0.1):
        losses = [
            quadratic.loss(quadratic.after(quadratic.begin(), size=1, rate=rate, steps=n)) <= target for n in range(60)
        ]
        expected = losses.index(True) if True in losses else math.inf
        assert quadratic.steps_to(target, size=1, rate=rate, most=59) == expected


def test_a_target_below_the_noise_floor_is_never_reached():
    assert LAW.steps_to(0.9 * LAW.loss(LAW.steady(16, 0.1)), size=16, rate=0.1) == math.inf
    assert LAW.steps_to(1e-3, size=16, rate=2.5) == math.inf


def test_the_best_rate_beats_a_fine_grid():
    quadratic = NoisyQuadratic.power_law(200)
    target = 0.05 * quadratic.loss(quadratic.begin())
    for size in (4, 256):
        rate, steps = quadratic.best_rate(target, size=size)
        grid = [quadratic.steps_to(target, size=size, rate=float(e)) for e in np.geomspace(1e-3, 1.99, 200)]
        assert steps <= 1.005 * min(grid)
        assert steps == quadratic.steps_to(target, size=size, rate=rate)
        rate, loss = quadratic.best_rate_in(300, size=size)
        losses = [
            quadratic.loss(quadratic.after(quadratic.begin(), size=size, rate=float(e), steps=300))
            for e in np.geomspace(1e-3, 1.99, 200)
        ]
        assert loss <= 1.0001 * min(losses)


def test_the_hyperbola_holds_for_multiplicative_noise():
    """One coordinate, noise scale r: steps at the best rate go as 1 + r / B where a step shrinks little (T5)."""
    h = np.array([1.0, 1e-3])
    quadratic = NoisyQuadratic(h, 0 * h, np.array([0.0, 1.0]), 300.0)
    steps = [quadratic.steps_to(1e-4, size=size, rate=0.5 / (1 + 300 / size)) for size in (30, 300, 3000)]
    assert steps[0] / steps[1] == pytest.approx((1 + 10) / 2, rel=0.01)
    assert steps[1] / steps[2] == pytest.approx(2 / 1.1, rel=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: NoisyQuadratic([1.0, -0.5], [1.0, 1.0], [1.0, 1.0]),
            "curvature must be finite and positive; got '-0.5 at 1'",
        ),
        (lambda: NoisyQuadratic([1.0, 0.0], [1.0, 1.0], [1.0, 1.0]), "curvature must be"),
        (lambda: NoisyQuadratic([1.0], [-1.0], [1.0]), "noise must be finite and at least 0"),
        (lambda: NoisyQuadratic([1.0], [1.0], [math.nan]), "start must be finite"),
        (lambda: NoisyQuadratic([1.0, 1.0], [1.0], [1.0]), "curvature must be 1 numbers"),
        (lambda: NoisyQuadratic([], [], []), "must be 0 numbers"),
        (lambda: NoisyQuadratic([1.0], [1.0], [1.0], -1.0), "multiplicative must be at least 0"),
        (lambda: NoisyQuadratic.power_law(0), "the spectrum must"),
        (lambda: NoisyQuadratic.power_law(9, noise_scale=0), "noise_scale must be positive"),
        (lambda: LAW.steady(16, 2.0), "rate must be below 2; got 2.0; because above it the loss grows"),
        (lambda: LAW.recursion(0, 0.1), "size must be positive"),
        (lambda: LAW.recursion(1, -0.1), "rate must be positive"),
        (lambda: LAW.recursion(1, 0.1, 1.0), "momentum must lie in"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()
