"""The recipes on tables, images, a graph and a stream, cut short: the figure moves as it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cora
import elec2
import etth1
import pytest
import wine_mixture
from on_data import on_data

WINE = Path(__file__).with_name("wine.sh")


@on_data
@pytest.mark.slow
def test_etth1_forecasts_better_than_the_last_value(tmp_path, capsys):
    found = etth1.main(["--until", "1 epochs", "--out", str(tmp_path / "run")])
    assert found["test_mse"] < 0.4
    assert found["last_value_mse"] == pytest.approx(1.222, abs=1e-3)
    assert (tmp_path / "run" / "run.json").is_file()
    assert "of repeating the last value 1.2220" in capsys.readouterr().out


@on_data
@pytest.mark.long
@pytest.mark.slow
def test_cora_is_learnt_from_neighbours_of_a_few_papers(capsys):
    found = cora.main(["--until", "4 epochs"])
    papers, near, far = found["nodes"]
    assert found["test_accuracy"] > 0.65
    assert (papers, near) == (140, 565) and 2000 < far < 2500
    assert "140 -> 565 -> 2" in capsys.readouterr().out


@on_data
@pytest.mark.long
@pytest.mark.slow
def test_elec2_goes_on_from_the_middle_of_the_stream_to_the_same_figure(tmp_path):
    found = elec2.main(["--until", "120 updates", "--out", str(tmp_path / "run")])
    assert (found["stopped_at"], found["examples"]) == (60 * 64, 120 * 64)
    assert found["same_parameters"]
    assert found["accuracy"] == pytest.approx(found["resumed_accuracy"], abs=1e-9)
    assert found["accuracy"] > 0.75 and found["previous_label"] > found["majority"] > 0.5


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_wines_are_drawn_one_for_one(tmp_path):
    found = wine_mixture.main(["--until", "2 epochs", "--out", str(tmp_path)])
    assert all(0.5 < found[f"{kind}_{name}_rmse"] < 0.9 for kind in ("even", "natural") for name in wine_mixture.NAMES)
    assert found["even_red_train_loss"] < found["natural_red_train_loss"]
    assert {path.name for path in tmp_path.iterdir()} == {"even", "natural"}


@on_data
@pytest.mark.long
@pytest.mark.slow
def test_wine_is_read_by_the_command_line(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    settings = {**os.environ, "PATH": path, "OUT": str(tmp_path), "UNTIL": "3 epochs"}
    done = subprocess.run(["sh", str(WINE)], env=settings, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    amount, marks = re.findall(r"valid_absolute_error ([0-9.]+)|valid_accuracy ([0-9.]+)", done.stdout)
    assert float(amount[0]) < 0.7
    assert float(marks[1]) > 0.45


def test_missing_wine_is_one_clear_line(tmp_path):
    done = subprocess.run(["sh", str(WINE), str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "LADLE_DATA=FOLDER" in done.stderr
