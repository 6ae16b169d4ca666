"""Laws of layout, held against every picture in the situations that break pictures."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from ladle.core.record import METRICS_FILE
from ladle.report.critical_picture import draw_critical
from ladle.report.critical_picture_test import BRANCHES, STEPS
from ladle.report.curves_picture import draw_curves
from ladle.report.fakes_test import plan_json, write_compare, write_lines, write_run
from ladle.report.load import load_folders
from ladle.report.plan_picture import draw_plan
from ladle.report.rehearsal import draw_rehearsal
from ladle.report.rehearsal_test import run as dry_run

CAPTION = "a data set of a rather long name, regression, 1,234,567 rows to train; a model; an optimiser; 30 epochs each"


def drawn(figure: Figure) -> Any:
    """The renderer, with everything in its place."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def labels_outside(figure: Figure, renderer: Any = None) -> list[str]:
    """Words that run out of the figure, and words at a point of a panel that run out of that panel."""
    renderer, sheet = renderer or drawn(figure), figure.bbox
    found = []
    for axes in figure.axes:
        within = axes.get_window_extent(renderer)
        for text in (*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label):
            box = text.get_window_extent(renderer)
            limit = within if isinstance(text, Annotation) else sheet
            if text.get_text() and not contains(limit, box):
                found.append(text.get_text())
    legends = [one.get_window_extent(renderer) for one in figure.legends]
    return found + ["legend" for box in legends if not contains(sheet, box)]


def contains(outer: Any, inner: Any) -> bool:
    """A pixel does not count."""
    return (
        inner.x0 >= outer.x0 - 1 and inner.x1 <= outer.x1 + 1 and inner.y0 >= outer.y0 - 1 and inner.y1 <= outer.y1 + 1
    )


def covered(axes: Axes) -> float:
    """The part of a panel that filled shapes cover, each counted by itself."""
    return sum(map(area, shapes(axes)))


def shapes(axes: Axes) -> Iterator[np.ndarray]:
    """Outlines of all that is filled, in parts of the panel."""
    for one in axes.collections:
        if one.get_facecolor().size and not hasattr(one, "get_segments"):
            for path in one.get_paths():
                yield axes.transAxes.inverted().transform(one.get_transform().transform(path.vertices))
    for patch in axes.patches:
        vertices = patch.get_path().vertices
        yield axes.transAxes.inverted().transform(patch.get_transform().transform(vertices))


def area(outline: np.ndarray) -> float:
    x, y = np.clip(outline, 0, 1).T
    return float(abs(x @ np.roll(y, -1) - np.roll(x, -1) @ y) / 2)


def crowded_ticks(axes: Axes, renderer: Any) -> list[str]:
    """Labels of the horizontal axis that touch the next one."""
    within = axes.get_window_extent(renderer)
    labels = [one for one in axes.get_xticklabels() if one.get_text() and one.get_visible()]
    extents = [(one.get_window_extent(renderer), one.get_text()) for one in labels]
    seen = sorted((box.x0, box.x1, text) for box, text in extents if within.x0 <= (box.x0 + box.x1) / 2 <= within.x1)
    return [one[2] for one, following in pairwise(seen) if one[1] >= following[0]]


def many_sizes(folder: Path) -> Figure:
    return curves(write_compare(folder, seeds=2, sizes={str(4**k): 4**k for k in range(8)}))


def wide_seeds(folder: Path) -> Figure:
    write_compare(folder, seeds=2)
    for path in folder.glob(f"*-seed1/{METRICS_FILE}"):
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        worse = {"valid_loss": 30.0, "train_loss": 30.0, "valid_accuracy": 0.1}
        write_lines(path, [{**line, **{name: line[name] * by for name, by in worse.items()}} for line in lines])
    return curves(folder)


def one_diverged(folder: Path) -> Figure:
    folders = [write_run(folder / "a", size=64), write_run(folder / "b", size=8, status="diverged")]
    return draw_curves(load_folders(folders)[0].groups, CAPTION)


def all_diverged(folder: Path) -> Figure:
    return curves(write_run(folder / "a", size=64, status="diverged"))


def one_evaluation(folder: Path) -> Figure:
    write_run(folder / "a", size=64)
    path = folder / "a" / METRICS_FILE
    path.write_text(path.read_text().splitlines()[-1] + "\n")
    return curves(folder / "a")


def many_decisions(folder: Path) -> Figure:
    write_run(folder / "a", size=64)
    path = folder / "a" / METRICS_FILE
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    for k, line in enumerate(lines):
        line["size"] = 64 if k < 1 else 128 if k < 2 else 256 if k < 38 else 512
    write_lines(path, lines)
    return curves(folder / "a")


def noise(*readings: dict[str, Any]) -> Callable[[Path], Figure]:
    def draw(folder: Path) -> Figure:
        write_run(folder / "a", size=64)
        path = folder / "a" / METRICS_FILE
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        write_lines(path, [line | readings[k % len(readings)] for k, line in enumerate(lines)])
        return curves(folder / "a")

    return draw


def curves(folder: Path) -> Figure:
    return draw_curves(load_folders([folder])[0].groups, CAPTION)


def plan(**more: Any) -> Callable[[Path], Figure]:
    return lambda _: draw_plan(plan_json(**more), CAPTION)


def critical(found: dict[str, Any], **fit: Any) -> Callable[[Path], Figure]:
    made = copy.deepcopy(found)
    if fit:
        made["fit"] |= fit
    return lambda _: draw_critical(made, CAPTION)


def rehearsal(*names: str) -> Callable[[Path], Figure]:
    return lambda _: draw_rehearsal([dry_run(name, 8 * 4**k, 100) for k, name in enumerate(names)], 0.05, CAPTION)


LIMITED = plan_json()["evidence"]
LIMITED = [{**one, "value": 3.4e6} if one["name"] == "memory_limit_bytes" else one for one in LIMITED]

PICTURES: dict[str, Callable[[Path], Figure]] = {
    "eight sizes": many_sizes,
    "seeds far apart": wide_seeds,
    "one diverged": one_diverged,
    "all diverged": all_diverged,
    "one evaluation": one_evaluation,
    "decisions": many_decisions,
    "noise scale from below": noise({"noise_scale": None, "noise_scale_low": 40.0, "noise_scale_high": None}),
    "noise scale hardly known": noise({"noise_scale": 60.0, "noise_scale_low": 1.0, "noise_scale_high": 9e3}),
    "plan": plan(),
    "plan at size 1": plan(size=1, micro_size=1),
    "plan at full batch": plan(size=1024, micro_size=1024, within_5_percent=[1, 1024]),
    "plan at the memory limit": plan(evidence=LIMITED),
    "plan of one size": plan(
        size=1, micro_size=1, within_5_percent=[1, 1],
        curves={"memory": [[1, 3e6]], "throughput": [[1, 1e-3, 1e-3, 2e-3]], "target": [[1, 1.0]]},
    ),
    "plan of nothing": plan(curves={}),
    "steps": critical(STEPS),
    "steps, fit unknown": critical(STEPS, log_sd=[2.0, 2.0], log_cov=0.0),
    "branches": critical(BRANCHES),
    "rehearsal": rehearsal("a", "b"),
    "rehearsal of long names": rehearsal(*(f"a policy that is said in a great many words, {k}" for k in range(5))),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_keeps_the_laws(name: str, tmp_path: Path) -> None:
    figure = PICTURES[name](tmp_path / "runs")
    renderer = drawn(figure)
    assert labels_outside(figure, renderer) == []
    (legend,) = figure.legends
    assert str(legend.get_title().get_text()).startswith("a data set") and len(legend.get_texts()) >= 1
    for axes in figure.axes:
        assert not legend.get_window_extent(renderer).overlaps(axes.get_window_extent(renderer))
        assert axes.get_legend() is None
        assert covered(axes) <= 0.4
        assert crowded_ticks(axes, renderer) == []


def test_the_laws_see_what_they_are_for() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.annotate("words that run out", (0.99, 0.5))
    axes.axvspan(0.2, 0.8)
    axes.fill_between([0.0, 1.0], [0.0, 0.0], [0.5, 0.5])
    axes.set_xticks([0.5, 0.51], ["one label", "another"])
    assert labels_outside(figure) == ["words that run out"] and crowded_ticks(axes, drawn(figure)) == ["one label"]
    assert covered(axes) == pytest.approx(0.6 + 0.5)
