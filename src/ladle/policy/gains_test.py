from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments
from ladle.policy.adaptive import Range
from ladle.policy.constant import Constant
from ladle.policy.gains import AdaScale, Goodput, gain, goodput
from ladle.policy.timing import Line, line_of, timed


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


def test_goodput_is_largest_at_the_closed_form() -> None:
    line, noise = Line(0.02, 1e-4), 800.0
    best = math.sqrt(noise * 200)
    assert all(goodput(best, line, noise) > goodput(best * x, line, noise) for x in (0.5, 0.9, 1.1, 2))
    assert max(range(1, 3000), key=lambda size: goodput(size, line, noise)) == 400
    # Its efficiency is Pollux's, to a factor that no size changes.
    ratio = goodput(1024, line, noise) / line.throughput(1024) / (goodput(128, line, noise) / line.throughput(128))
    assert ratio == pytest.approx(0.508772, abs=5e-7)


def test_goodput_stays_where_it_gains_less_than_it_is_asked_to() -> None:
    policy, line = Goodput(Range(32, 4096, 256, most=100), 0.02, 1e-4), Line(0.02, 1e-4)
    assert policy.best(32, line, 800.0) == 512  # 256 and 512 are next to the best size, 400
    assert policy.best(256, line, 800.0) == 256
    assert policy.best(512, line, 800.0) == 512
    assert policy.best(1024, line, 800.0) == 512


@given(fixed=st.floats(0, 0.1), each=st.floats(1e-7, 1e-2), sizes=st.sets(st.integers(1, 4096), min_size=2, max_size=5))
def test_the_line_of_exact_times_is_exact(fixed: float, each: float, sizes: set[int]) -> None:
    line = line_of({"times": {str(size): [3.0, 3 * (fixed + each * size)] for size in sizes}})
    assert line is not None
    for size in sizes:
        assert line.seconds(size) == pytest.approx(fixed + each * size, rel=1e-6)


def test_neither_part_of_the_line_is_below_zero() -> None:
    falling = line_of({"times": {"10": [1.0, 0.5], "20": [1.0, 0.4]}})
    steep = line_of({"times": {"10": [1.0, 0.1], "20": [1.0, 0.5]}})
    assert falling is not None
    assert steep is not None
    assert falling.per_example_seconds == 0.0 < falling.fixed_seconds
    assert steep.fixed_seconds == 0.0 < steep.per_example_seconds
    assert line_of({"times": {"10": [1.0, 0.5]}}) is None
    assert line_of({}) is None


def test_windows_are_timed_under_the_size_they_ran_at() -> None:
    memory = timed({"size": 64}, Progress(640, updates=10, seconds=1.0))
    memory = timed({**memory, "size": 128}, Progress(1920, updates=20, seconds=2.6))
    assert memory["times"] == {"64": [10, 1.0], "128": [10, pytest.approx(1.6)]}
    assert timed(memory, Progress(1920, updates=20, seconds=2.6)) == memory


def test_half_a_line_is_refused() -> None:
    with pytest.raises(ArgumentError, match="fixed_seconds must come with per_example_seconds"):
        Goodput(Range(32, 64, 64), fixed_seconds=0.1)
    with pytest.raises(ArgumentError, match="seconds must be above 0"):
        Goodput(Range(32, 64, 64), 0.1, 0.0)
    with pytest.raises(ArgumentError, match="base must be at least 1"):
        AdaScale(Constant(64, 64), base=0)
