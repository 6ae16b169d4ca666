"""One task in JAX and in PyTorch, from the same weights in the same order: the same losses, columns and decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ladle
from ladle.api.assembly import assemble
from ladle.core.errors import ArgumentError
from ladle.core.record import read_lines
from ladle.jax.rate import rate_from_text as jax_rate
from ladle.torch.rate import rate_from_text as torch_rate

ROWS, FEATURES, CLASSES = 300, 6, 3
DRAWN = np.random.default_rng(5)
X = DRAWN.normal(size=(ROWS, FEATURES)).astype(np.float32)
Y = (X @ DRAWN.normal(size=(FEATURES, CLASSES)) + 0.5 * DRAWN.normal(size=(ROWS, CLASSES))).argmax(1)
DATA = ladle.data.arrays(X, Y)


def tasks(hidden: tuple[int, ...] = (16,), **how: Any) -> tuple[ladle.Task, ladle.Task]:
    """The same perceptron, at JAX's starting weights, in both."""
    one = ladle.Task(ladle.models.mlp(FEATURES, *hidden, CLASSES), "cross_entropy", DATA, **how)
    params = assemble(one).engine.step.init(0).params
    layers: list[nn.Module] = []
    for at, layer in enumerate(params):
        made = nn.Linear(*layer["weight"].shape)
        made.weight.data = torch.from_numpy(np.array(layer["weight"]).T.copy())
        made.bias.data = torch.from_numpy(np.array(layer["bias"]))
        layers += [*([nn.ReLU()] if at else []), made]
    return one, ladle.Task(nn.Sequential(*layers), "cross_entropy", DATA, **how)


def recorded(task: ladle.Task, folder: Path, **how: Any) -> list[dict[str, Any]]:
    ladle.fit(task, out=folder, **how)
    return [line for line in read_lines(folder / "metrics.jsonl") if "size" in line]


LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("optimizer", "lane"),
    [
        ("adamw", "device"),
        ("momentum", "host"),
        *(pytest.param(name, "device", marks=LONG) for name in ("sgd", "momentum", "nesterov", "adam", "adagrad")),
        pytest.param("adamw", "host", marks=LONG),
    ],
)
def test_losses_are_equal_after_a_hundred_updates(optimizer: str, lane: Any, tmp_path: Path):
    how = {"size": 24, "micro_size": 6, "until": "100 steps"}
    one, two = (
        recorded(task, tmp_path / str(at), **how) for at, task in enumerate(tasks(optimizer=optimizer, lane=lane))
    )
    assert [list(line) for line in one] == [list(line) for line in two]
    names = "train_loss valid_loss valid_accuracy grad_norm noise/trace noise/count noise_scale lr_factor".split()
    for a, b in zip(one, two, strict=True):
        for name in names:
            assert (a.get(name) is None) == (b.get(name) is None), name
            if a.get(name) is not None:
                assert a[name] == pytest.approx(b[name], rel=1e-3 if name.startswith("noise") else 1e-4, abs=1e-6), name


@pytest.mark.parametrize(
    "policy",
    [
        "noise x4 8..128",
        "plateau 8 x2 patience 1 max 64",
        *(pytest.param(text, marks=LONG) for text in ("norm test 0.5 8..64", "divebatch 4 8..64")),
    ],
)
def test_policies_decide_the_same(policy: str, tmp_path: Path):
    how = {"policy": policy, "until": "12 epochs"}
    one, two = (recorded(task, tmp_path / str(at), **how) for at, task in enumerate(tasks(optimizer="sgd", lr=0.3)))
    assert [(line["size"], line["examples"]) for line in one] == [(line["size"], line["examples"]) for line in two]
    assert len({line["size"] for line in one}) > 1


def test_weights_of_rows_and_a_schedule_count_the_same(tmp_path: Path):
    weight = np.random.default_rng(1).uniform(0.1, 2, ROWS)
    data = ladle.data.arrays(X, Y, weight=weight)
    one, two = tasks(optimizer="momentum", lr=lambda examples: 0.1 / (1 + examples / 1000))
    how = {"size": 30, "micro_size": 7, "until": "3 epochs"}
    lines = [recorded(task.with_(data=data), tmp_path / str(at), **how) for at, task in enumerate((one, two))]
    for a, b in zip(*lines, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert a["noise/trace"] == pytest.approx(b["noise/trace"], rel=1e-3)


@pytest.mark.parametrize(
    "text",
    ["constant", "cosine", "linear", "x0.1 at 2 epochs, 3 epochs", "cosine, warmup 1 epoch", "warmup 50 examples"],
)
def test_schedules_are_the_same(text: str):
    one, two = (read(text, total=1000, epoch_size=200) for read in (jax_rate, torch_rate))
    for at in (0, 1, 49, 50, 199, 200, 201, 400, 599, 600, 999, 1000, 1200):
        assert float(one(np.float32(at))) == pytest.approx(two(at), abs=1e-6), at


def test_torch_has_a_state_whole_and_says_what_cuts_it():
    torch_task = ladle.Task(nn.Linear(FEATURES, CLASSES), "cross_entropy", DATA, shard_state=True)
    with pytest.raises(ArgumentError, match=r"shard_state must be False on torch.*fully_shard"):
        assemble(torch_task)
    with pytest.raises(ArgumentError, match="offload must be False on torch"):
        assemble(torch_task.with_(shard_state=False, offload=True))
