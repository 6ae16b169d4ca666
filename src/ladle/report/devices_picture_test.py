from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ladle.core.errors import ArgumentError
from ladle.report.devices_picture import devices_figure, draw_devices


def entry(devices: int, seconds: float, source: str = "predicted") -> dict[str, Any]:
    parts = {"compute_seconds": 0.8 * seconds, "allreduce_seconds": 0.2 * seconds if devices > 1 else 0.0}
    return {
        "devices": devices, "size": 64 * devices, "seconds": seconds, **parts, "source": source,
        "time": (0.25 + 0.75 / devices) * seconds,
    }  # fmt: skip


PLAN = {
    "curves": {"devices": [entry(1, 1.0, "measured"), entry(2, 1.1, "measured"), entry(4, 1.2), entry(8, 1.3)]},
    "evidence": [{"name": "devices_knee", "value": 2.0}],
}


def drawn(plan: dict[str, Any]) -> set[str]:
    return {artist.get_gid() for axes in draw_devices(plan).axes for artist in axes.get_children()} - {None}


def test_each_panel_has_its_points_measured_and_predicted():
    lines = {f"{what} {kind}" for what in ("time", "update", "cost") for kind in ("line", "measured", "predicted")}
    assert drawn(PLAN) == lines | {"ideal time", "ideal cost", "allreduce", "knee"}
    assert drawn({**PLAN, "evidence": []}) == lines | {"ideal time", "ideal cost", "allreduce"}


def test_points_are_where_the_entries_are():
    (time, seconds, cost) = draw_devices(PLAN).axes
    points = {line.get_gid(): line.get_xydata().tolist() for axes in (time, seconds, cost) for line in axes.lines}
    assert points["update measured"] == [[1, 1.0], [2, 1.1]] and points["update predicted"] == [[4, 1.2], [8, 1.3]]
    costs = [1.0, 2 * 0.625 * 1.1, 4 * 0.4375 * 1.2, 8 * 0.34375 * 1.3]
    assert points["cost line"] == [[n, pytest.approx(cost)] for n, cost in zip((1, 2, 4, 8), costs, strict=True)]
    assert points["knee"] == [[2, pytest.approx(2 * 0.625 * 1.1)]], "of the last panel"
    assert points["ideal time"] == [[1, 1], [2, 0.5], [4, 0.25], [8, 0.125]]


def test_one_number_of_devices_and_many_are_drawn():
    assert drawn({"curves": {"devices": [entry(1, 1.0)]}})
    many = {"curves": {"devices": [entry(n, 1.0) for n in range(1, 40)]}}
    (time, *_) = draw_devices(many, "digits").axes
    assert len(time.get_xticks()) == 3


def test_the_picture_is_written(tmp_path: Path):
    assert devices_figure(PLAN, tmp_path / "devices.png", "digits").read_bytes().startswith(b"\x89PNG")


def test_a_plan_that_was_not_asked_is_refused():
    with pytest.raises(ArgumentError, match="plan must say what devices bring"):
        draw_devices({"curves": {}})
