from __future__ import annotations

import os
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from ladle.api.options import TaskOptions
from ladle.api.task import Task
from ladle.core.errors import ArgumentError
from ladle.core.record import plain

MINE = """
import numpy as np, ladle
data = ladle.data.arrays(np.arange(40.0)[:, None], np.arange(40.0) * 2 + 1.5)
task = ladle.Task(ladle.models.linear(1, 1), None, data, optimizer='sgd', lr=0.25)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_option_that_a_task_has_goes_there_by_itself() -> None:
    shared = {one.name for one in fields(TaskOptions)} & {one.name for one in fields(Task)} - {"data", "model"}
    asked = {"optimizer": "sgd", "lr": 0.1, "order": "sequential", "clip": 1.0, "clip_value": 0.5, "ema": 0.9}
    asked |= {
        "frozen": ("0.*",),
        "no_decay": ("*bias",),
        "shard_state": True,
        "offload": True,
        "precision": "bf16",
        "remat": "dots",
    }
    assert shared == set(asked), "an option more: give this test a value of it"
    task = TaskOptions("digits", model="linear", **asked).task()
    assert {name: getattr(task, name) for name in shared} == asked
    usual = TaskOptions("digits", model="linear").task()
    assert (usual.optimizer, usual.lr, usual.order) == ("adam", "auto", "permuted")


def test_a_file_says_what_the_command_line_does_not() -> None:
    Path("mine.py").write_text(MINE)
    assert TaskOptions("mine.py").task().lr == 0.25
    task = TaskOptions("mine.py:task", lr=0.5, order="sequential").task()
    assert (task.optimizer, task.lr, task.order) == ("sgd", 0.5, "sequential")


def test_a_refusal_in_the_file_says_which_line() -> None:
    Path("mine.py").write_text(MINE.replace("lr=0.25", "lr=0"))
    with pytest.raises(ArgumentError, match="lr must be a positive number") as caught:
        TaskOptions("mine.py").task()
    assert caught.value.__notes__ == ["in mine.py, line 4"]


@pytest.mark.parametrize("data", ["a.csv", "sub/a.csv", "mine.py:task", "images", "parts/*.parquet"])
def test_a_path_is_kept_whole(data: str, folder: Path) -> None:
    assert TaskOptions(data).located().data == f"{folder}{os.sep}{data}"
    assert TaskOptions(data).located().located() == TaskOptions(data).located()


@pytest.mark.parametrize("data", ["digits", "Fashion_MNIST", "https://example.org/a.parquet", "s3://bucket/a.npy"])
def test_names_and_addresses_stay_as_they_are(data: str) -> None:
    assert TaskOptions(data).located().data == data
    assert TaskOptions(data).path() is None


def test_options_come_back_from_a_record_of_any_version() -> None:
    options = TaskOptions("a.csv", drop=("a", "b"), lr=0.1)
    written = plain(asdict(options))
    assert TaskOptions.from_json(written) == options
    assert TaskOptions.from_json({"data": "a.csv", "lr": None, "unheard_of": 3}) == TaskOptions("a.csv")
    assert TaskOptions.from_json({**written, "lr": None}) == replace(options, lr="auto")
