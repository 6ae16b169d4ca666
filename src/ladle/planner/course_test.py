from __future__ import annotations

import math

import pytest

from ladle.core.noise import NoiseScale
from ladle.planner.course import Reading, moved, pooled, size_of_parts, time_of_parts, weights, whole
from ladle.planner.measure import Pilot


def reading(updates: int, noise: float, spread: float = 1.05, verdict: str = "resolved") -> Reading:
    scale = NoiseScale(noise, noise / spread, noise * spread, verdict, 0.5, noise / 2)  # type: ignore[arg-type]
    return Reading(updates, 64, Pilot(scale, "made up"))


COURSE = (reading(10, 16.0), reading(30, 64.0), reading(90, 256.0))


def test_weights_are_the_updates_without_noise():
    """10 updates at 1 + 16/64, 20 more at 1 + 64/64, 60 more at 1 + 256/64."""
    assert weights(COURSE) == pytest.approx([10 / 1.25, 20 / 2, 60 / 5])


def test_one_size_for_the_whole_run_has_the_updates_of_its_parts():
    """sum of w_i (1 + N_i / B) = W (1 + N / B) at any B, and at 64 the 90 updates that were made."""
    mean, total = whole(COURSE).noise.value, sum(weights(COURSE))
    assert total * (1 + mean / 64) == pytest.approx(90)
    for size in (8, 64, 1024):
        parts = sum(weight * (1 + one.noise.value / size) for weight, one in zip(weights(COURSE), COURSE, strict=True))
        assert total * (1 + mean / size) == pytest.approx(parts)


def test_the_interval_of_the_mean_is_narrower_than_that_of_its_parts_and_no_narrower_than_the_heaviest_share():
    noise = whole(COURSE).noise
    assert noise.verdict == "resolved" and noise.low < noise.value < noise.high
    assert math.log(noise.high / noise.low) < 2 * math.log(1.05)
    known = whole(tuple(reading(one.updates, one.noise.value, 1.0) for one in COURSE)).noise
    assert known.low == pytest.approx(known.value)


def test_a_reading_that_is_not_resolved_leaves_the_last_one_that_is():
    vague = reading(90, 256.0, verdict="lower bound only")
    assert whole((*COURSE[:2], vague)) is COURSE[1].pilot
    assert whole((vague, vague)) is vague.pilot


def test_the_noise_has_moved_where_the_intervals_do_not_meet():
    assert moved(COURSE)
    assert not moved((reading(10, 60.0, 1.5), reading(90, 70.0, 1.5)))
    assert not moved((reading(10, 16.0), reading(90, 256.0, verdict="unresolved")))
    assert not moved(COURSE[:1])


def test_a_schedule_follows_the_noise_and_never_falls():
    assert size_of_parts(COURSE, lambda noise: int(noise)) == [(0, 16), (640, 64), (1920, 256)]
    falling = (reading(10, 64.0), reading(30, 16.0), reading(90, 128.0))
    assert size_of_parts(falling, lambda noise: int(noise)) == [(0, 64), (1920, 128)]


def test_the_price_of_a_schedule_is_that_of_its_parts():
    """t(B) = 1 + B/64: each part at its own best size sqrt(N 64) costs W (1 + sqrt(N/64))^2 at most; one size more."""

    def seconds(size: int) -> float:
        return 1 + size / 64

    constant = time_of_parts(COURSE, [(0, 64)], seconds)
    assert constant == pytest.approx(2 * 90)
    ideal = size_of_parts(COURSE, lambda noise: round(math.sqrt(noise * 64)))
    expected = sum(
        weight * (1 + math.sqrt(one.noise.value / 64)) ** 2 for weight, one in zip(weights(COURSE), COURSE, strict=True)
    )
    assert time_of_parts(COURSE, ideal, seconds) == pytest.approx(expected)
    best = min(time_of_parts(COURSE, [(0, size)], seconds) for size in range(1, 1000))
    assert expected < best <= constant


def pilots(*values: float, verdict: str = "resolved") -> list[Pilot]:
    return [reading(1, value, 1.2, verdict).pilot for value in values]


def test_places_of_a_part_are_averaged_by_the_share_of_the_noise():
    """At B0 = 64 the shares of 64 and 192 are 1/2 and 3/4: 5/8 in the mean, so N = 64 (5/8) / (3/8)."""
    found = pooled(pilots(64.0, 192.0), size=64, scatter=0.0).noise
    assert found.value == pytest.approx(64 * 5 / 3) and found.verdict == "resolved"
    assert found.trace / found.gradient_sq == pytest.approx(found.value)
    one = pooled(pilots(64.0), size=64, scatter=0.0).noise
    assert (one.value, one.low, one.high) == pytest.approx((64.0, 64 / 1.2, 64 * 1.2), rel=1e-4)


def test_a_gradient_near_zero_carries_no_mean_away():
    near = pooled(pilots(64.0, 64.0, 1e9), size=64, scatter=0.0).noise
    assert near.value == pytest.approx(64 * (2 / 3) / (1 / 3), rel=1e-3)


def test_places_that_differ_widen_the_interval():
    wide, narrow = (pooled(pilots(64.0, 64.0, 64.0), size=64, scatter=scatter).noise for scatter in (0.7, 0.0))
    assert wide.value == narrow.value and wide.high / wide.low > 3 * narrow.high / narrow.low
    one = math.hypot(0.7, math.log(1.2) / 1.96)
    assert math.log(wide.high / wide.value) == pytest.approx(1.96 * one / math.sqrt(3), rel=1e-3)


def test_places_that_are_mostly_unresolved_stand_for_nothing_more():
    vague = pilots(64.0, 64.0, verdict="lower bound only")
    assert pooled([*vague, *pilots(32.0)], size=64, scatter=0.7).noise.value == 32.0
    assert pooled(vague, size=64, scatter=0.7) is vague[-1]
