from __future__ import annotations

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.hyperbola import fewer_steps
from ladle.planner.choose import choose
from ladle.planner.fakes_test import FakeProbe
from ladle.planner.forecast import forecast
from ladle.planner.target import Cost


def test_the_best_size_of_the_forecast_is_that_of_the_closed_form():
    """alpha 0.02, beta 1e-4, noise scale 800: the least time is at 400, and is Smin (sqrt(a) + sqrt(b Bn))^2."""
    plan = choose(FakeProbe(), rows=2**20, pilot_seconds=1e9)
    noise = plan.noise.value
    fixed, each = plan.number("fixed_seconds"), plan.number("per_example_seconds")
    assert fixed and each
    cost = Cost(fixed.value, each.value, noise=noise)
    told = {size: forecast(plan, size, reference_size=64, reference_steps=1000) for size in range(100, 1000, 10)}
    best = min(told, key=lambda size: told[size].seconds)
    assert best == pytest.approx(cost.best, abs=10)
    least_steps = 1000 / (1 + noise / 64)
    assert told[best].seconds == pytest.approx(least_steps * cost(best), rel=1e-9)


def test_the_reference_tells_itself():
    plan = choose(FakeProbe(), rows=2**20, pilot_seconds=1e9)
    told = forecast(plan, 64, reference_size=64, reference_steps=1000)
    assert told.steps == 1000 and told.low == told.seconds == told.high
    assert fewer_steps(800, 1, 2) == pytest.approx(0.5, rel=2e-3)
    assert fewer_steps(800, 10**6, 2 * 10**6) == pytest.approx(1, rel=1e-3)


def test_what_tells_nothing_is_refused():
    with pytest.raises(ArgumentError, match="resolved noise scale"):
        forecast(
            choose(FakeProbe(gradient_sq=1e-9), rows=2**20, pilot_seconds=0), 64, reference_size=8, reference_steps=9
        )
    plan = choose(FakeProbe(), rows=2**20, pilot_seconds=1e9)
    with pytest.raises(ArgumentError, match="reference_steps must be positive"):
        forecast(plan, 64, reference_size=8, reference_steps=float("inf"))
