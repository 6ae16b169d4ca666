"""A mistyped run folder leads to the one that is meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ladle.cli.main import run
from ladle.core.record import RUN_FILE, write_json


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/train-digits-1", "runs/compare-wine-1"):
        Path(name).mkdir(parents=True)
        write_json(Path(name) / RUN_FILE, {})
    Path("runs/train-notes").mkdir()


@pytest.mark.parametrize(
    "command", ["report runs/train-digit-1", "critical runs/train-digit-1", "train --resume runs/train-digit-1"]
)
def test_the_nearest_run_is_offered(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(shlex.split(command)) == 2
    assert "try 'runs/train-digits-1' (there: compare-wine-1, train-digits-1)" in capsys.readouterr().err


def test_where_there_is_none_it_is_said_what_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "nowhere/at/all"]) == 2
    assert "try a folder that a run printed" in capsys.readouterr().err
