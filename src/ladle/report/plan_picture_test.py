from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ladle.core.errors import RunError
from ladle.core.record import write_json
from ladle.report import write_plan_figure
from ladle.report.facts import caption, facts_beside
from ladle.report.fakes_test import compare_json, plan_json
from ladle.report.layout_test import labels_outside
from ladle.report.plan_picture import draw_plan, plan_svg


def by_id(axes: Axes, gid: str) -> list[Any]:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def panels(figure: Figure) -> list[Axes]:
    return figure.axes


def test_plan_marks_choice_limit_and_flat_region() -> None:
    memory, speed, target = panels(draw_plan(plan_json()))
    (limit,) = by_id(memory, "memory limit")
    assert set(limit.get_ydata()) == {8e6}
    (predicted,), (measured,) = by_id(memory, "memory predicted"), by_id(memory, "memory measured")
    assert predicted.get_markerfacecolor() == "white" and measured.get_markerfacecolor() != "white"
    assert (list(measured.get_xdata()), list(measured.get_ydata())) == ([64], [3.4e6])
    (region,) = by_id(target, "within 5 %")
    assert (region.get_x(), region.get_x() + region.get_width()) == (24, 130)
    for axes in (memory, speed, target):
        (chosen,) = by_id(axes, "chosen")
        assert list(chosen.get_xdata()) == [64]
    (fitted,) = by_id(speed, "throughput line")
    (line,) = by_id(memory, "memory line")
    np.testing.assert_allclose(line.get_ydata(), 3e6 + 4000 * np.asarray(line.get_xdata()))
    sizes, speeds = fitted.get_xdata(), fitted.get_ydata()
    np.testing.assert_allclose(speeds, sizes / (2e-5 + 1e-6 * sizes), rtol=1e-6)


def test_a_flat_region_over_all_sizes_does_not_fill_the_panel() -> None:
    target = panels(draw_plan(plan_json(within_5_percent=[1, 1024])))[2]
    (region,) = by_id(target, "within 5 %")
    assert region.get_height() <= 0.05


@pytest.mark.parametrize("size", [1, 1024])
def test_a_choice_at_the_border_is_whole_and_its_words_are_inside(size: int) -> None:
    figure = draw_plan(plan_json(size=size, micro_size=size))
    assert labels_outside(figure) == []
    for axes in panels(figure):
        (chosen,) = by_id(axes, "chosen")
        low, high = axes.get_xlim()
        share = np.log(size / low) / np.log(high / low)
        assert 0.04 < share < 0.96 and chosen.get_markerfacecolor() == "none"
    (words,) = (text for text in panels(figure)[2].texts if text.get_text() == f"size {size:,}")
    assert words.get_ha() == ("left" if size == 1 else "right")


def test_the_data_are_named_from_what_lies_beside_the_picture(tmp_path: Path) -> None:
    seen: list[str] = []
    write_json(
        tmp_path / "plan.json", {**plan_json(), "task": {"data": "a/wine.csv", "model": "mlp", "optimizer": "sgd"}}
    )
    for folder in (tmp_path, tmp_path / "none"):
        seen.append(caption(facts_beside(folder / "plan.png")))
    write_json(tmp_path / "compare.json", compare_json([]))
    seen.append(caption(facts_beside(tmp_path / "plan.png")))
    assert seen == [
        "wine.csv; mlp; sgd",
        "",
        "digits, classification, 1,437 rows to train; mlp 64-128-10; adam; 30 epochs",
    ]
    assert draw_plan(plan_json(), seen[0]).legends[0].get_title().get_text() == "wine.csv; mlp; sgd"


@pytest.mark.parametrize(
    "more",
    [
        {"curves": {}},
        {"curves": {"memory": [[1, None]], "throughput": [[8, 0.001]], "target": []}},
        {"evidence": [], "within_5_percent": [None, None], "lr": None, "size": None, "micro_size": None},
        {
            "curves": {
                "throughput": [[1, 1e-3, None, None], [2, 1e-3, 0.0, 2e-3], [64, 2e-3, 1e-3, 3e-3]],
                "target": [[8, 1.0]],
                "memory": [[8, 1e6]],
            }
        },
        {"noise": {"verdict": "unresolved"}, "curves": {"target": None}},
    ],
)
def test_missing_parts_leave_a_picture_that_says_so(tmp_path: Path, more: dict[str, Any]) -> None:
    path = write_plan_figure(plan_json(**more), tmp_path / "plan.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    said = [text.get_text() for axes in panels(draw_plan(plan_json(**more))) for text in axes.texts]
    if not more.get("curves", {"target": 1}).get("target"):
        assert any(text.startswith("no prediction: gradient noise") for text in said)


def test_the_plan_as_svg_refers_to_nothing_remote() -> None:
    made = plan_svg(plan_json())
    assert b"<svg" in made and b'href="http' not in made


def test_global_settings_and_pyplot_are_left_alone(compared: Path, tmp_path: Path) -> None:
    before, backend, loaded = dict(mpl.rcParams), mpl.get_backend(auto_select=False), "matplotlib.pyplot" in sys.modules
    write_plan_figure(plan_json(), tmp_path / "plan.png")
    assert dict(mpl.rcParams) == before and mpl.get_backend(auto_select=False) == backend
    assert ("matplotlib.pyplot" in sys.modules) is loaded


def test_an_unwritable_picture_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="absent"):
        write_plan_figure(plan_json(), tmp_path / "absent" / "plan.png")
