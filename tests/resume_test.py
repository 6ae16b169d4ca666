"""A run killed at any instant and resumed is the run that was never killed: same parameters, same record."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.cli.main import run
from ladle.core.record import CHECKPOINTS, METRICS_FILE, RUN_FILE, read_json, read_lines

TIMES = ("seconds", "examples_per_second", "data_wait_fraction", "cpu_seconds", "window_seconds")
TIMES += ("memory_bytes", "memory_limit_bytes")
SCHEDULE = " ".join(f"{2500 * n}:{(16, 24, 40)[n % 3]}" for n in range(170))
SWITCHING = ["--schedule", SCHEDULE, "--rule", "half-life"]
"""Instead of one size: it changes inside every second pass, and rate and decay rates move with it."""
RUN = ["train", "digits", "--size", "16", "--lr", "0.001", "--until", "100 epochs", "--checkpoint-every", "0.02"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One compilation cache for all sittings: compiling is not what is tested."""
    cache = tmp_path_factory.mktemp("cache")
    cache.chmod(0o700)
    source = str(Path(__file__).parents[1] / "src")
    return {**os.environ, "LADLE_CACHE": str(cache), "PYTHONPATH": source}


def ladle(arguments: list[str], environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ladle.cli", *arguments, "--quiet"]
    return subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=180)
    assert process.returncode == code, err
    return out + err


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Until `condition` holds or the process has ended."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def _longer(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size > size


def record_of(folder: Path) -> list[dict[str, Any]]:
    return [{name: x for name, x in line.items() if name not in TIMES} for line in read_lines(folder / METRICS_FILE)]


def parameters(folder: Path) -> list[np.ndarray]:
    """The leaves of the newest checkpoint, through the reader that resuming uses."""
    import jax

    from ladle.api.assembly import assemble
    from ladle.api.options import TaskOptions
    from ladle.jax.save import OrbaxSaver
    from ladle.loop.checkpoint import Checkpoints

    options = TaskOptions.from_json(read_json(folder / RUN_FILE)["request"]["task"])
    like = assemble(options.task()).engine.abstract_state({})
    restored = Checkpoints(folder / CHECKPOINTS, OrbaxSaver()).restore(like)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(restored.carry.state)]


@pytest.mark.slow
@pytest.mark.parametrize("most", [3, pytest.param(20, marks=pytest.mark.long)])
def test_killed_and_resumed_it_is_the_unbroken_run(tmp_path: Path, environment: dict[str, str], most: int) -> None:
    command = [*RUN[:2], *SWITCHING, *RUN[4:], "--until", f"{15 * most + 40} epochs"]
    finished(ladle([*command, "--out", "whole"], environment, tmp_path))
    chance, kills, sizes = random.Random(0), 0, set()  # Killed before and after a switch: sizes are two or three.
    process = ladle([*command, "--out", "broken"], environment, tmp_path)
    metrics = tmp_path / "broken" / METRICS_FILE
    while kills < most or len(sizes) < 2:
        before = metrics.stat().st_size if metrics.exists() else 0
        # Somewhere in this sitting: as soon as it writes, or some windows or milliseconds later.
        grown = before + chance.choice([1, 1, 1, 300, 800])
        wait_for(partial(_longer, metrics, grown), process)
        time.sleep(chance.random() * 0.03)
        assert process.poll() is None, f"the run ended after {kills} kills: it must be longer"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        sizes.add(record_of(tmp_path / "broken")[-1]["size"])
        process = ladle(["train", "--resume", "broken"], environment, tmp_path)
    finished(process)
    lines = record_of(tmp_path / "whole")
    switched = {line["size"]: line for line in lines if "size" in line}
    assert set(switched) == {16, 24, 40}
    assert len({line["hyper"]["b2"] for line in switched.values()}) == 3

    assert record_of(tmp_path / "broken") == record_of(tmp_path / "whole")
    for broken, whole in zip(parameters(tmp_path / "broken"), parameters(tmp_path / "whole"), strict=True):
        np.testing.assert_array_equal(broken, whole)


@pytest.mark.slow
def test_a_signal_ends_the_window_saves_and_says_how_to_go_on(tmp_path: Path, environment: dict[str, str]) -> None:
    """Ctrl-C ends the first sitting, a scheduler's SIGTERM the second."""
    process = ladle([*RUN[:-4], "--until", "5000 epochs", "--out", "run"], environment, tmp_path)
    metrics, last = tmp_path / "run" / METRICS_FILE, 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        size = metrics.stat().st_size if metrics.exists() else 0
        wait_for(partial(_longer, metrics, size + 2000), process)
        process.send_signal(number)
        said = finished(process, code)
        assert "ladle train --resume run" in said
        info = read_json(tmp_path / "run" / RUN_FILE)
        assert info["status"] == "interrupted"
        before, last = last, read_lines(metrics)[-1]["examples"]
        assert last > before
        assert int(info["checkpoint"]) == last, "the last window is in the checkpoint"
        again = ["train", "--resume", "run", "--size", "64", "--until"]
        process = ladle([*again, "5000 epochs" if code == 130 else f"{last + 3000} examples"], environment, tmp_path)
    finished(process)
    lines = read_lines(metrics)
    positions = [line["examples"] for line in lines]
    assert positions == sorted(set(positions)) and positions[-1] >= last + 3000
    assert lines[-1]["size"] == 64
    assert lines[-1]["lr"] == pytest.approx(0.001 * 2), "the rate follows the size by Adam's rule"


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*RUN, "--out", "run", "--quiet"]) == 0
    folders = sorted(path for path in (tmp_path / "run" / CHECKPOINTS).iterdir() if path.name.isdigit())
    assert len(folders) >= 2
    largest = max(
        (path for path in (folders[-1] / "state").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    before = record_of(tmp_path / "run")
    capsys.readouterr()
    assert run(["train", "--resume", "run", "--quiet"]) == 0
    said = "".join(capsys.readouterr())
    assert f"checkpoint {folders[-1].name} refused" in said
    info = read_json(tmp_path / "run" / RUN_FILE)
    assert info["refused"] and info["refused"][0][0] == folders[-1].name, said
    assert record_of(tmp_path / "run") == before, "what was lost is trained again, bit for bit"
    assert json.loads((tmp_path / "run" / RUN_FILE).read_text())["status"] == "finished"
