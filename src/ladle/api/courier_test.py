"""Runs and their trackers, each in a process of its own: told as they go, killed in the middle, sent again later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api import courier as module
from ladle.api.courier import Courier, couriers
from ladle.api.sending import runs_in, send, trackers
from ladle.core.errors import ArgumentError
from ladle.core.record import read_json
from ladle.monitor.console import Quiet
from ladle.track import TensorBoard
from ladle.track.tensorboard_test import events

X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
TASK = (ladle.models.linear(3, 1), "mse", ladle.data.arrays(X, X @ np.ones(3), kind="regression"))
FACTS = {"status": "finished", "final": {"updates": 1}}

HANG = "import signal, sys\nsys.stdin.readline()\nsignal.pause()"
DIE = "import sys\nsys.stdin.readline()\nprint('OperationalError: database or disk is full')\nsys.exit(1)"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts Python code in the place of what sends."""
    begun, popen = [], subprocess.Popen

    def replace(text: str) -> None:
        def start(order: list[str], **how: Any) -> Any:
            begun.append(popen([sys.executable, "-c", text], **how))
            return begun[-1]

        monkeypatch.setattr(module.subprocess, "Popen", start)

    yield replace
    assert all(one.poll() is not None for one in begun), "no process is left behind"


def run(folder: Path | None, *sinks: Any, until: str = "3 epochs", **more: Any) -> ladle.Run:
    return ladle.fit(ladle.Task(*TASK, optimizer="sgd"), 20, until=until, out=folder, sinks=sinks, **more)


def values(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(one.step, value.simple_value) for one in events(folder) for value in one.summary.value if value.tag == tag]


@pytest.mark.slow  # draws pictures, four times
def test_a_run_is_told_as_it_goes_and_resumed_and_sent_again(tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("tensorboardX")
    done = run(tmp_path / "a", TensorBoard(str(tmp_path / "live")))
    lines = [(line["updates"], pytest.approx(line["valid_loss"])) for line in done.metrics]
    assert values(tmp_path / "live" / "a", "valid_loss") == lines
    drawn = {value.tag for one in events(tmp_path / "live" / "a") for value in one.summary.value if value.image.width}
    assert drawn == {"curves", "answers"} and not (tmp_path / "a" / "answers.png").exists()
    assert (tmp_path / "a" / "trackers" / "tensorboard").read_text().strip() == str(tmp_path / "live" / "a")

    longer = run(tmp_path / "a", TensorBoard(str(tmp_path / "live")), until="4 epochs", resume=True)
    assert values(tmp_path / "live" / "a", "valid_loss")[4:] == [(16, pytest.approx(longer.metrics[-1]["valid_loss"]))]
    # A tracker that hears of the run for the first time gets what was before as well.
    longest = run(tmp_path / "a", TensorBoard(str(tmp_path / "new")), until="5 epochs", resume=True)
    send(tmp_path / "a", TensorBoard(str(tmp_path / "again")))
    lines = [(line["updates"], pytest.approx(line["valid_loss"])) for line in longest.metrics]
    assert values(tmp_path / "again" / "a", "valid_loss") == lines
    assert capsys.readouterr().err == ""


def test_a_tracker_killed_in_the_middle_is_said_once_and_the_run_is_the_same(
    tmp_path: Path, child: Any, capsys: Any
) -> None:
    pytest.importorskip("tensorboardX")
    child("import os, signal, sys\nsys.stdin.readline()\nos.kill(os.getpid(), signal.SIGKILL)")
    sent, plain = run(tmp_path / "a", TensorBoard(str(tmp_path / "b")), until="40 epochs"), run(None, until="40 epochs")
    later = f"; {tmp_path / 'a'} has it all, for `ladle report` to send later\n"
    said = "tensorboard failed: its process was ended by signal 9; the run goes on without it"
    assert capsys.readouterr().err == said + later
    assert sent.status == "finished" and sent.final["valid_loss"] == plain.final["valid_loss"]
    assert read_json(tmp_path / "a" / "run.json")["status"] == "finished"


def told(said: list[str], lines: int = 3) -> Courier:
    pytest.importorskip("tensorboardX")
    one = Courier(TensorBoard("nowhere"), said.append)
    one.begin("a", {"status": "running"})
    for number in range(lines):
        one.append({"updates": number, "loss": np.float32(1.0)})
    return one


def test_a_library_that_raises_is_said_in_its_own_words(child: Any, said: list[str]) -> None:
    child(DIE)
    one = told(said)
    one.end(FACTS)
    one.finish()
    assert said == ["tensorboard failed: OperationalError: database or disk is full; the run goes on without it"]
    one.append({"updates": 9})  # Nothing happens any more.


def test_a_tracker_that_hangs_is_given_up(child: Any, said: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)
    child(HANG)
    one = told(said)
    one.end(FACTS)
    one.finish()
    assert said == ["tensorboard failed: no sign of life for 0 s; the run goes on without it"]


def test_a_tracker_that_is_too_slow_costs_lines_not_time(child: Any, said: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "BACKLOG_BYTES", 1000)
    child(
        "import sys, time\ntime.sleep(0.3)\nfor line in sys.stdin:\n    if 'end' in line:\n        break\nprint('done')"
    )
    one = told(said, 3000)
    assert len(one._waiting) < 2000, "no more is kept than that"
    one.end(FACTS)
    one.finish()
    assert said == [f"tensorboard was too slow: {one._left_out:,} lines were not sent"] and one._left_out > 0


def test_a_process_that_cannot_be_started_is_said(said: list[str], monkeypatch: Any) -> None:
    def none(*args: Any, **how: Any) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(module.subprocess, "Popen", none)
    one = told(said)
    one.end(FACTS)
    one.finish()
    assert said == ["tensorboard failed: no more processes; the run goes on without it"]


def test_a_run_that_is_heard_of_no_more_is_closed_as_killed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    order = json.dumps(["tensorboard", {"folder": str(tmp_path)}])
    note = json.dumps({"begin": "a", "facts": {"size": 8}, "folder": None, "until": -1}).encode() + b"\n"
    path = os.pathsep.join([str(Path(ladle.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "ladle.api.sending", order],
        input=note,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.endswith(b"done\n")
    ended = [
        value for one in events(tmp_path / "a") for value in one.summary.value if value.tag == "ended/text_summary"
    ]
    assert b"| status | killed |" in ended[0].tensor.string_val[0]


def test_names_of_trackers_are_looked_up_before_any_work(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("tensorboardX")
    monkeypatch.chdir(tmp_path)
    assert trackers(None, tmp_path) == [] == trackers(" , ", tmp_path)
    assert trackers("TensorBoard,", Path("runs")) == [TensorBoard(str(tmp_path / "runs" / "tensorboard"))]
    with pytest.raises(ArgumentError, match="^track must be a known tracker; got 'tensorbord'; .*try 'tensorboard' "):
        trackers("tensorbord", tmp_path)


def test_a_sink_of_ones_own_stays_as_it_is() -> None:
    class Mine:
        def append(self, line: Mapping[str, Any]) -> None: ...
        def message(self, text: str) -> None: ...
        def close(self) -> None: ...

    mine = Mine()
    assert couriers([mine], Quiet()) == [mine]


def test_the_runs_of_a_comparison_are_its_folders(tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text(
        json.dumps({"runs": [{"name": "8", "folders": ["8-0", "8-1"]}, {"name": "b"}]})
    )
    assert runs_in(tmp_path) == [tmp_path / "8-0", tmp_path / "8-1"]
