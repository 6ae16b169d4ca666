from __future__ import annotations

import json

import pytest

from ladle.cli.main import run

ASKED = ["laws", "--parameters", "5e8", "--tokens", "1e10"]


def test_a_table_with_every_law(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ASKED, "--loss", "3"]) == 0
    out = capsys.readouterr().out
    for text in ("Step Law", "0.297M", "1.08M", "a factor of 56", "arXiv 2401.02954"):
        assert text in out


def test_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ASKED, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [law["size_tokens"] for law in found["laws"] if law["name"] in ("Kaplan", "Power Lines")] == [None, None]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["laws", "--parameters", "0", "--tokens", "1e10"], "parameters must be a positive number"),
        (["laws", "--parameters", "5e8", "--tokens", "nan"], "tokens must be a positive number"),
        (["laws", "--parameters", "5e8"], "--tokens must be given"),
        (["laws", "--parameters", "5e8", "--tokens", "1e10", "--loss", "1e-100"], "loss must be a positive number"),
        (["plan", "digits", "--lr", "0"], "lr must be a positive number"),
        (["plan", "digits", "--rule", "adamw timescale"], "weight_decay must be above 0"),
    ],
)
def test_mistakes_are_one_line(words, said, capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.strip().splitlines()) == 1
