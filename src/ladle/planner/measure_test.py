"""The speed of a machine that others use too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ladle.core.explain import explain
from ladle.core.spec import BatchSpec
from ladle.planner.choose import choose
from ladle.planner.fakes_test import FakeProbe
from ladle.planner.measure import TURNS, measure_accumulation, measure_noise, measure_speed


@dataclass
class Disturbed(FakeProbe):
    """Its n-th request takes `slower(n, size)` times as long: 0.02 + 1e-4 B where nobody disturbs, a knee of 200."""

    slower: Callable[[int, int], float] = lambda request, size: 1.0
    requests: list[int] = field(default_factory=list)

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        self.requests.append(spec.size)
        return super().seconds(spec, repeats) * self.slower(len(self.requests) - 1, spec.size)


def test_a_disturbance_in_the_middle_leaves_the_line_alone():
    """Two of three turns, whatever the size; a size whose timings all fell into it would be five times too slow."""
    probe = Disturbed(slower=lambda request, size: 5.0 if 2 <= request < 8 else 1.0)
    line = measure_speed(probe, rows=2**20, top=8192)
    assert line is not None and line.line.knee == pytest.approx(200) and line.straight
    assert probe.requests == [1, 64, 8192] * TURNS


def test_times_that_are_no_line_are_taken_once_more():
    """A load that slows the large size alone, until the fifth turn: the least times are then those of a line."""
    probe = Disturbed(slower=lambda request, size: 5.0 if size == 8192 and request < 12 else 1.0)
    line = measure_speed(probe, rows=2**20, top=8192)
    assert line is not None and line.line.knee == pytest.approx(200) and line.straight
    assert probe.requests == [1, 64, 8192] * 2 * TURNS


def test_a_line_that_never_was_one_is_not_straight():
    probe = Disturbed(slower=lambda request, size: 5.0 if size == 8192 else 1.0)
    line = measure_speed(probe, rows=2**20, top=8192)
    assert line is not None and not line.straight
    assert probe.requests == [1, 64, 8192] * 2 * TURNS + [8, 512] * TURNS
    assert [size for size, *_ in line.points] == [1, 8, 64, 512, 8192]


def test_a_size_that_is_far_too_slow_is_timed_once():
    """A padded batch that outgrows its caches takes 12 s where a line through 1 and 64 told 0.8."""
    probe = Disturbed(slower=lambda request, size: 15.0 if size == 8192 else 1.0)
    line = measure_speed(probe, rows=2**20, top=8192)
    assert line is not None and not line.straight
    assert probe.requests.count(8192) == 1 and probe.requests.count(64) == 2 * TURNS


@dataclass
class Superlinear(FakeProbe):
    """Seconds of a small transformer on two cores: 1.4 + 0.57 B ms up to 8, a cache that overflows beyond."""

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        self.asked.append(("seconds", spec))
        return np.full(repeats, (1.4 + 0.57 * spec.size + 1.2 * max(spec.size - 8, 0)) / 1e3)


def test_a_large_size_that_is_slow_does_not_make_one_the_best():
    """No line goes through these times: by one without a fixed part a batch of one would be the best, at 2.5 times the
    time to the target. The size is then the best of those between the measured ones, and no ideal size is told."""
    probe = Superlinear(gradient_sq=0.25, trace=42.0, dimension=4000)
    plan = choose(probe, rows=8192, optimizer="adamw", reference_lr=1e-3)
    times = {size: (1 + 168 / size) * float(probe.seconds(BatchSpec(size, size), 1)[0]) for size in (1, 4, 8, 16, 32)}
    assert plan.bound == "unresolved speed" and times[plan.size] <= 1.1 * min(times.values()) < 0.5 * times[1]
    told = explain(plan)
    assert "ideal size" not in told and "5 % more" not in told and "reached at 0" not in told
    assert plan.number("target_size") is None and plan.within_5_percent == (plan.size, plan.size)


def test_a_plan_without_a_line_says_so_and_nothing_of_other_sizes():
    probe = Disturbed(slower=lambda request, size: 5.0 if size == 8192 else 1.0)
    how: dict[str, Any] = {"rows": 2**20, "optimizer": "adam", "reference_lr": 1e-3, "memory_bytes": 10**7}
    plan = choose(probe, **how)
    assert plan.bound == "unresolved speed"
    assert "lie on no line" in explain(plan) and "5 % more" not in explain(plan)
    assert choose(probe, minimize="examples", **how).bound != "unresolved speed"


def test_accumulation_is_told_apart_under_a_disturbance():
    probe = Disturbed(update_seconds=0.03, micro_seconds=0.01, slower=lambda request, size: 1.0 + 4.0 * (request < 3))
    found = measure_accumulation(probe, 64, rows=10**6)
    assert (found.fixed_seconds, found.micro_seconds) == pytest.approx((0.03, 0.0164))


@pytest.mark.parametrize("rows", [2, 31])
def test_a_few_rows_measured_over_and_over_resolve_nothing(rows: int):
    """Their interval is as narrow as one likes, around a number that is of these rows alone."""
    pilot = measure_noise(FakeProbe(), rows=rows, top=1024)
    assert pilot.noise.verdict == "unresolved" and f"{rows} rows are too few" in pilot.method
