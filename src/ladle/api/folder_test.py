"""A run's folder: held by one sitting, never cut without being asked, written anew on request; the best is kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ladle
from ladle.core.record import read_json, read_lines
from ladle.loop.lock import locked

X = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
Y = X @ np.array([1.0, -2.0, 0.5]) + np.random.default_rng(1).normal(size=100)


def task(**more: Any) -> ladle.Task:
    data = ladle.data.arrays(X, Y, kind="regression")
    return ladle.Task(ladle.models.linear(3, 1), more.pop("loss", "mse"), data, **{"optimizer": "sgd", **more})


def run(folder: Path | None, until: str = "3 epochs", **more: Any) -> ladle.Run:
    return ladle.fit(task(), size=more.pop("size", 20), until=until, out=folder, **more)


def test_a_folder_is_written_by_one_run_at_a_time(tmp_path: Path):
    run(tmp_path / "a")
    with locked(tmp_path / "a"), pytest.raises(ladle.ArgumentError, match="be written by one run at a time"):
        run(tmp_path / "a", "4 epochs", resume=True)
    assert run(tmp_path / "a", "4 epochs", resume=True).status == "finished"


def test_without_checkpoints_the_record_is_left_alone(tmp_path: Path):
    run(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "checkpoints")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir() if path.is_file()}
    with pytest.raises(ladle.CheckpointError, match="hold a checkpoint to go on from; got 'a record of 240 examples"):
        run(tmp_path / "a", "4 epochs", resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir() if path.is_file()} == before


def test_killed_before_its_first_checkpoint_a_run_begins_again(tmp_path: Path):
    whole = run(tmp_path / "whole")
    run(tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "checkpoints")
    (tmp_path / "a" / "checkpoints" / ".saving-000000000000").mkdir(parents=True)  # what such a kill leaves
    assert run(tmp_path / "a", resume=True).final["train_loss"] == whole.final["train_loss"]


def test_another_loss_is_noticed(tmp_path: Path):
    run(tmp_path / "a")
    with pytest.raises(ladle.ArgumentError, match="^loss must be what the run began with; got 'huber_loss'"):
        ladle.fit(task(loss="huber"), size=20, until="4 epochs", out=tmp_path / "a", resume=True)


def test_a_run_is_written_anew_only_when_that_is_asked(tmp_path: Path):
    run(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    with pytest.raises(ladle.ArgumentError, match="out must be a new folder"):
        run(tmp_path / "a")
    again = run(tmp_path / "a", "1 epochs", overwrite=True)
    assert len(read_lines(tmp_path / "a" / "metrics.jsonl")) == len(again.metrics) == 2
    assert (tmp_path / "a" / "notes.txt").read_text() == "mine"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("mine")
    with pytest.raises(ladle.ArgumentError, match="out must be a new folder"):
        run(tmp_path / "b", overwrite=True)


def test_a_resumed_run_goes_on_at_the_size_that_was(tmp_path: Path):
    run(tmp_path / "a", size=25)
    assert ladle.fit(task(), until="4 epochs", out=tmp_path / "a", resume=True).final["size"] == 25


def overfitting() -> ladle.Task:
    """Validation rows that a trained model gets wrong: the best evaluation is not the last."""
    data = ladle.data.arrays(X, Y, kind="regression")
    wrong = {**data.valid, "y": -data.valid["y"] + 0.9 * data.valid["y"].mean()}
    return ladle.Task(ladle.models.linear(3, 1), "mse", replace(data, valid=wrong), optimizer="sgd", lr=0.02)


def same(one: ladle.Run, other: ladle.Run) -> bool:
    pairs = zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("out", [False, True])
def test_patience_leaves_the_best_evaluations_parameters(out: bool, tmp_path: Path):
    folder = tmp_path / "a" if out else None
    stopped = ladle.fit(overfitting(), size=20, until="30 epochs, patience 3", out=folder)
    assert stopped.status == "stopped" and stopped.best is not None
    readings = {line["examples"]: line["valid_loss"] for line in stopped.metrics if line["examples"] > 0}
    assert stopped.best.value == min(readings.values()) == readings[stopped.best.examples]
    assert stopped.best.examples < stopped.final["examples"]
    assert stopped.evaluate(stopped.assembly.valid)["loss"] == pytest.approx(stopped.best.value, rel=1e-6)
    last = ladle.fit(overfitting(), size=20, until="30 epochs, patience 3", restore="last")
    assert last.evaluate(last.assembly.valid)["loss"] == pytest.approx(last.final["valid_loss"], rel=1e-6)
    there = ladle.fit(overfitting(), size=20, until=f"{stopped.best.examples} examples")
    assert same(stopped, there) and not same(stopped, last)


def test_the_best_checkpoint_stands_beside_the_newest_and_is_found_again(tmp_path: Path):
    stopped = ladle.fit(overfitting(), size=20, until="30 epochs, patience 3", out=tmp_path / "a")
    told = read_json(tmp_path / "a" / "run.json")["best"]
    assert told["checkpoint"] == f"best/{stopped.best.examples:012d}" and (tmp_path / "a" / told["checkpoint"]).is_dir()
    more = ladle.fit(overfitting(), size=20, until="40 epochs, patience 6", out=tmp_path / "a", resume=True)
    assert more.best == stopped.best and same(more, stopped)


def test_killed_behind_a_new_best_the_one_before_is_the_best_again(tmp_path: Path):
    often = {"out": tmp_path / "a", "checkpoint_every_seconds": 0}
    learnt = run(None, "5 epochs")
    assert [line["valid_loss"] for line in learnt.metrics] == sorted(x["valid_loss"] for x in learnt.metrics)[::-1]
    ladle.fit(task(), size=20, until="5 epochs", **often)
    shutil.rmtree(tmp_path / "a" / "checkpoints" / f"{5 * 80:012d}")
    again = ladle.fit(task(), size=20, until="4 epochs", resume=True, **often)
    assert again.best is not None and again.best.examples == 4 * 80 == again.final["examples"]


def test_a_damaged_best_is_not_taken_for_one(tmp_path: Path):
    ladle.fit(overfitting(), size=20, until="30 epochs, patience 3", out=tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "best")
    more = ladle.fit(overfitting(), size=20, until="40 epochs", out=tmp_path / "a", resume=True)
    assert more.best is None or more.best.examples > 240


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"resume": True, "overwrite": True}, "overwrite must be left as it is with resume"),
        ({"resume": True, "checkpoints": False}, "checkpoints must be left as it is with resume"),
        ({"restore": "first"}, "restore must be 'best' or 'last'; got 'first'"),
    ],
)
def test_contradictions_are_refused(arguments: dict[str, Any], said: str, tmp_path: Path):
    with pytest.raises(ladle.ArgumentError, match=said):
        run(tmp_path / "a", **arguments)
    assert not (tmp_path / "a").exists()
