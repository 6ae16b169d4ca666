from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ladle.core.record import METRICS_FILE
from ladle.report import write_curves
from ladle.report.curves import BARS
from ladle.report.curves_picture import draw_curves
from ladle.report.facts import caption, study_facts
from ladle.report.fakes_test import write_compare, write_lines, write_run
from ladle.report.load import load_folders
from ladle.report.study import Group, RunRecord


def by_id(axes: Axes, gid: str) -> list[Any]:
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def panels(figure: Figure) -> list[Axes]:
    return figure.axes


def test_three_axes_and_two_lines_a_size(compared: Path) -> None:
    (study,) = load_folders([compared])
    figure = draw_curves(study.groups)
    assert len(panels(figure)) == 6
    assert [axes.get_xlabel() for axes in panels(figure)[3:]] == ["examples seen", "updates", "seconds of training"]
    assert panels(figure)[0].get_ylabel() == "loss" and panels(figure)[3].get_ylabel() == "accuracy"
    for axes in panels(figure):
        assert len(axes.lines) == 9 and len(axes.collections) == 3
    styles = [line.get_linestyle() for line in panels(figure)[0].lines]
    assert styles == ["--", "-", "None"] * 3
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels[:3] == ["full (1,437)", "64", "1"]
    assert labels[3:] == ["validation, evaluated", "training, means of windows", "lowest to highest of 3 seeds"]
    assert panels(figure)[0].get_yscale() == "log" and panels(figure)[3].get_yscale() == "linear"
    assert [axes.get_xscale() for axes in panels(figure)[3:]] == ["linear", "log", "log"]


def test_joules_are_a_row_of_their_own_where_they_were_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", size=64)
    lines = [json.loads(text) for text in (folder / METRICS_FILE).read_text().splitlines()]
    write_lines(folder / METRICS_FILE, [{**line, "joules": 3.0 * k} for k, line in enumerate(lines, 1)])
    *_, energy, _, _ = panels(draw_curves(load_folders([folder])[0].groups))
    (line,) = energy.lines
    assert energy.get_ylabel() == "energy, joules" and line.get_marker() == "None"
    assert list(line.get_xdata()) == [one["examples"] for one in lines]
    assert list(line.get_ydata()) == [3.0 * k for k in range(1, 41)]


def test_a_point_stands_at_every_evaluation_and_nowhere_else(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", size=64)
    lines = [json.loads(text) for text in (folder / METRICS_FILE).read_text().splitlines()]
    evaluated = {10, 25, 39}
    for k, line in enumerate(lines):
        if k not in evaluated:
            del line["valid_loss"], line["valid_accuracy"]
    write_lines(folder / METRICS_FILE, lines)
    (study,) = load_folders([folder])
    loss, _, _, accuracy, *_ = panels(draw_curves(study.groups))
    for axes, name in ((loss, "valid_loss a"), (accuracy, "valid_accuracy a")):
        (points,), (guide,) = by_id(axes, f"evaluations {name}"), by_id(axes, name)
        assert list(points.get_xdata()) == [lines[k]["examples"] for k in sorted(evaluated)]
        assert points.get_marker() == "o" and guide.get_linewidth() < 1.5 and guide.get_alpha() < 1


def test_where_only_one_seed_was_evaluated_no_point_stands() -> None:
    def run(*places: int) -> RunRecord:
        lines = [{"examples": x, "updates": x, "seconds": float(x), "size": 1, "valid_loss": 1.0 / x} for x in places]
        return RunRecord(Path("a"), {}, tuple(lines))

    axes = panels(draw_curves([Group("a", 1, (run(1, 2, 4), run(1, 3, 4)))]))[0]
    (points,), (guide,) = by_id(axes, "evaluations valid_loss a"), by_id(axes, "valid_loss a")
    assert list(points.get_xdata()) == [1, 4] and list(guide.get_xdata()) == [1, 2, 3, 4]


def test_a_single_evaluation_is_seen(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", size=64)
    last = json.loads((folder / METRICS_FILE).read_text().splitlines()[-1])
    write_lines(folder / METRICS_FILE, [last])
    (study,) = load_folders([folder])
    axes = panels(draw_curves(study.groups))[0]
    (points,), (training,) = by_id(axes, "evaluations valid_loss a"), by_id(axes, "train_loss a")
    assert list(points.get_ydata()) == [last["valid_loss"]] and training.get_marker() == "_"


def test_the_caption_names_data_model_optimiser_and_budget(compared: Path) -> None:
    (study,) = load_folders([compared])
    title = draw_curves(study.groups, caption(study_facts(study))).legends[0].get_title().get_text()
    assert title == "digits, classification, 1,437 rows to train; mlp 64-128-10; adam; 30 epochs"
    assert write_curves(compared).name == "curves.png"


def test_the_band_is_the_range_of_the_seeds(compared: Path) -> None:
    (study,) = load_folders([compared])
    axes = panels(draw_curves(study.groups))[0]
    (band,) = by_id(axes, "band valid_loss 64")
    (line,) = by_id(axes, "valid_loss 64")
    finals = [run.column("valid_loss")[1][-1] for run in study.groups[1].runs]
    corners = band.get_paths()[0].vertices
    at_end = corners[corners[:, 0] == corners[:, 0].max(), 1]
    assert at_end.min() == pytest.approx(min(finals)) and at_end.max() == pytest.approx(max(finals))
    assert line.get_ydata()[-1] == pytest.approx(np.mean(finals))


def test_one_seed_has_no_band_and_a_diverged_run_a_cross_inside_the_panel(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "a", size=64), write_run(tmp_path / "b", size=8, status="diverged")]
    (study,) = load_folders(folders)
    figure = draw_curves(study.groups)
    axes = panels(figure)[0]
    assert len(axes.collections) == 0
    (cross,) = by_id(axes, "cross at the edge")
    low, high = axes.get_ylim()
    assert cross.get_marker() == "x" and low < cross.get_ydata()[0] < high < 30.0  # the loss that it stands for
    assert high < 3.0  # the sound run decides how high the axis is
    assert "diverged (at the edge: beyond it)" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_seeds_far_apart_are_bars_and_the_axis_is_that_of_the_means(tmp_path: Path) -> None:
    folder = write_compare(tmp_path / "c", seeds=2)
    for path in folder.glob("*-seed1/metrics.jsonl"):
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        write_lines(path, [{**line, "valid_accuracy": 0.2 * line["valid_accuracy"]} for line in lines])
    (study,) = load_folders([folder])
    loss, *_, accuracy = panels(draw_curves(study.groups))
    assert {type(one).__name__ for one in loss.collections} == {"FillBetweenPolyCollection"}
    assert {type(one).__name__ for one in accuracy.collections} == {"LineCollection"}
    assert all(len(one.get_segments()) <= BARS for one in accuracy.collections)


def test_a_run_without_lines_still_gives_a_picture(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", size=64)
    (folder / "metrics.jsonl").unlink()
    path = write_curves(folder)
    assert path == folder / "curves.png" and path.read_bytes().startswith(b"\x89PNG")
    (study,) = load_folders([folder])
    assert [t.get_text() for t in panels(draw_curves(study.groups))[0].texts] == ["nothing measured"]


def test_many_sizes_reuse_colours(tmp_path: Path) -> None:
    folder = write_compare(tmp_path / "c", seeds=1, sizes={str(2**k): 2**k for k in range(11)})
    assert write_curves(folder).stat().st_size > 10_000
