from __future__ import annotations

from typing import Any

import pytest

from ladle.core.decision import Decision, Progress
from ladle.core.noise import NoiseScale
from ladle.core.plan import Plan
from ladle.policy.change import Reason
from ladle.policy.follow import Following
from ladle.policy.move import Wanted
from ladle.policy.range import Range

SIZES = Range(16, 1024, micro_size=64)
HUGE = Wanted(1e4, 9e3, 2e4)
SMALL = Wanted(10, 9, 11)


def follow(sizes: Range, memory: Any, progress: Progress, wanted: Wanted) -> tuple[Following, Decision]:
    kept = Following.recall(memory, sizes, progress)
    return kept.follow(sizes, wanted, progress, Reason("k", "w"), "linear")


def test_a_plan_says_where_to_begin() -> None:
    plan = Plan(300, 64, 0.1, "optimum", (200, 500), NoiseScale.unknown())
    assert SIZES.begin(plan) == 300
    assert Range(16, 128, 64).begin(plan) == 128
    assert Range(16, 128, 64, first=32).begin(plan) == 32
    memory, decision = follow(SIZES, Following.begin(SIZES, plan), Progress(), SMALL)
    assert decision.spec.size == 300
    _, decision = follow(SIZES, memory, Progress(5000), HUGE)
    assert (decision.spec.size, decision.lr_factor) == (512, pytest.approx(512 / 300))


def test_without_a_memory_it_goes_on_from_the_last_size_and_the_rate_of_that() -> None:
    """What a run of one constant size leaves: no memory, and its size."""
    left = Progress(5000, size=300)
    memory, decision = follow(SIZES, None, left, HUGE)
    assert (decision.spec.size, decision.lr_factor, decision.reason) == (300, 1.0, "")
    _, grown = follow(SIZES, memory, Progress(6000, size=300), HUGE)
    assert (grown.spec.size, grown.lr_factor) == (512, pytest.approx(512 / 300))
    _, inside = follow(Range(16, 128, 64), None, left, SMALL)
    assert (inside.spec.size, inside.lr_factor) == (128, pytest.approx(128 / 300))


def test_a_size_is_kept_for_as_long_as_asked() -> None:
    sizes, memory, seen = Range(16, 1024, 64, every=1000), None, {}
    for examples in range(0, 4000, 400):
        memory, decision = follow(sizes, memory, Progress(examples), HUGE)
        seen[examples] = decision.spec.size
    assert [at for at in seen if at and seen[at] != seen[at - 400]] == [1200, 2400, 3600]
