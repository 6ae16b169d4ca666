"""The command line of `ladle critical`: one clear line for each mistake. Measuring: branching_test, reaching_test."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ladle.cli.main import run


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("critical nosuch", "DATA must be a run folder; got 'nosuch'"),
        ("critical digits", "DATA must be a run folder"),
        ("critical empty", "run.json is missing"),
        ("critical empty --base 8", "--base must be left out here"),
        ("critical digits --steps-to valid_loss=0.4 --margin 0.1", "--margin must be left out here"),
        ("critical digits --steps-to valid_loss=0.4 --base 0", "base must be positive"),
        ("critical digits --steps-to valid_loss=0.4 --seeds -1", "seeds must be a whole number from 1 on"),
        (
            "critical digits --steps-to valid_loss=0.4 --sizes '8 16'",
            "sizes must hold three or more sizes; got [8, 16]",
        ),
        ("critical empty --factors 1,two", "factors must be whole numbers, joined by commas"),
        ("critical empty --model linear", "--model must be left out here"),
        ("critical empty --sizes 8,16", "--sizes must be left out here"),
        ("critical digits --steps-to valid_loss=0.4 --factors 1,2", "--factors must be left out here"),
        ("critical digits --steps-to valid_los=0.4", "try 'valid_loss'"),
        ("critical digits --steps-to 0.4", "the target must be METRIC=VALUE"),
        (
            "critical digits --steps-to valid_loss=0.4 --sizes 8,x,16",
            "sizes must be whole numbers or full, joined by commas",
        ),
        ("critical digits --steps-to valid_loss=0.4 --lr 0", "lr must be a positive number"),
        ("critical --rule cubic empty", "--rule must be a known choice"),
    ],
)
def test_mistakes_are_one_line(line: str, expected: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert run(shlex.split(line)) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and expected in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
