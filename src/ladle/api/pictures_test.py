"""What notebooks show: text that is escaped, with a picture below."""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.core.shown import PICTURES, shown
from ladle.core.spec import BatchSpec
from ladle.report.data_picture import draw_data
from ladle.report.search_picture import draw_search


def picture(html: str) -> str:
    """The SVG in what a notebook is given; text comes first."""
    assert html.startswith("<pre>")
    (found,) = re.findall(r"src='data:image/svg\+xml;base64,([^']+)'", html)
    return base64.b64decode(found).decode()


@pytest.fixture(scope="module")
def run() -> Any:
    x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    data = ladle.data.arrays(x, np.where(x[:, 0] > 0, "<yes>", "no"))
    return ladle.fit(ladle.Task(ladle.models.linear(3, 2), None, data), 16, until="2 epochs")


def test_a_run_shows_its_curves(run: Any):
    assert "valid_loss 16" in picture(run._repr_html_())
    assert "finished: 2 epochs" in run._repr_html_()


def test_a_comparison_shows_a_curve_for_each_size_once(run: Any):
    runs = [run]
    rows = [{"name": "16"}, {"name": "planned"}]
    found = ladle.Comparison(rows, {"runs": []}, runs=[runs, runs])
    drawn = picture(shown(found, "table"))
    assert drawn.count('id="evaluations valid_loss') == drawn.count('id="evaluations valid_loss planned"') > 0


def test_data_show_their_classes_and_images(run: Any):
    html = run.assembly.task.data._repr_html_()
    assert picture(html) and "<yes>" not in html
    digits = ladle.data.load("digits")
    assert 'id="images"' in picture(digits._repr_html_()) or digits.input_shape == (64,)


def test_images_of_any_channels_and_amounts_are_drawn():
    for shape in ((5, 4, 4), (5, 4, 4, 3), (5, 4, 4, 2)):
        assert draw_data((), np.arange(9.0), images=np.ones(shape, np.float32)).axes
    assert len(draw_data([str(n) for n in range(40)], np.arange(40)).axes[0].patches) == 30


def test_a_search_draws_its_candidates_and_the_choice():
    row = {"size": 16, "lr": 0.01, "mean": 0.9, "se": 0.01}
    rows = [row, {**row, "lr": 0.1, "mean": 0.95}, {**row, "size": 32, "mean": None}]
    lines = {str(one.get_gid()) for one in draw_search({"candidates": rows, "chosen": 1, "metric": "a"}).axes[0].lines}
    assert lines == {"size 16", "chosen"}


def test_what_cannot_be_drawn_has_its_text(monkeypatch: pytest.MonkeyPatch):
    def broken(_: Any) -> bytes:
        raise RuntimeError

    monkeypatch.setitem(PICTURES, "BatchSpec", broken)
    assert shown(BatchSpec(4, 4), "<b>") == "<pre>&lt;b&gt;</pre>"
