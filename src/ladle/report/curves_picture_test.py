from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ladle.report import write_curves
from ladle.report.curves_picture import draw_curves
from ladle.report.fakes_test import write_compare, write_run
from ladle.report.load import load_folders


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
        assert len(axes.lines) == 6 and len(axes.collections) == 6
    styles = [line.get_linestyle() for line in panels(figure)[0].lines]
    assert styles == ["--", "-"] * 3
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["full (1,437)", "64", "1", "validation", "training", "range of 3 seeds"]
    assert panels(figure)[0].get_yscale() == "log" and panels(figure)[3].get_yscale() == "linear"
    assert [axes.get_xscale() for axes in panels(figure)[3:]] == ["linear", "log", "log"]


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


def test_one_seed_has_no_band_and_a_diverged_run_a_cross(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "a", size=64), write_run(tmp_path / "b", size=8, status="diverged")]
    (study,) = load_folders(folders)
    figure = draw_curves(study.groups)
    axes = panels(figure)[0]
    assert len(axes.collections) == 0
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert len(crosses) == 1 and crosses[0].get_ydata()[0] == 30.0
    assert "diverged" in [t.get_text() for t in figure.legends[0].get_texts()]


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
