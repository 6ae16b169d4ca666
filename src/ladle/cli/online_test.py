"""`ladle online` from the command line: lines, JSON, standard input, going on, and refusals of one line."""

from __future__ import annotations

import io
import json
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest

from ladle.cli.main import run
from ladle.core.record import read_json, read_lines

ROWS = 400
X = np.random.default_rng(0).normal(size=(ROWS, 2)).round(4)
TEXT = "a,b,y\n" + "".join(f"{a},{b},{'up' if a > 0 else 'down'}\n" for a, b in X)
BASE = "--target y --model linear --lr 0.02 --batch 16 --head 100"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "events.csv").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(words: str) -> int:
    return run(["online", *shlex.split(words)])


def test_lines_of_prequential_accuracy_and_the_outcome(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert asked(f"events.csv {BASE} --every 100") == 0
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["112", "208", "304", "400"]
    assert all("prequential accuracy" in line and "events/s" in line for line in lines)
    assert out.splitlines()[0] == "finished: the stream ended after 400 examples"
    assert out.splitlines()[-1] == "folder runs/online-events-1"
    assert read_json(folder / "runs/online-events-1/run.json")["online"]["recent"] == 1000


def test_standard_input_is_the_same_stream(folder: Path, capsys, monkeypatch):
    assert asked(f"events.csv {BASE} --json --out file") == 0
    of_file = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("sys.stdin", io.StringIO(TEXT))
    assert asked(f"- {BASE} --json --out pipe") == 0
    out, err = capsys.readouterr()
    assert err == "" and json.loads(out)["prequential"] == of_file["prequential"]
    assert set(of_file) == {"folder", "status", "examples", "updates", "seconds", "prequential", "decisions", "labels"}


def test_the_same_command_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]):
    command = f"events.csv {BASE} --quiet --out run --resume"
    assert asked(f"{command} --until '160 examples'") == 0
    assert asked(command) == 0 and asked(command) == 0
    positions = [line["examples"] for line in read_lines(folder / "run" / "metrics.jsonl")]
    assert positions == list(range(0, ROWS + 1, 16))
    assert capsys.readouterr().err == ""


def test_a_run_that_waits_ends_when_it_is_asked_to(folder: Path, capsys: pytest.CaptureFixture[str]):
    previous = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)  # Until it is heard: while it compiles nobody listens.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert asked(f"events.csv {BASE} --quiet --idle inf --age 0 --out run") == 143
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.signal(signal.SIGTERM, before)
    out, err = capsys.readouterr()
    assert out.startswith("interrupted: SIGTERM at ") and "--out run and --resume" in err
    assert read_json(folder / "run" / "run.json")["status"] == "interrupted"
    assert asked(f"events.csv {BASE} --quiet --out run --resume") == 0
    assert read_lines(folder / "run" / "metrics.jsonl")[-1]["examples"] == ROWS


REFUSED = {
    "nowhere.csv --target y": "source must be there",
    "events.csv": "--target must be given",
    "events.csv --target z": "target must name a column",
    "events.csv --target y --batch 0": "try --batch 1",
    "events.csv --target y --every 0": "--every must be at least 1",
    "events.csv --target y --age -1": "age must be at least 0",
    "events.csv --target y --drift ddm": "drift must be a known choice",
    "events.csv --target y --drift adwin --on-drift shirk": "on-drift must be known actions",
    "events.csv --target y --resume": "--out must be given with --resume",
    "events.csv --target y --lr 0": "try --lr auto",
    "events.csv --target y --id b": "labels must",
    "events.csv --target y --until 'valid_loss <= 1'": "valid",
    "events.csv --target y --classes up": "classes must name all classes",
    "events.csv --target y --optimizer atom": "optimizer must",
    "empty.csv --target y": "source must have an event",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_the_user_can_mend_is_one_line(words: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    if "adwin" in words:
        pytest.importorskip("river")
    (folder / "empty.csv").write_text("a,y\n")
    if "--id" in words:
        (folder / "events.csv").write_text("a,b,y\n1,1,\n2,2,\n")
    assert asked(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and REFUSED[words] in err
    assert not (folder / "runs").exists()
