"""Processes of a launch: what each is told, and how they end together. None of them trains: a script stands for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ladle.api.launch import FINAL, Launch, argv_of, launch, placed, words_of
from ladle.api.launch_slurm import sbatch_file
from ladle.core.errors import ArgumentError


def script(folder: Path, body: str) -> str:
    path = folder / "script.py"
    path.write_text(f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{body}\n")
    return str(path)


def test_each_process_is_told_which_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    names = "'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'LADLE_RESTART'"
    body = f"print(*(os.environ[name] for name in ('RANK', {names})), *sys.argv[1:], len(os.sched_getaffinity(0)))"
    assert launch(Launch((script(tmp_path, body), "--size", "64"), 3)) == 0
    said = capfd.readouterr()
    cores = max(len(os.sched_getaffinity(0)) // 3, 1)
    cores = cores if len(os.sched_getaffinity(0)) >= 3 else len(os.sched_getaffinity(0))
    assert said.out == f"0 3 0 3 127.0.0.1 0 --size 64 {cores}\n"
    assert sorted(said.err.splitlines()) == [f"[{r}] {r} 3 {r} 3 127.0.0.1 0 --size 64 {cores}" for r in (1, 2)]


def test_hosts_number_their_processes_one_after_the_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    body = "print(rank, *(os.environ[name] for name in ('WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')))"
    asked = Launch((script(tmp_path, body),), 1, ("192.0.2.1", "127.0.0.1"))  # The second is this machine's own.
    assert launch(asked) == 0 and capfd.readouterr().out == "1 2 0 192.0.2.1 29400\n"


@pytest.mark.parametrize(("how", "code"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137)])
def test_one_that_fails_ends_all_and_gives_the_exit_code(
    how: str, code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ladle.api.launch.GRACE", 0.2)
    began = time.monotonic()
    assert launch(Launch((script(tmp_path, f"{how} if rank else time.sleep(60)"),), 2)) == code
    assert time.monotonic() - began < 50
    assert "ladle: rank 1 ended by" in capfd.readouterr().err


def test_after_a_failure_all_are_begun_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    body = "again = int(os.environ['LADLE_RESTART']); print(again); sys.exit(1 if again < 2 and rank else 0)"
    assert launch(Launch((script(tmp_path, body),), 2, restarts=3)) == 0
    said = capfd.readouterr()
    assert said.out == "0\n1\n2\n" and said.err.count("are begun again") == 2


@pytest.mark.parametrize("code", FINAL[1:])
def test_what_was_refused_or_interrupted_is_not_begun_again(
    code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    assert launch(Launch((script(tmp_path, f"print(1); sys.exit({code})"),), 1, restarts=3)) == code
    assert capfd.readouterr().out == "1\n"


def test_a_signal_reaches_every_process_once(tmp_path: Path):
    body = """
got = []
signal.signal(signal.SIGTERM, lambda *_: got.append(1))
print("ready", flush=True)
while not got: time.sleep(0.02)
time.sleep(0.2)
print("got", len(got), flush=True)
sys.exit(143)
"""
    words = [sys.executable, "-m", "ladle.cli", "launch", "-n", "2", script(tmp_path, body)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline() == "ready\n" and child.stderr.readline() == "[1] ready\n"
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=120)
    assert (child.returncode, out, err) == (143, "got 1\n", "[1] got 1\n")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"command": ()}, "command must be train, or a script; got None"),
        ({"command": ("plan", "digits")}, "command must be train, or a script; got 'plan'"),
        ({"processes": 0}, "processes must"),
        ({"restarts": -1}, "restarts must be 0 or more"),
        ({"port": 70000}, "port must be from 0 to 65535"),
        ({"hosts": ("10.0.0.1",), "host": 1}, "host must be below 1"),
    ],
)
def test_what_cannot_be_launched_is_refused(how: dict, why: str):
    with pytest.raises(ArgumentError, match=why):
        Launch(**{"command": ("train", "digits"), **how})


def test_a_machine_that_is_none_of_the_hosts_is_refused():
    with pytest.raises(ArgumentError, match="hosts must hold one address of this machine; got '0 of 192.0.2.1'"):
        launch(Launch(("train", "digits"), 1, ("192.0.2.1",)))


def test_a_job_of_slurm_goes_on_with_its_run(tmp_path: Path):
    asked = Launch(("train", "my rows.csv", "--out=runs/a", "--json"), 4, restarts=2)
    path = tmp_path / "jobs" / "job.sbatch"
    assert sbatch_file(asked, path, nodes=2, time="2:00:00", more=["--partition=gpu"]) == f"sbatch {path}"
    text = path.read_text()
    for option in ("nodes=2", "ntasks-per-node=4", "time=2:00:00", "partition=gpu", "signal=TERM@120"):
        assert f"#SBATCH --{option}\n" in text
    subprocess.run(["bash", "-n", path], check=True)
    # `srun` stands for itself: it fails once, when the run has begun, and is told to go on then.
    fake = tmp_path / "bin" / "srun"
    fake.parent.mkdir()
    fake.write_text('#!/bin/bash\necho "${@:5}"\nmkdir -p runs/a; touch runs/a/run.json\nexit $((1 - LADLE_RESTART))\n')
    fake.chmod(0o755)
    path_of = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    found = subprocess.run(
        ["bash", path], cwd=tmp_path, env={**os.environ, "PATH": path_of}, capture_output=True, text=True
    )
    said = "train my rows.csv --out=runs/a --json\ntrain --resume runs/a --json\n"
    assert (found.returncode, found.stdout) == (0, said)
    with pytest.raises(ArgumentError, match="slurm must be a new file"):
        sbatch_file(asked, path)


@pytest.mark.parametrize(
    ("how", "nodes", "why"),
    [
        ({}, 0, "nodes must be at least 1"),
        ({"hosts": ("10.0.0.1",)}, 1, "hosts must be left out with slurm"),
        ({"port": 29400}, 1, "port must be left out with slurm"),
    ],
)
def test_what_slurm_decides_is_refused(how: dict, nodes: int, why: str, tmp_path: Path):
    with pytest.raises(ArgumentError, match=why):
        sbatch_file(Launch(("train", "digits"), **how), tmp_path / "job", nodes=nodes)
    assert not (tmp_path / "job").exists()


def test_a_script_is_run_by_this_python():
    assert words_of(("a.py", "x")) == [sys.executable, "a.py", "x"]


def test_a_run_is_gone_on_with_where_it_has_begun(tmp_path: Path):
    folder = str(tmp_path / "a")
    command = ("train", "digits", "--size", "64", "--json", "--out", folder)
    assert argv_of(command, 1) == words_of(command)  # It failed before there was anything to go on with.
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text("{}")
    assert argv_of(command, 0) == words_of(command)
    assert argv_of(command, 1) == words_of(("train", "--resume", folder, "--json"))
    assert placed(("train", "--resume", folder)) == ("train", "--resume", folder)
    assert placed(("train", "digits"))[2] == "--out"
