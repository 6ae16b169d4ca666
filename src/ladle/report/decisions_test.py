from __future__ import annotations

from pathlib import Path
from typing import Any

from ladle.report.curves import curve
from ladle.report.decisions import changes, marks
from ladle.report.study import RunRecord


def run(*lines: dict[str, Any]) -> RunRecord:
    return RunRecord(Path("a"), {}, lines)


FIRST = {"examples": 0, "updates": 0, "seconds": 0.0, "valid_loss": 4.0}
SMALL = {"examples": 64, "updates": 8, "seconds": 1.0, "size": 8, "micro_size": 8, "lr": 0.1, "valid_loss": 2.0}
LARGE = {
    "examples": 128, "updates": 12, "seconds": 3.0, "size": 16, "micro_size": 8, "lr": 0.2, "valid_loss": 1.0,
    "reason": "grew", "inputs": {"noise_scale": 31.0, "noise_scale_high": None},
}  # fmt: skip


def test_a_change_stands_where_the_window_before_it_ended():
    (one,) = changes(run(FIRST, SMALL, LARGE))
    assert (one.examples, one.updates, one.size, one.micro_size, one.lr) == (64, 8, (8, 16), (8, 8), (0.1, 0.2))
    assert one.reason == "grew" and one.inputs == {"noise_scale": 31.0} and one.hyper == {}


def test_what_a_record_lacks_is_no_change():
    assert changes(run()) == () and changes(run(FIRST, SMALL, {"examples": 128, "lr": 0.05})) == ()
    assert changes(run({"reason": "grew"}, {"size": None, "hyper": 3, "reason": "grew"})) == ()


def test_a_rate_alone_follows_its_schedule_and_the_first_window_decides_nothing():
    assert changes(run(FIRST, SMALL | {"hyper": {"b2": 0.9}}, SMALL | {"examples": 128, "lr": 0.05})) == ()


def test_sizes_and_constants_that_move_without_a_reason_are_seen():
    lines = (SMALL | {"hyper": {"b2": 0.9, "b1": 0.5}}, SMALL | {"examples": 96, "hyper": {"b2": 0.8, "b1": 0.5}})
    (one, other) = changes(run(*lines, SMALL | {"examples": 128, "micro_size": 4}))
    assert one.hyper == {"b2": (0.9, 0.8)} and one.size == (8, 8) and one.reason == ""
    assert other.micro_size == (8, 4) and other.hyper == {}


def test_a_mark_is_on_the_curve_on_every_axis():
    one = run(FIRST, SMALL, LARGE)
    line = curve([one], "valid_loss")
    assert line is not None
    (mark,) = marks([one], line)
    assert (mark.examples, mark.updates, mark.seconds, mark.value) == (64, 8, 1.0, 2.0)
