"""`ladle serve` as a process: what it says, how it stops, and that a killed one never gives an empty answer."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ladle
from ladle.cli.main import run
from ladle.serve import door, forecast

SOURCE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = ladle.Task(ladle.models.linear(64, 10), None, ladle.data.load("digits"))
    return ladle.fit(task, size=64, until="1 epochs").save(tmp_path_factory.mktemp("serve") / "m")


@contextmanager
def served(model: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process of its own, open, and its port."""
    words = f"serve {model} --port {port} --p99-ms 60000 --batch 8 --fast --json"
    child = subprocess.Popen(
        [sys.executable, "-m", "ladle.cli.main", *shlex.split(words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert child.stdout is not None
    try:
        yield child, int(json.loads(child.stdout.readline())["address"].rpartition(":")[2])
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def asked(port: int, number: int) -> str | None:
    """The id in the answer to request `number`; None where the connection broke. Anything else is a fault."""
    one = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [number / 1000] * 64}
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = json.dumps({"id": str(number), "inputs": [one]})
        line.request("POST", "/v2/models/m/infer", body, {"content-type": "application/json"})
        response = line.getresponse()
        told = json.loads(response.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        line.close()
    assert response.status == 200 and told["outputs"][0]["shape"] == [1]
    return told["id"]


def test_a_killed_server_breaks_connections_and_a_new_one_answers_what_is_left(model: Path):
    answered: dict[int, str | None] = {}
    enough = threading.Event()

    def client(first: int, port: int) -> None:
        for number in range(first, 4000, 4):
            answered[number] = asked(port, number)
            if len(answered) > 100:
                enough.set()
            if answered[number] is None:
                return

    with served(model) as (child, port):
        clients = [threading.Thread(target=client, args=(first, port)) for first in range(4)]
        for one in clients:
            one.start()
        assert enough.wait(60)
        child.kill()
        for one in clients:
            one.join(60)
    broken = [number for number, got in answered.items() if got is None]
    assert 1 <= len(broken) <= 4 and all(got == str(number) for number, got in answered.items() if got is not None)
    with served(model, port) as (child, again):
        assert again == port and [asked(port, number) for number in broken] == [str(number) for number in broken]
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0


def test_the_plan_in_words_and_as_json(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(door, "ASKED_SECONDS", 0.05)
    monkeypatch.setattr(forecast, "CONNECTIONS", (1,))
    assert run(shlex.split(f"plan --serve {model} --p99-ms 60000 --batch 2")) == 0
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["target", "batch", "line", "asked", "capacity"]
    assert run(shlex.split(f"serve {model} --plan --json --fast --p99-ms 60000 --batch 2")) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["model"] == "m" and told["limit"] == 2 and told["capacity"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [("serve nowhere", "there is no such folder"), ("serve {} --batch 0", "batch must be at least 1"),
     ("serve {} --p99-ms 0.001", "try --p99-ms"), ("serve nowhere --port 99999", "port must be free"),
     ("serve {} --workers 2", "option must be one of ladle serve")],
)  # fmt: skip
def test_a_mistake_is_one_line(model: Path, capsys: pytest.CaptureFixture[str], words: str, said: str):
    assert run(shlex.split(words.format(model))) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
