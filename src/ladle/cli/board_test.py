from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ladle.cli.main import run


def refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["board", *args]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and error.startswith("ladle: ")
    return error


def test_what_a_board_cannot_be_of_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    assert "there is no such folder" in refused([str(tmp_path / "rums")], capsys)
    assert "there is no such folder" in refused([str(tmp_path / "file")], capsys)
    here = str(tmp_path / "runs")
    assert "--port" in refused([here, "--port", "many"], capsys)
    assert "be from 0 to 65535" in refused([here, "--port", "70000"], capsys)
    assert "be from 0 to 65535" in refused([here, "--port", "-1"], capsys)
    assert "address must be free" in refused([here, "--port", "0", "--address", "192.0.2.1"], capsys)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        assert f"try --port {port + 1}" in refused([here, "--port", str(port)], capsys)


@pytest.mark.slow
def test_an_interrupt_ends_it_quietly(tmp_path: Path):
    command = [sys.executable, "-m", "ladle.cli.main", "board", str(tmp_path), "--port", "0"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert process.stdout is not None
    assert re.fullmatch(r"board of \S+ at http://localhost:\d+/ \(Ctrl-C ends it\)\n", process.stdout.readline())
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0
