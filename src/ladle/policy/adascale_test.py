from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments
from ladle.policy.adascale import AdaScale, gain
from ladle.policy.constant import Constant


def test_adascale_and_pollux_are_one_identity() -> None:
    noise, base, size = 800.0, 128, 1024
    r = gain(noise, base, size)
    assert r == pytest.approx(4.070175, abs=5e-7)
    assert r / (size / base) == pytest.approx(0.508772, abs=5e-7)
    assert r / (size / base) == pytest.approx((noise + base) / (noise + size), rel=1e-12)


@given(noise=st.floats(0, 1e9), base=st.integers(1, 1000), more=st.integers(0, 10**5))
def test_the_gain_lies_between_one_and_the_ratio_of_sizes(noise: float, base: int, more: int) -> None:
    scale = (base + more) / base
    assert 1 - 1e-12 <= gain(noise, base, base + more) <= scale * (1 + 1e-12)
    assert gain(math.inf, base, base + more) == scale


def read(trace: list[float], square: list[float]) -> dict[str, float]:
    """What a window of 20 updates of 1024 examples reads."""
    pairs = Moments.from_pairs(trace, square, 20_480)
    return {f"noise/{name}": value for name, value in vars(pairs).items()}


def test_adascale_counts_updates_of_the_base_size() -> None:
    policy = AdaScale(Constant(1024, 256), base=128)
    memory, first = policy.decide(policy.init(None), Progress())
    reading = read([80.0, 80.0], [0.1, 0.1])
    memory, second = policy.decide(memory, Progress(20_480, updates=20, reading=reading))
    _, third = policy.decide(memory, Progress(40_960, updates=40, reading=reading))
    assert (first.lr_factor, second.lr_factor) == (1.0, pytest.approx(4.070175, abs=5e-7))
    assert second.inputs["scale_invariant_updates"] == 20
    assert third.inputs["scale_invariant_updates"] == pytest.approx(20 + 20 * 4.070175, abs=1e-4)
    assert second.reason == "learning rate x1 -> x4.07018: noise scale 800 (800 to 800) at 20,480 examples (adascale)"
    assert third.reason == ""


def test_adascales_clock_counts_base_examples_and_never_jumps() -> None:
    """Its pace is the efficiency r / S: an eighth of the examples at a gain of one, half of them at 4.07 of 8."""
    policy = AdaScale(Constant(1024, 256), base=128)
    memory, first = policy.decide(policy.init(None), Progress())
    memory, second = policy.decide(memory, Progress(20_480, updates=20, reading=read([80.0, 80.0], [0.1, 0.1])))
    assert (first.clock.at(0), first.clock.pace) == (0, 1 / 8)
    assert second.clock.pace == pytest.approx(0.508772, abs=5e-7)
    assert second.clock.at(20_480) == pytest.approx(first.clock.at(20_480)) == pytest.approx(20 * 128)
    assert (
        second.clock.at(second.clock.reaches(10_000.0)) >= 10_000 > second.clock.at(second.clock.reaches(10_000.0) - 1)
    )


def test_adascales_rate_moves_where_the_interval_says_so_alone() -> None:
    """A window of which nothing can be told, or one about the same, leaves the rate as it is."""
    policy, memory, factors = AdaScale(Constant(1024, 256), base=128, half_life=1.0), None, []
    windows = [{}, read([80.0, 80.1], [0.1, 0.1]), read([80.0, 81.0], [1.0, -1.1]), read([79.0, 82.0], [0.101, 0.1])]
    for number, reading in enumerate([*windows, *[read([80.0, 80.1], [10.0, 10.0])] * 30]):
        progress = Progress(20_480 * number, updates=20 * number, reading=reading)
        memory, decision = policy.decide(memory or policy.init(None), progress)
        factors.append(decision.lr_factor)
    assert factors[0] == 1.0 < factors[1] == factors[2] == factors[3]
    assert factors[-1] == pytest.approx(gain(8.0, 128, 1024), rel=0.01)


def test_the_base_is_a_size() -> None:
    with pytest.raises(ArgumentError, match="base must be at least 1"):
        AdaScale(Constant(64, 64), base=0)
