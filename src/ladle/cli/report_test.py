"""`ladle report --to`, and `ladle train --track`: refused before any work, or said in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ladle.cli.main import run
from ladle.core.record import read_json
from ladle.track import library

TRAIN = "train digits --model linear --size 256 --lr 0.1 --until 1epochs --quiet --out"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow  # draws pictures, twice
def test_runs_are_tracked_as_they_go_or_sent_later(capsys: Any) -> None:
    pytest.importorskip("tensorboardX")
    assert run([*TRAIN.split(), "a", "--track", "tensorboard"]) == 0
    assert read_json(Path("a/run.json"))["request"]["track"] == "tensorboard"
    assert run([*TRAIN.split(), "b"]) == 0
    capsys.readouterr()
    assert run(["report", "b", "--to", "tensorboard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sent": ["b"], "to": ["tensorboard"]}
    assert all(list(Path("tensorboard", name).iterdir()) for name in ("a", "b"))
    # A file stands where the folder of event files is to be.
    Path("c").mkdir()
    (Path("c") / "tensorboard").write_text("")
    Path("b").rename("c/b")
    assert run(["report", "c/b", "--to", "tensorboard"]) == 1
    assert "ladle: tensorboard must take the run; got 'c/b'; because tensorboard failed: " in capsys.readouterr().err


@pytest.mark.parametrize("command", [f"{TRAIN} a --track", "report a --to"])
def test_a_missing_library_is_refused_in_one_line(command: str, capsys: Any, monkeypatch: Any, folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "run.json").write_text("{}") if command.startswith("report") else None
    monkeypatch.setattr(library, "find_spec", lambda module: None)
    assert run([*command.split(), "wandb"]) == 2
    assert capsys.readouterr().err.strip().endswith("try pip install wandb")
    assert run([*command.split(), "mlfow"]) == 2
    assert "try 'mlflow' (known: mlflow, tensorboard, trackio, wandb)" in capsys.readouterr().err
    assert not (folder / "a" / "metrics.jsonl").exists()


def test_a_page_and_a_tracker_are_not_asked_for_at_once(folder: Path, capsys: Any) -> None:
    (folder / "run.json").write_text("{}")
    assert run(["report", ".", "--to", "mlflow", "-o", "page.html"]) == 2
    assert "be left out with --to" in capsys.readouterr().err
