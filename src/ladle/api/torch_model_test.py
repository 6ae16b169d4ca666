"""A torch task from Python: found by itself, trained, asked, saved and loaded; and from a task file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import ladle
from ladle.api.backend import backend_of
from ladle.api.options import TaskOptions
from ladle.api.request import Request, begin, resume

X = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 1)
DATA = ladle.data.arrays(X, Y)


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def own(model: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")


@pytest.mark.parametrize(
    ("model", "loss", "name"),
    [
        (make, None, "torch"),
        (make(), "cross_entropy", "torch"),
        (nn.Identity, None, "torch"),
        (make, nn.CrossEntropyLoss(), "torch"),
        (ladle.models.linear(4, 3), "cross_entropy", "jax"),
        (lambda key: None, None, "jax"),
    ],
)
def test_the_backend_is_found_by_the_model(model: Any, loss: Any, name: str):
    assert backend_of(ladle.Task(model, loss, DATA)).name == name


@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss(), own])
def test_a_model_is_saved_and_loaded(loss: Any, tmp_path: Path):
    optimizer = lambda p: torch.optim.AdamW(p, lr=1e-2)  # noqa: E731
    task = ladle.torch.task(make, loss, DATA, optimizer=optimizer)
    assert task.optimizer_name == "adamw"
    run = ladle.fit(task, size=16, until="3 epochs", out=tmp_path / "run")
    assert run.final["train_loss"] < run.metrics[1]["train_loss"] and run.assembly.lr(64) == 1e-2
    model = make()
    model.load_state_dict(run.params)
    for again in (
        ladle.load(run.save(tmp_path / "model"), model=make),
        ladle.load(tmp_path / "run", model=make()),
        ladle.load(tmp_path / "model", model=task),
    ):
        assert (again.outputs(X) == run.outputs(X)).all() and (again.predict(X) == run.predict(X)).all()
        assert (again.outputs(X) == model.eval()(torch.from_numpy(X)).detach().numpy()).all()
    if loss is None:
        assert again.evaluate({"x": X, "y": Y}) == run.evaluate({"x": X, "y": Y})
    with pytest.raises(ladle.ArgumentError, match="torch module of your own"):
        ladle.load(tmp_path / "model")


def test_amounts_and_tables_are_learnt(tmp_path: Path):
    data = ladle.data.arrays(X, X[:, 0] * 2 + X[:, 1])
    task = ladle.Task(lambda: nn.Linear(4, 1), None, data, optimizer="adam", lr=0.05)
    run = ladle.fit(task, size=16, until="20 epochs")
    assert run.final["valid_squared_error"] < 0.05 and run.predict(X[:3]).shape == (3,)


def test_a_task_file_is_trained_and_resumed(tmp_path: Path):
    text = "import torch, ladle\nfrom torch import nn\n"
    text += "task = ladle.torch.task(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), None, 'digits', lr=0.01)\n"
    (tmp_path / "mine.py").write_text(text)
    request = Request(TaskOptions(f"{tmp_path / 'mine.py'}:task"), size="64", until="1 epochs")
    begin(request, tmp_path / "run", show=False, every_seconds=30.0)
    run = resume(request.changed(None, None, None, "2 epochs"), tmp_path / "run", show=False, every_seconds=30.0)
    assert run.status == "finished" and run.final["epoch"] == 2.0


@pytest.mark.parametrize(
    ("task", "how", "why"),
    [
        (lambda: ladle.Task(lambda: nn.Linear(5, 3), None, DATA), {}, "model must take the data's rows"),
        (lambda: ladle.Task(lambda: nn.Linear(4, 1), None, DATA), {}, "have 3 outputs or more"),
        (
            lambda: ladle.Task(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), None, DATA),
            {"policy": "noise 8..64"},
            "not a sum over rows",
        ),
        (
            lambda: ladle.Task(make, lambda outputs, y: functional.cross_entropy(outputs, y.long()), DATA),
            {},
            "per_row",
        ),
        (lambda: ladle.Task(make, None, DATA, optimizer="lion"), {}, "torch.optim has no equal rule"),
        (lambda: ladle.Task(make, None, DATA), {"rebase": True}, "torch backend has none"),
    ],
)
def test_refusals(task: Any, how: Any, why: str):
    with pytest.raises(ladle.ArgumentError, match=why):
        ladle.fit(task(), **{"size": 8 if "policy" not in how else None, "until": "1 epochs", **how})
