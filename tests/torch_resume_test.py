"""A PyTorch run killed at any instant and resumed is the run that was never killed: the same bits, the same record.

The net has dropout and computes in bfloat16; batches of 16, 24 and 40 rows change inside of passes, are accumulated
from micro-batches of 16, and leave a ragged one at the end of each pass.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ladle.cli.main import run
from ladle.core.record import CHECKPOINTS, METRICS_FILE, RUN_FILE, read_json, read_lines

TIMES = ("seconds", "examples_per_second", "data_wait_fraction", "cpu_seconds", "window_seconds")
TIMES += ("memory_bytes", "memory_limit_bytes")

JOB = """
import torch
from torch import nn

import ladle.torch

torch.set_num_threads(1)


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10))


def loss(model, batch):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(batch["x"])
    return nn.functional.cross_entropy(outputs.float(), batch["y"], reduction="none")


task = ladle.torch.task(net, loss, "digits", optimizer="adamw", lr=1e-3)
"""


def started(arguments: list[str]) -> Any:
    """`ladle ARGUMENTS` in a process of its own, forked from one that has loaded what all of them need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ladle.cli.main", "ladle.api.fit", "ladle.torch.backend", "ladle.torch.step"])
    process = context.Process(target=run, args=([*arguments, "--quiet"],))
    process.start()
    return process


def record_of(folder: Path) -> list[dict[str, Any]]:
    path = folder / METRICS_FILE
    lines = read_lines(path) if path.exists() else []
    return [{name: x for name, x in line.items() if name not in TIMES} for line in lines]


def trained(folder: Path) -> list[dict[str, Any]]:
    """The lines of windows; the first line is the evaluation before them."""
    return [line for line in record_of(folder) if "size" in line]


def tensors(folder: Path) -> bytes:
    """Weights and averages of the newest checkpoint, as they lie in the file."""
    newest = max(path for path in (folder / CHECKPOINTS).iterdir() if path.name.isdigit())
    return (newest / "state" / "tensors.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kills", [20])
def test_killed_and_resumed_a_torch_run_is_the_unbroken_one(tmp_path: Path, kills: int) -> None:
    (tmp_path / "job.py").write_text(JOB, encoding="utf-8")
    epochs = kills + 4
    schedule = " ".join(f"{1100 * n}:{(16, 24, 40)[n % 3]}" for n in range(1437 * epochs // 1100))
    command = ["train", f"{tmp_path}/job.py:task", "--schedule", schedule, "--rule", "half-life"]
    command += ["--micro-size", "16", "--until", f"{epochs} epochs", "--checkpoint-every", "0.02"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = started([*command, "--out", str(whole)])

    chance, sizes, positions = random.Random(0), set[int](), list[int]()
    process = started([*command, "--out", str(broken)])
    for kill in range(kills):
        before = len(trained(broken))
        end = time.monotonic() + 300
        while len(trained(broken)) <= before and process.is_alive():
            assert time.monotonic() < end, "nothing happened"
            time.sleep(0.005)
        time.sleep(chance.random() * 0.2)
        assert process.is_alive(), f"the run ended after {kill} kills: it must be longer"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        last = trained(broken)[-1]
        sizes.add(last["size"])
        positions.append(last["examples"])
        process = started(["train", "--resume", str(broken)])
    process.join()
    unbroken.join()
    assert read_json(broken / RUN_FILE)["status"] == read_json(whole / RUN_FILE)["status"] == "finished"
    assert sizes == {16, 24, 40} and len(set(positions)) == kills
    assert record_of(broken) == record_of(whole)
    assert tensors(broken) == tensors(whole)
