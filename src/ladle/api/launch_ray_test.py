"""A launch on Ray: what is refused, and, where Ray is installed, processes of one world on its nodes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ladle.api.launch import Launch
from ladle.api.launch_ray import launch_on_ray
from ladle.cli.main import run
from ladle.core.errors import ArgumentError


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"hosts": ("127.0.0.1",)}, "hosts must be left out with ray; got '127.0.0.1'; because Ray chooses the places"),
        ({"port": 7000}, "port must be left out with ray; got 7000"),
        ({}, "ray must be installed; got '?ray'?; .*pip install 'ladle\\[ray\\]', or ladle launch without it"),
    ],
)
def test_what_cannot_be_is_one_sentence(monkeypatch: pytest.MonkeyPatch, more: dict, message: str):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ArgumentError, match=message):
        launch_on_ray(Launch(("train", "digits"), **more))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gpus 1", "gpus must come with --ray; got 1.0"),
        ("--ray --slurm job.sbatch", "ray must be given without --slurm"),
        ("--ray --cpus -1", "cpus must be 0 or more; got -1.0"),
    ],
)
def test_options_of_ray_are_for_ray(words: str, message: str, capsys: pytest.CaptureFixture[str]):
    assert run(["launch", *words.split(), "train", "digits"]) == 2
    assert message in capsys.readouterr().err


SCRIPT = """
import os, sys, numpy as np, ladle
x = np.random.default_rng(0).standard_normal((60, 4)).astype("float32")
data = ladle.data.arrays(x, np.arange(60) % 3, valid=0.2)
run = ladle.fit(ladle.Task(ladle.models.linear(4, 3), "cross_entropy", data, lr=0.01), size=8, until="2 epochs")
import jax
assert jax.process_count() == int(os.environ["WORLD_SIZE"]) == 2
if os.environ["LADLE_RESTART"] == "0" and os.environ["RANK"] == "1":
    sys.exit(7)
print(run.final["valid_loss"])
"""


@pytest.mark.long
@pytest.mark.slow
def test_processes_on_ray_are_one_world_and_begun_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    ray = pytest.importorskip("ray")
    (tmp_path / "script.py").write_text(SCRIPT)
    try:
        assert launch_on_ray(Launch((str(tmp_path / "script.py"),), 2, restarts=1)) == 0
    finally:
        ray.shutdown()
    said = capfd.readouterr()
    again = said.out.split()
    assert len(again) in (1, 2) and len(set(again)) == 1  # Rank 0 may have said it before rank 1 failed.
    assert "ladle: rank 1 ended by exit code 7; so do the others" in said.err


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_processes_on_ray_which_save_and_stop(number: signal.Signals, code: int, tmp_path: Path):
    pytest.importorskip("ray")
    out = tmp_path / "run"
    words = ["launch", "-n", "2", "--ray", "train", "digits", "--size", "64", "--until", "1000000 epochs", "--out", out]
    child = subprocess.Popen([sys.executable, "-m", "ladle.cli", *words], stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoints").is_dir() and child.poll() is None:
        time.sleep(0.1)
    child.send_signal(number)
    said = child.communicate(timeout=60)[1]
    known = json.loads((out / "run.json").read_text())
    assert (child.returncode, known["status"]) == (code, "interrupted"), said
    assert known["why"].startswith(f"{number.name} at") and (out / "checkpoints" / known["checkpoint"]).is_dir()
    assert "--resume None" not in said
