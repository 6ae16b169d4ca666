from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale, estimate
from ladle.core.plan import Plan
from ladle.core.scaling.coupling import Coupling
from ladle.policy.adaptive import BAND, Range, Wanted, absorb, follow_wanted, mean_of, moments_of, next_size, noise_of
from ladle.policy.change import coupled
from ladle.policy.schedule import Steps

SIZES = Range(16, 1024, micro_size=64)


def window(trace: float, square: float, *, updates: int, examples: int, **more: float) -> Progress:
    """Progress after a window whose updates all measured the same pair."""
    moments = Moments.from_pairs([trace] * updates, [square] * updates, examples)
    return Progress(examples, updates, reading={**{f"noise/{k}": v for k, v in vars(moments).items()}, **more})


# --- where to


@given(
    present=st.integers(16, 1024),
    value=st.floats(0.01, 1e7),
    down=st.floats(0.01, 1),
    up=st.floats(1, 100),
    at_least=st.booleans(),
)
def test_a_move_is_bounded_justified_and_on_the_grid(
    present: int, value: float, down: float, up: float, at_least: bool
) -> None:
    wanted = Wanted(value, value * down, value * up)
    size = next_size(SIZES, present, wanted, at_least=at_least)
    assert size == present or size in SIZES.grid
    assert present / 2 <= size <= present * 2
    if size > present:
        assert wanted.low > present
        assert at_least or value > BAND * present
    if size < present:
        assert wanted.high < present
        assert value * BAND < present
        assert not at_least


@given(wanted=st.floats(20, 800), at_least=st.booleans())
def test_a_known_size_is_reached_and_kept(wanted: float, at_least: bool) -> None:
    size, seen = 16, []
    for _ in range(10):
        size = next_size(SIZES, size, Wanted(wanted, wanted, wanted), at_least=at_least)
        seen.append(size)
    assert seen[-3:] == [size] * 3
    assert seen == sorted(seen)
    assert size >= wanted if at_least else 1 / BAND <= size / wanted <= BAND


@pytest.mark.parametrize(("low", "size"), [(0.0, 64), (63, 64), (127, 64), (129, 128), (1e9, 128)])
def test_a_one_sided_bound_is_not_passed(low: float, size: int) -> None:
    for at_least in (False, True):
        assert next_size(SIZES, 64, Wanted(math.inf, low, math.inf), at_least=at_least) == size


def test_the_way_back_is_longer() -> None:
    for went, sizes in ((0, [128, 64, 32]), (1, [128, 64, 64]), (-1, [64, 64, 32])):
        values = (64 * 1.6, 64, 64 / 1.6)
        assert [next_size(SIZES, 64, Wanted(v, v, v), went=went) for v in values] == sizes
    assert next_size(SIZES, 64, Wanted(26, 26, 26), went=1) == 32
    assert next_size(SIZES, 64, Wanted(156, 156, 156), went=-1) == 128


def test_nothing_known_moves_nothing() -> None:
    assert next_size(SIZES, 64, Wanted.of(NoiseScale.unknown())) == 64
    assert next_size(SIZES, 64, Wanted(math.nan, 0.0, math.nan), at_least=True) == 64


def test_a_long_leap_goes_as_far_as_the_whole_interval() -> None:
    fast = Range(16, 4096, micro_size=64, most=100)
    assert next_size(fast, 16, Wanted(1000, 900, 1100)) == 1024
    assert next_size(fast, 16, Wanted(1000, 130, 9000)) == 128
    assert next_size(fast, 16, Wanted(1000, 20, 9000)) == 32
    assert next_size(fast, 4096, Wanted(100, 20, 500)) == 512


def test_a_plan_says_where_to_begin() -> None:
    plan = Plan(300, 64, 0.1, "optimum", (200, 500), NoiseScale.unknown())
    assert SIZES.begin(plan) == {"first": 300}
    assert Range(16, 128, 64).begin(plan) == {"first": 128}
    assert Range(16, 128, 64, first=32).begin(plan) == {"first": 32}
    memory, decision = follow_wanted(SIZES, SIZES.begin(plan), Progress(), Wanted(10, 9, 11), kind="k", why="w")
    assert decision.spec.size == 300
    _, decision = follow_wanted(
        SIZES, memory, Progress(5000), Wanted(1e4, 9e3, 2e4), kind="k", why="w", coupling="linear"
    )
    assert (decision.spec.size, decision.lr_factor) == (512, pytest.approx(512 / 300))


def test_without_a_memory_it_goes_on_from_the_last_size_and_the_rate_of_that() -> None:
    """What a run of one constant size leaves: no memory, and the size in the reading."""
    left = Progress(5000, reading={"size": 300.0})
    memory, decision = follow_wanted(SIZES, None, left, Wanted(1e4, 9e3, 2e4), kind="k", why="w", coupling="linear")
    assert (decision.spec.size, decision.lr_factor, decision.reason) == (300, 1.0, "")
    later = Progress(6000, reading={"size": 300.0})
    _, grown = follow_wanted(SIZES, memory, later, Wanted(1e4, 9e3, 2e4), kind="k", why="w", coupling="linear")
    assert (grown.spec.size, grown.lr_factor) == (512, pytest.approx(512 / 300))
    _, inside = follow_wanted(Range(16, 128, 64), None, left, Wanted(10, 9, 11), kind="k", why="w", coupling="linear")
    assert (inside.spec.size, inside.lr_factor) == (128, pytest.approx(128 / 300))


def test_a_size_is_kept_for_as_long_as_asked() -> None:
    sizes, wanted = Range(16, 1024, 64, every=1000), Wanted(1e4, 9e3, 2e4)
    memory: Any = None
    seen = {}
    for examples in range(0, 4000, 400):
        memory, decision = follow_wanted(sizes, memory, Progress(examples), wanted, kind="k", why="w")
        seen[examples] = decision.spec.size
    assert [at for at in seen if at and seen[at] != seen[at - 400]] == [1200, 2400, 3600]


# --- what is remembered


def test_windows_fade_by_their_measured_updates() -> None:
    memory = absorb(SIZES, None, window(1.0, 0.1, updates=10, examples=100))
    memory = absorb(SIZES, memory, window(5.0, 0.3, updates=int(SIZES.half_life), examples=900))
    moments = moments_of(memory)
    assert moments.count == pytest.approx(SIZES.half_life + 5)
    assert moments.trace == pytest.approx(5 * 1.0 + SIZES.half_life * 5.0)


def test_windows_of_smaller_batches_count_less() -> None:
    memory = absorb(SIZES, {"first": 16, "size": 16}, window(1.0, 0.1, updates=10, examples=100))
    grown = absorb(SIZES, {**memory, "size": 64}, window(5.0, 0.3, updates=32, examples=900))
    shrunk = absorb(SIZES, {**memory, "size": 8}, window(5.0, 0.3, updates=32, examples=900))
    assert (moments_of(grown).count, moments_of(shrunk).count) == (32 + 10 / 2 / 4, 32 + 10 / 2)


def test_a_first_window_is_not_biased_towards_zero() -> None:
    first = window(30.0, 0.1, updates=4, examples=256)
    assert noise_of(SIZES, absorb(SIZES, None, first)) == estimate(first.moments())


def test_the_ratio_is_of_averages() -> None:
    memory = absorb(SIZES, None, window(10.0, 0.5, updates=2, examples=100))
    memory = absorb(SIZES, memory, window(10.0, 0.01, updates=2, examples=200))
    assert noise_of(SIZES, memory).value == pytest.approx(10.0 / 0.255, rel=0.05)  # not (20 + 1000) / 2


def test_a_window_counts_once_and_an_empty_or_broken_one_not_at_all() -> None:
    one = window(10.0, 0.5, updates=2, examples=100)
    memory = absorb(SIZES, None, one)
    assert absorb(SIZES, memory, one) == memory
    assert absorb(SIZES, memory, Progress(200, reading={"train_loss": 1.0})) == memory
    assert absorb(SIZES, memory, window(math.inf, 0.5, updates=2, examples=200)) == memory


def test_other_readings_are_averaged_alike() -> None:
    memory = absorb(SIZES, None, window(1, 1, updates=32, examples=10, train_loss=2.0), also=("train_loss",))
    memory = absorb(SIZES, memory, window(1, 1, updates=32, examples=20, train_loss=5.0), also=("train_loss",))
    assert mean_of(memory, "train_loss") == pytest.approx(4.0)
    assert math.isnan(mean_of({}, "train_loss"))
    assert json.loads(json.dumps(memory, allow_nan=False)) == memory


# --- rate and constants


def test_a_coupling_may_be_a_rule_or_a_value() -> None:
    half_life = Coupling("half-life", 64, {"b2": 0.999})
    assert coupled("square root", 64, 256) == (2.0, {})
    factor, hyper = coupled(half_life, 1, 256)
    assert (factor, hyper["b2"]) == (2.0, pytest.approx(0.999**4))
    policy = Steps(((0, 64), (1000, 256)), 64, coupling=half_life)
    memory, first = policy.decide(None, Progress(0))
    _, second = policy.decide(json.loads(json.dumps(memory)), Progress(1000))
    assert (first.lr_factor, first.hyper["b2"]) == (1.0, pytest.approx(0.999))
    assert (second.lr_factor, second.hyper["b2"]) == (2.0, pytest.approx(0.999**4))
    assert (
        second.reason == "batch size 64 -> 256, learning rate x1 -> x2, b2 0.999 -> 0.996006 at 1,000 examples (steps)"
    )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"smallest": 0}, "smallest must be at least 1"),
        ({"largest": 8}, "largest must be at least smallest=16; got 8"),
        ({"micro_size": 0}, "micro_size must be at least 1"),
        ({"first": 2000}, "first must lie in 16 to 1024; got 2000"),
        ({"most": 1.5}, "most must lie in 2 to"),
        ({"band": 0.5}, "band must lie in 1 to 100"),
        ({"half_life": 0}, "half_life must lie in 1 to"),
        ({"every": -1}, "every must lie in 0 to"),
    ],
)
def test_contradictions_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Range(**{"smallest": 16, "largest": 1024, "micro_size": 64, **how})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
