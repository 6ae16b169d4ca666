from __future__ import annotations

from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay


def test_growing_instead_of_decaying_keeps_the_noise_of_sgd() -> None:
    # Smith et al.: g = lr N / (B (1 - m)) is the same with a falling rate and with a growing batch.
    rows, momentum, at = 50_000, 0.9, (1000, 2000, 3000)
    growing = GrowInsteadOfDecay(128, 4, at, largest=128 * 64, micro_size=64).table
    falling = [(128, 4.0**-k) for k in range(4)]

    def noise(size: float, lr: float) -> float:
        return lr * rows / (size * (1 - momentum))

    assert [noise(s.size, s.lr_factor) for s in growing] == pytest.approx([noise(*pair) for pair in falling])


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


def test_lists_are_as_good_as_tuples() -> None:
    lists, tuples = (GrowInsteadOfDecay(64, 2, at, 256, 64) for at in ([10, 20], (10, 20)))  # type: ignore[arg-type]
    assert len({lists, tuples}) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GrowInsteadOfDecay(64, 2, 10, 128, 1), "boundaries must be positions"),  # type: ignore[arg-type]
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
