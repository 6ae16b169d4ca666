from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.batch import batch_ends
from ladle.core.decision import Progress
from ladle.core.errors import ArgumentError
from ladle.policy.constant import Constant
from ladle.policy.schedule import Geometric, GrowInsteadOfDecay, Segment, Steps, Warmup, follow


def size_at(policy: Any, examples: int) -> int:
    return policy.decide(None, Progress(examples))[1].spec.size


def updates(policy: Any, end: int, epoch_size: int) -> list[tuple[int, int]]:
    """(position, size asked for) of every update from 0 to `end`."""
    memory, examples, made = policy.init(None), 0, []
    while examples < end:
        memory, decision = policy.decide(memory, Progress(examples))
        made.append((examples, decision.spec.size))
        examples = int(batch_ends(examples, decision.spec.size, 1, epoch_size)[0])
    return made


# --- which segment


def test_the_new_size_holds_exactly_from_its_boundary_on() -> None:
    # A known error elsewhere: asked for the size at a step, a schedule answered with its first segment for ever.
    policy = Steps(((0, 32), (1000, 64), (1001, 8), (5000, 128)), 16)
    hand = {0: 32, 1: 32, 999: 32, 1000: 64, 1001: 8, 1002: 8, 4999: 8, 5000: 128, 5001: 128, 10**12: 128}
    assert {examples: size_at(policy, examples) for examples in hand} == hand


def test_a_batch_that_overshoots_skips_a_short_segment() -> None:
    policy = Steps(((0, 100), (150, 7), (160, 50)), 128)
    assert updates(policy, 300, 10**6) == [(0, 100), (100, 100), (200, 50), (250, 50)]


@given(
    starts=st.sets(st.integers(1, 10_000), max_size=8),
    sizes=st.lists(st.integers(1, 4096), min_size=9, max_size=9),
    examples=st.integers(0, 12_000),
)
def test_follow_agrees_with_a_slow_reading_of_the_table(starts: set[int], sizes: list[int], examples: int) -> None:
    table = [Segment(start, size) for start, size in zip([0, *sorted(starts)], sizes, strict=False)]
    size, stop = 0, None
    for segment in table:
        if segment.start <= examples:
            size = segment.size
        elif stop is None:
            stop = segment.start
    _, decision = follow(table, None, examples=examples, micro_size=64, kind="test")
    assert (decision.spec.size, decision.stop) == (size, stop)


def test_the_reason_says_what_changed_where() -> None:
    policy = Steps(((0, 64), (1000, 64), (2000, 256)), 64, coupling="square root")
    memory, first = policy.decide(policy.init(None), Progress(0))
    memory, same = policy.decide(memory, Progress(1000))
    _, grown = policy.decide(memory, Progress(2016))
    assert (first.reason, same.reason) == ("", "")
    assert grown.reason == "batch size 64 -> 256, learning rate x1 -> x2 at 2,016 examples (steps)"


# --- the rate


@pytest.mark.parametrize(
    ("coupling", "factors"),
    [("none", [1, 1, 1]), ("linear", [1, 4, 0.5]), ("square root", [1, 2, math.sqrt(0.5)])],
)
def test_the_rate_follows_the_size_from_the_first_one(coupling: Any, factors: list[float]) -> None:
    policy = Steps(((0, 32), (10, 128), (20, 16)), 16, coupling=coupling)
    assert [policy.decide(None, Progress(n))[1].lr_factor for n in (0, 10, 20)] == pytest.approx(factors, abs=0)


def test_growing_keeps_rate_over_size_on_the_curve_of_the_decay() -> None:
    policy = GrowInsteadOfDecay(50, 1.7, (100, 200, 300, 400, 500), largest=333, micro_size=64)
    table = policy.table
    for k, segment in enumerate(table):
        assert segment.lr_factor / segment.size == pytest.approx(1 / (50 * 1.7**k), rel=1e-11)
        assert segment.size == 333 or segment.lr_factor == pytest.approx(1, abs=0.5 / 50)
    assert [segment.size for segment in table] == [50, 85, 144, 246, 333, 333]


def test_powers_of_a_root_do_not_disturb_the_rate() -> None:
    policy = GrowInsteadOfDecay(10, 2**0.5, (100, 200, 300, 400), largest=40, micro_size=64)
    assert [(segment.size, segment.lr_factor) for segment in policy.table[::2]] == [(10, 1), (20, 1), (40, 1)]


def test_smith_et_al_2017_section_5_1() -> None:
    # Wide ResNet 16-4 on CIFAR-10: the rate falls by 5 after 60, 120 and 160 epochs. "Increasing batch size" grows
    # 128 -> 640 -> 3200 -> 16000 instead; "hybrid" grows once, to 640, and decays after.
    epochs = tuple(50_000 * epoch for epoch in (60, 120, 160))
    growing = GrowInsteadOfDecay(128, 5, epochs, largest=16_000, micro_size=128)
    hybrid = GrowInsteadOfDecay(128, 5, epochs, largest=640, micro_size=128)
    assert [(s.size, s.lr_factor) for s in growing.table] == [(128, 1), (640, 1), (3200, 1), (16_000, 1)]
    assert [(s.size, s.lr_factor) for s in hybrid.table] == [(128, 1), (640, 1), (640, 0.2), (640, 0.04)]


# --- hand tables


def test_geometric_by_hand() -> None:
    policy = Geometric(32, 1000, growth=2, every=500, micro_size=64)
    hand = {0: 32, 499: 32, 500: 64, 999: 64, 1000: 128, 1500: 256, 2000: 512, 2499: 512, 2500: 1000, 10**9: 1000}
    assert {examples: size_at(policy, examples) for examples in hand} == hand


@given(first=st.integers(1, 300), more=st.integers(0, 3000), growth=st.floats(1.01, 5), examples=st.integers(0, 40_000))
def test_geometric_is_its_formula(first: int, more: int, growth: float, examples: int) -> None:
    last = first + more
    policy = Geometric(first, last, growth, every=100, micro_size=64)
    assert size_at(policy, examples) == round(min(last, first * growth ** (examples // 100)))


def test_warmup_by_hand() -> None:
    # line(n) = 3 + 97 n / 9700 = 3 + n / 100
    policy = Warmup(3, 100, over=9700, micro_size=64)
    hand = {
        0: 3,
        99: 3,
        100: 4,
        499: 4,
        500: 8,
        1299: 8,
        1300: 16,
        2900: 32,
        6099: 32,
        6100: 64,
        9699: 64,
        9700: 100,
        10**9: 100,
    }
    assert {examples: size_at(policy, examples) for examples in hand} == hand


@given(first=st.integers(1, 50), rise=st.integers(0, 200), over=st.integers(1, 5000), examples=st.integers(0, 6000))
def test_warmup_by_example_is_the_line_rounded_down(first: int, rise: int, over: int, examples: int) -> None:
    policy = Warmup(first, first + rise, over, micro_size=64, by="example")
    assert size_at(policy, examples) == min(first + rise, first + rise * examples // over)


def test_a_ramp_ends_at_the_configured_number_of_consumed_samples() -> None:
    # NVIDIA-NeMo/Megatron-Bridge#2609: 100 iterations at 16, ramp from 8 over 160 samples. Counted in iterations
    # the run ends at 1440 samples and a rate schedule over 1600 never completes. Counted in samples:
    end, decay_at = 100 * 16, 1200
    made = updates(Warmup(8, 16, over=160, micro_size=16), end, epoch_size=10**6)
    assert [size for _, size in made] == [8] * 20 + [16] * 90
    assert made[-1] == (end - 16, 16)
    # and what is told to happen at 1200 samples happens there, ramp or no ramp
    policy = GrowInsteadOfDecay(8, 2, (160, decay_at), largest=16, micro_size=16)
    made = updates(policy, end, epoch_size=10**6)
    factors = {position: policy.decide(None, Progress(position))[1].lr_factor for position, _ in made}
    assert min(position for position, factor in factors.items() if factor == 0.5) == decay_at
    assert sum(size for _, size in made) == end


def test_lists_are_as_good_as_tuples() -> None:
    steps, grow = Steps([[0, 64], [10, 128]], 64), GrowInsteadOfDecay(64, 2, [10, 20], 256, 64)  # type: ignore[arg-type]
    assert (steps, grow) == (Steps(((0, 64), (10, 128)), 64), GrowInsteadOfDecay(64, 2, (10, 20), 256, 64))
    assert len({steps, grow}) == 2


# --- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0, 1), "size must be at least 1"),
        (lambda: Steps((), 1), "segments must ascend"),
        (lambda: Steps("0:64", 1), "segments must be positions, one behind the other; got '0:64'"),  # type: ignore[arg-type]
        (lambda: Steps((0, 64), 1), "segments must be pairs of a position and a size"),  # type: ignore[arg-type]
        (lambda: GrowInsteadOfDecay(64, 2, 10, 128, 1), "boundaries must be positions"),  # type: ignore[arg-type]
        (lambda: Steps(((1, 64),), 1), "segments must ascend"),
        (lambda: Steps(((0, 64), (0, 32)), 1), "segments must ascend"),
        (lambda: Steps(((0, 64), (9, 32), (5, 1)), 1), "segments must ascend"),
        (lambda: Steps(((0, 64), (0.5, 32)), 1), "segments must ascend in whole numbers"),  # type: ignore[arg-type]
        (lambda: Steps(((0, 0),), 1), "size must be at least 1"),
        (lambda: Steps(((0, -5),), 1), "size must be at least 1"),
        (lambda: Steps(((0, 1.5),), 1), "size must be a whole number"),  # type: ignore[arg-type]
        (lambda: Steps(((0, 1),), 0), "micro_size must be at least 1"),
        (lambda: Steps(((0, 1),), 1, coupling="cubic"), "cubic"),  # type: ignore[arg-type]
        (lambda: Geometric(64, 32, 2, 10, 1), "last must be at least first=64"),
        (lambda: Geometric(64, 128, 1, 10, 1), "growth must be a number from 1.01"),
        (lambda: Geometric(64, 128, math.nan, 10, 1), "growth must be a number from 1.01"),
        (lambda: Geometric(64, 128, 2, 0, 1), "every must be at least 1"),
        (lambda: Warmup(64, 32, 10, 1), "target must be at least first=64"),
        (lambda: Warmup(8, 32, 0, 1), "over must be at least 1"),
        (lambda: Warmup(8, 32, 10, 1, by="line"), "by must be 'rung' or 'example'"),  # type: ignore[arg-type]
        (lambda: GrowInsteadOfDecay(64, 0.5, (10,), 128, 1), "decay must be a number from 1.01"),
        (lambda: GrowInsteadOfDecay(64, 2, (10, 10), 128, 1), "boundaries must ascend"),
        (lambda: GrowInsteadOfDecay(64, 2, (0,), 128, 1), "boundaries must ascend"),
        (lambda: GrowInsteadOfDecay(64, 2, (10,), 32, 1), "largest must be at least first=64"),
    ],
)
def test_impossible_schedules_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
