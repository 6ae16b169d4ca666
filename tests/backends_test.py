"""What the roof promises, on every backend there is: fit, resume, plan, compare, critical, search. One matrix."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ladle
from ladle.api.critical_branches import measure
from ladle.api.critical_steps import measure_steps
from ladle.api.options import TaskOptions
from ladle.api.request import Request, begin, resume
from ladle.core.record import read_json, read_lines
from numpy_backend import NumpyBackend, Softmax

ROWS, FEATURES, CLASSES = 240, 6, 3
DRAWN = np.random.default_rng(5)
X = DRAWN.normal(size=(ROWS, FEATURES)).astype(np.float32)
Y = (X @ DRAWN.normal(size=(FEATURES, CLASSES)) + 0.5 * DRAWN.normal(size=(ROWS, CLASSES))).argmax(1)

TIMES = ("seconds", "window_seconds", "cpu_seconds", "examples_per_second", "data_wait_fraction", "memory")


def numpy_task(**more: Any) -> ladle.Task:
    model = Softmax(FEATURES, CLASSES)
    return ladle.Task(model, None, ladle.data.arrays(X, Y), optimizer="momentum", backend=NumpyBackend(), **more)


def jax_task(**more: Any) -> ladle.Task:
    model = ladle.models.linear(FEATURES, CLASSES)
    return ladle.Task(model, "cross_entropy", ladle.data.arrays(X, Y), optimizer="momentum", **more)


def torch_task(**more: Any) -> ladle.Task:
    import torch

    def make() -> torch.nn.Module:
        return torch.nn.Linear(FEATURES, CLASSES)

    data = ladle.data.arrays(X, Y)
    return ladle.Task(make, torch.nn.functional.cross_entropy, data, optimizer="momentum", **more)


@pytest.fixture(params=[numpy_task, jax_task, torch_task], ids=["numpy", "jax", "torch"])
def task(request: pytest.FixtureRequest) -> Callable[..., ladle.Task]:
    return request.param


SHOWN_ELSEWHERE = pytest.mark.parametrize(
    "task", [numpy_task, pytest.param(jax_task, marks=pytest.mark.long), torch_task], ids=["numpy", "jax", "torch"]
)
"""JAX does by itself what the tests of the verb ask more of: plan, compare, steps and search of the command line."""


NO_PROBE = pytest.mark.skipif(find_spec("ladle.torch.probe") is None, reason="the torch room has no probe")

WITH_PROBE = pytest.mark.parametrize(
    "task",
    [numpy_task, pytest.param(jax_task, marks=pytest.mark.long), pytest.param(torch_task, marks=NO_PROBE)],
    ids=["numpy", "jax", "torch"],
)


def numbers(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Record lines without what is of the clock and the machine."""
    return [{name: value for name, value in line.items() if not name.startswith(TIMES)} for line in lines]


@pytest.mark.parametrize("lane", ["device", "host"])
def test_a_run_learns_and_leaves_its_record(task: Callable[..., ladle.Task], lane: Any, tmp_path: Path):
    run = ladle.fit(task(lane=lane), size=20, until="6 epochs", out=tmp_path / "run")
    assert run.status == "finished" and run.final["valid_accuracy"] > 0.6
    assert run.final["updates"] == 6 * -(-run.assembly.rows // 20)
    assert numbers(read_lines(tmp_path / "run" / "metrics.jsonl")) == json.loads(json.dumps(numbers(run.metrics)))
    assert (
        run.outputs(X[:4]).shape == (4, CLASSES)
        and run.predict(X[:4]).shape == (4,)
        and run.evaluate({"x": X, "y": Y})["loss"] < 1
    )
    assert read_json(tmp_path / "run" / "run.json")["best"]["metric"] == "valid_loss"


def test_a_cut_batch_is_the_whole_one(task: Callable[..., ladle.Task]):
    whole, cut = (ladle.fit(task(), size=20, micro_size=m, until="2 epochs").final["valid_loss"] for m in (20, 3))
    assert whole == pytest.approx(cut, rel=1e-5)


@pytest.mark.parametrize("policy", ["0:8 2ep:32", "noise 8..64"])
def test_stopped_and_resumed_it_is_the_unbroken_run(task: Callable[..., ladle.Task], policy: str, tmp_path: Path):
    ladle.fit(task(), policy=policy, until="4 epochs", out=tmp_path / "whole")
    ladle.fit(task(), policy=policy, until="2 epochs", out=tmp_path / "broken")
    ladle.fit(task(), policy=policy, until="4 epochs", out=tmp_path / "broken", resume=True)
    broken, whole = (numbers(read_lines(tmp_path / name / "metrics.jsonl")) for name in ("broken", "whole"))
    assert broken == whole


@WITH_PROBE
def test_a_plan_is_made_and_followed(task: Callable[..., ladle.Task]):
    plan = ladle.plan(task())
    assert 1 <= plan.size <= 192 and plan.lr is not None and plan.number("examples_per_second") is not None
    for run in (ladle.fit(task(), plan, until="1 epochs"), ladle.fit(task(), until="1 epochs")):
        assert run.status == "finished"


@WITH_PROBE
def test_sizes_are_compared(task: Callable[..., ladle.Task]):
    compared = ladle.compare(task(), sizes=["full", 16], seeds=2, until="3 epochs")
    assert [row["size"] for row in compared.rows] == [192, 16]
    assert all(row["valid_loss"] > 0 and row["gradient_variance"] >= 0 for row in compared.rows)


@SHOWN_ELSEWHERE
def test_steps_to_a_target_are_measured(task: Callable[..., ladle.Task]):
    found = measure_steps(task(), "valid_loss=0.5", sizes=[4, 16, 64], until="40 epochs")
    assert all(row["steps"] > 0 for row in found.table)


@SHOWN_ELSEWHERE
def test_sizes_and_rates_are_searched(task: Callable[..., ladle.Task]):
    found = ladle.search(task(), sizes=[8, 32], lrs=[0.01, 0.1], folds=3, until="3 epochs", workers="threads:1")
    assert {row.candidate.size for row in found.rows} == {8, 32} and found.metric == "valid_accuracy"


def test_a_run_is_branched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Branches begin at the checkpoint of a run from the command line, whose task is a file of its own."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for kind in ("numpy", "jax", "torch"):
        (tmp_path / f"{kind}_run.py").write_text(f"from backends_test import {kind}_task\ntask = {kind}_task()\n")
        request = Request(TaskOptions(f"{tmp_path / kind}_run.py:task"), size="8", until="2 epochs")
        begin(request, tmp_path / kind, show=False, every_seconds=30.0)
        found = measure(tmp_path / kind, factors=(1, 2, 4), examples="1 epoch", seeds=2)
        assert [row["size"] for row in found.table] == [8, 16, 32]
        assert resume(request.changed("16", None, None, "3 epochs"), tmp_path / kind, show=False, every_seconds=30.0)


@pytest.mark.parametrize(("kind", "loaded"), [("numpy", "[]"), ("torch", "['torch']")])
def test_the_roof_loads_no_backend_that_it_does_not_need(kind: str, loaded: str):
    code = f"""
import sys
from backends_test import {kind}_task as task
import ladle
ladle.fit(task(), size=20, until="1 epochs")
if "{kind}" == "numpy":
    ladle.plan(task())
print(sorted({{"jax", "torch", "optax"}} & set(sys.modules)))
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert child.stdout.strip() == loaded, child.stderr
