from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.core.moments import PREFIX, Moments
from ladle.core.noise import estimate
from ladle.report.study import Group, RunRecord
from ladle.report.track_plots import told
from ladle.report.tracks import corners, limits, noise_track, shown, size_track, summary

OPEN, UNKNOWN = {"noise_scale": 90.0, "noise_scale_low": 40.0, "noise_scale_high": None}, {"noise_scale_low": 0.0}
KNOWN = {"noise_scale": 60.0, "noise_scale_low": 50.0, "noise_scale_high": 80.0}
AT_LEAST = {"noise_scale": None, "noise_scale_low": 100.0, "noise_scale_high": None}


def run(*readings: dict[str, Any], size: int = 8) -> RunRecord:
    lines = [
        {"examples": 64 * k, "updates": 8 * k, "seconds": k / 2, "size": size, **reading}
        for k, reading in enumerate(readings, start=1)
    ]
    return RunRecord(Path("a"), {}, ({"examples": 0, "updates": 0, "seconds": 0.0}, *lines))


def sums(seed: int, count: int) -> dict[str, float]:
    trace, square = np.random.default_rng(seed).normal([[100.0], [1.0]], [[5.0], [0.1]], (2, count))
    return {PREFIX + name: value for name, value in vars(Moments.from_pairs(trace, square, 32 * count)).items()}


def test_null_is_an_open_end_and_nothing_is_invented():
    track = noise_track(run(KNOWN, {}, OPEN, AT_LEAST, UNKNOWN))
    assert track is not None
    np.testing.assert_array_equal(track.start, [0, 128, 192, 256])
    np.testing.assert_array_equal(track.end, [64, 192, 256, 320])
    np.testing.assert_array_equal(track.value, [60, 90, np.inf, np.inf])
    np.testing.assert_array_equal(track.low, [50, 40, 100, 0])
    np.testing.assert_array_equal(track.high, [80, np.inf, np.inf, np.inf])
    assert track.resolved.tolist() == [True, False, False, False]
    assert track.bounded_below.tolist() == [False, True, True, False]
    assert told(track) == ["60 (50 to 80)", "at least 40 (estimate 90)", "at least 100", "not resolved"]


def test_windows_are_pooled_where_the_record_has_the_sums():
    readings = [KNOWN | sums(k, 8) for k in range(6)]
    track = noise_track(run(*readings))
    assert track is not None and track.windows == 2 and len(track.value) == 3
    expected = estimate(Moments.from_sums(readings[2]).merge(Moments.from_sums(readings[3])))
    assert (track.value[1], track.low[1], track.high[1]) == (expected.value, expected.low, expected.high)
    assert (track.start[1], track.end[1]) == (128, 256)
    few = noise_track(run(*[KNOWN | sums(k, 40) for k in range(6)]), pieces=2)
    assert few is not None and few.windows == 3
    plain = noise_track(run(*[KNOWN] * 50))
    assert plain is not None and plain.windows == 1 and len(plain.value) == 50


def test_a_piece_ends_where_the_size_changes_and_not_on_a_gentle_ramp():
    rows = [sums(k, 1) | {"size": 8 if k < 10 else 32} for k in range(32)]
    track = noise_track(run(*rows))
    assert track is not None and track.end[0] == track.start[1] == 640 and len(track.value) == 3
    ramp = noise_track(run(*[sums(k, 1) | {"size": 100 + k // 4} for k in range(32)]))
    assert ramp is not None and len(ramp.value) == 2


def test_windows_too_short_for_an_interval_count_when_pooled():
    track = noise_track(run(*[sums(k, 1) for k in range(32)]))
    assert track is not None and track.windows == 16 and track.resolved.all()
    assert len(summary(run(*[sums(k, 1) for k in range(6)]))) == 2
    assert noise_track(run(sums(0, 1))) is None and noise_track(run(dict.fromkeys(sums(0, 1), 0.0))) is None


@pytest.mark.parametrize("reading", [{}, UNKNOWN, {"noise_scale": 60.0}, {"noise_scale_low": None}])
def test_without_an_interval_there_is_no_track(reading: dict[str, Any]):
    assert noise_track(run(reading)) is None and shown([Group("a", 8, (run(reading),))]) == {}
    assert summary(RunRecord(Path("a"))) == () and size_track(RunRecord(Path("a"))) is None


def test_sizes_are_shown_where_they_change_or_beside_a_noise_scale():
    grown = run({}, {"size": 16}, {"size": None})
    track = size_track(grown)
    assert track is not None and track.size.tolist() == [8, 16] and track.end.tolist() == [64, 128]
    found = shown([Group("a", 8, (grown, run({}))), Group("b", 8, (run(KNOWN),))])
    assert list(found) == [(0, 0), (1, 0)]
    low, high = limits(list(found.values()))
    assert low < 8 and 80 < high < 1000


def test_steps_have_both_corners_and_begin_above_zero_on_a_log_axis():
    track = size_track(run({}, {"size": 16}))
    assert track is not None
    x, y = corners(run({}, {}), "updates", track.start, track.end, track.size)
    assert x.tolist() == [0, 8, 8, 16] and y.tolist() == [8, 8, 16, 16]
    assert corners(run({}, {}), "updates", track.start, track.end, log=True)[0].tolist() == [1, 8, 8, 16]


def test_the_ends_of_a_run_are_summed_up():
    assert summary(run(KNOWN, OPEN, AT_LEAST)) == ((60.0, 50.0, 80.0), (np.inf, 100.0, np.inf))
    assert summary(run(KNOWN)) == ((60.0, 50.0, 80.0),)
    readings = [KNOWN | sums(k, 8) for k in range(3)]
    noise = estimate(Moments.from_sums(readings[2]))
    assert summary(run(*readings))[1] == (noise.value, noise.low, noise.high)
