from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ladle.core.errors import RunError
from ladle.report.rehearsal import draw_rehearsal, write_rehearsal


def run(name: str, size: int, steps: int) -> dict[str, Any]:
    places = [0, steps // 2, steps]
    return {
        "name": name,
        "steps": places,
        "examples": [size * place for place in places],
        "seconds": [0.01 * place for place in places],
        "loss": [1.0, 0.3, 0.05],
        "size": [size, size, 2 * size],
    }


def test_every_run_has_its_loss_and_its_size_in_every_unit():
    figure = draw_rehearsal([run("a", 8, 100), run("b", 64, 50)], target=0.05)
    assert len(figure.axes) == 6
    assert [axes.get_xlabel() for axes in figure.axes[3:]] == ["examples", "updates", "seconds (predicted)"]
    for axes in figure.axes[:3]:
        assert [line.get_gid() for line in axes.lines] == ["loss a", "loss b", "target"]
        assert axes.get_yscale() == "log"
    for axes in figure.axes[3:]:
        assert [line.get_gid() for line in axes.lines] == ["size a", "size b"]
    assert list(figure.axes[1].lines[1].get_xdata()) == [0, 25, 50]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "target 0.05"]
    assert "noisy quadratic" in figure.legends[0].get_title().get_text()


def test_lengths_far_apart_are_on_a_log_axis():
    scales = [axes.get_xscale() for axes in draw_rehearsal([run("a", 1, 10_000), run("b", 10_000, 100)]).axes[3:]]
    assert scales == ["log", "log", "log"]


def test_it_is_written(tmp_path: Path):
    assert write_rehearsal([run("a", 8, 100)], tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RunError, match="absent"):
        write_rehearsal([run("a", 8, 100)], tmp_path / "absent" / "r.png")
