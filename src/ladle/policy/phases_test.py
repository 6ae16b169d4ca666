from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.policy.phases import LateSwitch, MeasuredWarmup, Seesaw, falls
from ladle.policy.schedule import GrowInsteadOfDecay, Steps
from ladle.policy.segments import serial_fraction


def quarter_cosine(done: float) -> float:
    return math.cos(math.pi * done / 2)


def half_cosine(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


@pytest.mark.parametrize(
    ("curve", "decay", "fraction", "within"),
    [
        (quarter_cosine, 1.01, 2 / math.pi, 0.01),
        (half_cosine, 1.01, 0.5, 0.01),
        (quarter_cosine, 2, 0.77983, 5e-6),
    ],
)
def test_the_serial_part_that_seesaw_leaves(curve: Any, decay: float, fraction: float, within: float) -> None:
    end = 10**9
    policy = Seesaw(2**20, decay, falls(curve, decay, end, most=2000), largest=2**60, micro_size=64)
    assert serial_fraction(policy.table, end) == pytest.approx(fraction, rel=within)


@given(decay=st.floats(1.1, 8), share=st.floats(0.1, 1), steps=st.integers(1, 12))
def test_seesaw_keeps_rate_over_root_of_size_on_the_curve_of_the_decay(decay: float, share: float, steps: int) -> None:
    growth = max(1.01, 1 + share * (decay - 1))
    at = tuple(range(100, 100 * steps + 1, 100))
    policy = Seesaw(10_000, decay, at, largest=10**6, micro_size=64, growth=growth)
    for k, segment in enumerate(policy.table):
        assert segment.lr_factor / math.sqrt(segment.size / 10_000) == pytest.approx(decay**-k, rel=1e-9)
    falling = [segment.lr_factor for segment in policy.table]
    assert falling == sorted(falling, reverse=True)


def test_growing_instead_of_decaying_keeps_the_noise_of_sgd() -> None:
    # Smith et al.: g = lr N / (B (1 - m)) is the same with a falling rate and with a growing batch.
    rows, momentum, at = 50_000, 0.9, (1000, 2000, 3000)
    growing = GrowInsteadOfDecay(128, 4, at, largest=128 * 64, micro_size=64).table
    falling = [(128, 4.0**-k) for k in range(4)]

    def noise(size: float, lr: float) -> float:
        return lr * rows / (size * (1 - momentum))

    assert [noise(s.size, s.lr_factor) for s in growing] == pytest.approx([noise(*pair) for pair in falling])


def test_merrill_saves_43_percent_of_the_steps() -> None:
    # OLMo-1B: 1024 documents of 4096 tokens, 2048 from 168e9 tokens on, 4096 from 503e9; 658e9 in all.
    documents = [int(tokens / 4096) for tokens in (0, 168e9, 503e9, 658e9)]
    end = documents.pop()
    critical = tuple(zip(documents, (1024, 2048, 4096), strict=True))
    warm = MeasuredWarmup(1024, 4096, critical, micro_size=64)
    assert [(segment.start, segment.size) for segment in warm.table] == list(critical)
    assert [segment.lr_factor for segment in warm.table] == pytest.approx([1, 2**0.5, 2])
    assert 1 - serial_fraction(warm.table, end) == pytest.approx(0.4312, abs=5e-5)
    assert 1 - serial_fraction(Steps(critical, 64).table, end) == pytest.approx(0.4312, abs=5e-5)
    large = Steps(((0, 4096),), 64)
    assert 1 - serial_fraction(large.table, end) * 1024 / 4096 == 0.75


@pytest.mark.parametrize(
    ("critical", "table"),
    [
        (((0, 1000),), [(0, 512)]),
        (((500, 1000),), [(0, 64), (500, 512)]),
        (((0, 64), (640, 704)), [(0, 64), (640 // 10, 128), (192, 256), (448, 512)]),
        (((0, 64), (10, 300), (20, 100)), [(0, 64), (3, 128), (9, 256)]),
        (((0, 64),), [(0, 64)]),
    ],
)
def test_it_doubles_where_the_critical_size_passes_twice_the_batch(critical: Any, table: list[Any]) -> None:
    policy = MeasuredWarmup(64, 512, critical, micro_size=64)
    assert [(segment.start, segment.size) for segment in policy.table] == table


def test_a_late_switch_by_hand() -> None:
    assert [s.size for s in LateSwitch(64, 1024, (8,), 64).table] == [64, 1024]
    assert [s.size for s in LateSwitch(10, 1000, (8, 9, 10), 64).table] == [10, 46, 215, 1000]


@given(decay=st.floats(1.05, 10), end=st.integers(10, 10**7))
def test_falls_is_where_the_curve_has_come_down(decay: float, end: int) -> None:
    positions = falls(quarter_cosine, decay, end, most=8)
    assert list(positions) == sorted(set(positions))
    for at in positions:
        assert any(quarter_cosine(at / end) <= decay**-k < quarter_cosine((at - 1) / end) for k in range(1, 9))
    assert falls(lambda done: 1.0, decay, end) == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Seesaw(64, 2, (10,), 128, 1, growth=4), "growth must be at most decay=2; got 4"),
        (lambda: Seesaw(64, 1, (10,), 128, 1), "decay must be a number from 1.01"),
        (lambda: Seesaw(64, 2, (10, 10), 128, 1), "boundaries must ascend"),
        (lambda: Seesaw(64, 2, (10,), 32, 1), "largest must be at least first=64"),
        (lambda: LateSwitch(64, 32, (10,), 1), "last must be at least first=64"),
        (lambda: Seesaw(64, 2, 8000, 128, 1), "boundaries must be positions"),  # type: ignore[arg-type]
        (lambda: LateSwitch(64, 128, 8000, 1), "at must be positions, one behind the other; got 8000"),  # type: ignore[arg-type]
        (lambda: MeasuredWarmup(64, 128, ((0, 64, 1),), 1), "critical must be pairs"),  # type: ignore[arg-type]
        (lambda: LateSwitch(64, 128, (), 1), "at must hold a position"),
        (lambda: LateSwitch(64, 128, (0,), 1), "at must ascend"),
        (lambda: MeasuredWarmup(64, 128, (), 1), "critical must be positive sizes at ascending positions"),
        (lambda: MeasuredWarmup(64, 128, ((5, 64), (5, 128)), 1), "critical must be positive sizes"),
        (lambda: MeasuredWarmup(64, 128, ((0, -1),), 1), "critical must be positive sizes"),
        (lambda: MeasuredWarmup(64, 32, ((0, 64),), 1), "largest must be at least first=64"),
    ],
)
def test_impossible_schedules_are_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
