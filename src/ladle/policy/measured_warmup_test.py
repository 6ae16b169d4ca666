from __future__ import annotations

from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.policy.measured_warmup import MeasuredWarmup
from ladle.policy.segments import serial_fraction
from ladle.policy.steps import Steps


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeasuredWarmup(64, 128, ((0, 64, 1),), 1), "critical must be pairs"),  # type: ignore[arg-type]
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
