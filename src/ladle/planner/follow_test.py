from __future__ import annotations

import pytest

from ladle.core.speed import Speed
from ladle.planner.course import Reading, time_of_parts
from ladle.planner.course_test import COURSE, reading
from ladle.planner.evidence import Findings
from ladle.planner.follow import follow
from ladle.planner.throughput import ThroughputLine

LINE = ThroughputLine(Speed(1e-3, 1e-3 / 64), 0.0, 0.0, 0.01, (), 0.0)


def found(course: tuple[Reading, ...], **changed) -> Findings:
    known = {"rows": 10_000, "limit_bytes": 10**9, "limit_method": "", "limit_given": False, "top": 4096}
    return Findings(**{**known, "memory": None, "speed": LINE, "course": course, **changed})


def test_a_noise_scale_that_grows_is_followed_by_a_batch_that_grows():
    """B* = sqrt(64 N): 32, 64, 128 for 16, 64, 256; the price is that of the parts."""
    made = follow(found(COURSE), 64)
    assert made is not None and made.sizes == ((0, 32), (640, 64), (1920, 128))
    assert made.text == "0:32 640:64 1920:128"
    one, parts = (time_of_parts(COURSE, sizes, LINE.line.seconds) for sizes in (((0, 64),), made.sizes))
    assert made.share == pytest.approx(parts / one) and made.share < 0.97
    assert made.remark().startswith("The schedule '0:32 640:64 1920:128' follows it, in ")


@pytest.mark.parametrize(
    "changed",
    [
        {"course": (reading(10, 60.0, 1.5), reading(90, 70.0, 1.5))},
        {"course": (*COURSE[:2], reading(90, 256.0, verdict="lower bound only"))},
        {"course": ()},
        {"speed": None},
        {"top": 32},
    ],
)
def test_nothing_is_offered_where_it_rests_on_nothing(changed):
    assert follow(found(**{"course": COURSE, **changed}), 64) is None
