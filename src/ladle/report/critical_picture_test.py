from __future__ import annotations

import copy
from pathlib import Path

import pytest

from ladle.core.errors import RunError
from ladle.report.critical_picture import critical_figure, critical_svg, draw_critical
from ladle.report.facts import caption

STEPS = {
    "kind": "steps to target",
    "target": "valid_loss <= 0.4",
    "table": [
        {"size": 8, "steps": 56.0, "low": 55.0, "high": 58.0},
        {"size": 64, "steps": 26.0},
        {"size": 512, "steps": 21.0},
        {"size": 1024, "steps": None},
    ],
    "fit": {"min_steps": 20.0, "min_examples": 320.0, "log_sd": [0.05, 0.1], "log_cov": -0.002},
    "power_law": {"factor": 80.0, "exponent": -0.2},
    "weight": 0.98,
    "definitions": [{"name": "Bc", "value": 16.0, "low": 10.0, "high": None}],
}

BRANCHES = {
    "kind": "branches",
    "position": 4000,
    "trained": 2000,
    "margin": 0.01,
    "table": [
        {"size": 16, "difference": None, "low": None, "high": None, "verdict": "the run's own size"},
        {"size": 32, "difference": 0.002, "low": -0.001, "high": 0.005, "verdict": "no worse"},
        {"size": 64, "difference": 0.05, "low": -0.01, "high": 0.11, "verdict": "undecided"},
        {"size": 128, "difference": 0.4, "low": 0.3, "high": 0.5, "verdict": "worse than 16"},
        {"size": 256, "difference": None, "low": None, "high": None, "verdict": "diverged"},
    ],
    "definitions": [{"name": "B_paired", "value": 64.0, "low": 32.0, "high": 128.0}],
}


def drawn(found) -> set[str]:
    figure = draw_critical(found)
    return {artist.get_gid() for axes in figure.axes for artist in axes.get_children()} - {None}


def test_steps_are_drawn_with_the_hyperbola_its_band_and_the_critical_size():
    known = {"hyperbola", "band", "critical", "interval", "power law", "size 8", "size 64", "size 512"}
    assert known == drawn(STEPS)


def test_branches_are_drawn_with_the_margin_and_the_critical_size():
    assert {"margin", "critical", "diverged 256", "size 16", "size 32", "size 64", "size 128"} == drawn(BRANCHES)


def test_the_title_names_the_definition():
    [axes] = draw_critical(BRANCHES).axes
    assert axes.get_title(loc="left") == "B_paired: 64 (32 to 128) at 4,000 examples"
    assert [text.get_text() for text in axes.texts] == ["branches of 2,000 examples; bars: one-sided 95 % bounds"]
    untested = copy.deepcopy(BRANCHES)
    untested["definitions"] = [{"name": "B_eps = 0.01", "value": 32.0, "low": None, "high": None}]
    [axes] = draw_critical(untested).axes
    assert axes.get_title(loc="left").startswith("B_eps = 0.01: 32 at")


def test_a_fit_that_knows_little_is_still_drawn():
    found = copy.deepcopy(STEPS)
    found["fit"] |= {"min_steps": 0.0, "log_sd": [None, None], "log_cov": None}
    found["definitions"][0] |= {"value": None, "low": None}
    assert "hyperbola" in drawn(found) and "critical" not in drawn(found)
    found["fit"] |= {"min_steps": 20.0, "min_examples": 0.0}
    found["definitions"][0] |= {"value": 0.0, "low": 0.0}
    found["weight"] = None
    assert "hyperbola" in drawn(found) and "critical" not in drawn(found)


@pytest.mark.parametrize("found", [STEPS, BRANCHES], ids=["steps", "branches"])
def test_files(tmp_path: Path, found):
    assert critical_figure(found, tmp_path / "critical.png").stat().st_size > 10_000
    assert b"<svg" in critical_svg(found)
    with pytest.raises(RunError, match="picture must be writable"):
        critical_figure(found, tmp_path / "none" / "critical.png")


def test_a_band_that_would_fill_the_panel_is_drawn_as_its_edges():
    def bands(sd: float) -> list[str]:
        found = copy.deepcopy(STEPS)
        found["fit"] |= {"log_sd": [sd, sd], "log_cov": 0.0}
        artists = [one for axes in draw_critical(found).axes for one in axes.get_children() if one.get_gid() == "band"]
        return [type(one).__name__ for one in artists]

    assert bands(0.02) == ["Polygon"] * 2 and bands(1.0) == ["Line2D"] * 4


def test_the_data_are_named():
    facts = {"data": {"name": "digits"}, "optimizer": "adam"}
    for found in (STEPS, BRANCHES):
        assert draw_critical(found, caption(facts)).legends[0].get_title().get_text() == "digits; adam"
