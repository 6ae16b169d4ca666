from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ladle.report.fakes_test import plan_json
from ladle.report.reach_picture import draw_reached
from ladle.report.study import Group, RunRecord
from ladle.report.targets import common_target, fit, foretold, reached, rounded_up, sentence

SIZES = (10, 40, 160)


def group(size: int, scale: float = 1.0, *, floor: float = 0.0, every: int = 1, status: str = "finished") -> Group:
    """Loss exp(-updates / (10 + 400 / size)) along a run, read every `every` updates."""
    need = scale * (10 + 400 / size)
    lines = [
        {"updates": k, "examples": size * k, "seconds": k * 1e-3, "valid_loss": max(float(np.exp(-k / need)), floor)}
        for k in range(0, 151, every)
    ]
    return Group(str(size), size, (RunRecord(Path(str(size)), {"status": status}, tuple(lines)),))


def test_every_size_is_asked_when_it_met_the_loss():
    target = common_target([group(size) for size in SIZES])
    assert target is not None and target.loss == rounded_up(np.exp(-150 / 50)) == 0.05
    assert [row.steps for row in target.rows] == pytest.approx([150, 60, 38])  # ceil(-log(0.05) need)
    assert [row.low for row in target.rows] == pytest.approx([149, 59, 37])
    assert target.rows[1].examples == pytest.approx(2400) and target.rows[1].seconds == pytest.approx(0.06)


def test_seeds_are_a_geometric_mean_and_all_must_reach():
    pair = Group("10", 10, (group(10).runs[0], group(10, 2.0).runs[0]))
    row = reached(pair, 0.5)
    assert row is not None and row.steps == pytest.approx((35 * 70) ** 0.5) and (row.low, row.high) == (34, 70)
    assert reached(pair, 0.04) is None and reached(Group("0", 0, ()), 0.5) is None


def test_a_size_that_ended_far_above_the_others_does_not_spoil_the_target():
    target = common_target([*(group(size, every=10) for size in SIZES), group(320, floor=0.7)])
    assert target is not None and target.loss == 0.05 and target.missed == ("320",)
    assert common_target([group(10, status="diverged"), group(40)]) is None
    assert common_target([group(10), group(10)]) is None and common_target([]) is None
    assert common_target([group(10, floor=0.9, every=50), group(40, floor=0.9, every=50)]) is None


def test_the_plan_foretells_steps_and_time_from_its_own_size():
    target = common_target([group(size) for size in SIZES])
    assert target is not None
    made = foretold(target, plan_json(size=40, noise={"value": 40.0, "low": 30.0, "high": 50.0, "verdict": "resolved"}))
    first, own, last = made.rows
    assert made.reference == "40" and own.predicted_steps is None
    assert first.predicted_steps == pytest.approx(60 * (1 + 4) / 2) and first.steps_ratio == pytest.approx(1.0)
    assert last.predicted_steps == pytest.approx(60 * 1.25 / 2)
    assert (last.predicted_low, last.predicted_high) == pytest.approx((60 * 1.3125 / 2.25, 60 * 1.1875 / 1.75))
    assert last.predicted_seconds == pytest.approx(37.5 * (2e-5 + 160e-6))
    assert sentence(made).startswith("From size 40 the plan foretold the steps of 2 other sizes to within a factor of")
    assert foretold(target, plan_json(noise={"verdict": "unresolved"})) == target == foretold(target, None)
    assert sentence(target) == ""
    assert foretold(target, plan_json(size=7)).reference == "10"


def test_the_hyperbola_needs_three_sizes_and_a_bend():
    target = common_target([group(size) for size in SIZES])
    assert target is not None
    made = fit(target.rows)
    assert made is not None and 30 < made["low"] < made["critical"] < made["high"] < 60
    assert made["critical"] == pytest.approx(40, rel=0.05)
    assert fit(target.rows[:2]) is None

    def drawn(rows: int) -> set[str | None]:
        figure = draw_reached(type(target)(target.loss, target.rows[:rows]))
        return {artist.get_gid() for artist in figure.axes[0].get_children()} - {None}

    assert {"hyperbola", "band", "critical", "size 10"} <= drawn(3) and drawn(2) == {"size 10", "size 40"}
