from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.board import told
from ladle.board.follow import Followed
from ladle.board.index import Entry
from ladle.board.series import Series, averaged, changes, noise, series, steps
from ladle.core.moments import Moments
from ladle.core.noise import estimate


def entry(name: str = "a", kind: str = "run", status: str = "finished", **more: Any) -> Entry:
    return Entry(name, Path(name), kind, status, **more)


def followed(tmp_path: Path, lines: list[dict[str, Any]]) -> Followed:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    run = Followed(path)
    run.step()
    return run


def test_a_row_says_what_the_run_says():
    info = {"data": {"name": "digits"}, "model": "mlp", "seed": 3, "size": 64, "optimizer": {"lr": 0.1}}
    last = {"examples": 640.0, "seconds": 2.0, "updates": 10.0, "size": 128.0, "valid_loss": 0.5, "valid_b": 1.0,
            "valid_accuracy": 0.9, "valid_accuracy/web": 0.1}  # fmt: skip
    row = told.row(entry(info=info, last=last))
    assert (row["size"], row["lr"], row["loss"], row["speed"], row["seed"]) == (128.0, 0.1, 0.5, 320.0, 3)
    assert (row["metric"], row["value"], row["loss_of"]) == ("valid_accuracy", 0.9, "validation")
    assert told.row(entry(last={"train_loss": 0.7}))["loss_of"] == "training"


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [[]], True, float("nan")])
def test_whatever_a_file_holds_the_tables_are_made(value: Any):
    names = (
        "data model seed size optimizer policy energy best hardware command request candidates trials metric".split()
    )
    for kind in ("run", "search"):
        one = entry(kind=kind, info={name: value for name in names} | {"data": {"name": value, "lane": value}})
        json.dumps([told.row(one), told.facts(one), told.candidates(one.info), [n for n, _ in told.groups([one])]])
    one = entry(
        kind="search", info={"candidates": [value, {"size": value}], "trials": [value, {"size": 1, "lr": value}]}
    )
    json.dumps([told.row(one), told.candidates(one.info)], allow_nan=False)


def test_runs_that_differ_only_in_their_seed_are_one_group():
    def run(name: str, seed: int, size: int = 8, **more: Any) -> Entry:
        request = {"seed": seed, "schedule": None, "track": None}
        return entry(name, info={"seed": seed, "size": size, "request": request, "command": [name], **more})

    found = told.groups([run("a", 0), run("big", 0, 64), run("b", 1), run("c", 2), run("d", 3, order="sequential")])
    assert [(name, len(some)) for name, some in found] == [("a and 2 like it", 3), ("big", 1), ("d", 1)]
    assert [name for name, _ in told.groups([entry("x", status="broken"), entry("y", status="broken")])] == ["x", "y"]


def test_a_search_finished_and_one_interrupted():
    done = {"size": 16, "lr": 0.01, "mean": 0.9, "se": 0.01, "seconds": 1.0, "updates": 5, "complete": True}
    rows = told.candidates(
        {"best": 1, "chosen": 0, "candidates": [done, {**done, "complete": False}, {"failed": "no"}]}
    )
    assert [(one["chosen"], one["best"], one["state"]) for one in rows] == [
        (True, False, ""), (False, True, "ended early"), (False, False, "failed"),
    ]  # fmt: skip
    trials = [{"size": 8, "lr": 0.1, "valid_loss": 1.0}, {"size": 8, "lr": 0.1, "valid_loss": 2.0}, {"size": 9}]
    (row,) = told.candidates({"trials": trials})
    assert row["mean"] == 1.5 and row["state"] == "ended early"
    assert told.row(entry(kind="search", info={"candidates": [done], "chosen": 0}))["value"] == 0.9


def test_facts_leave_out_what_is_not_known():
    names = [name for name, _, _ in told.facts(entry(info={"data": {"lane": "host"}, "energy": {"joules": None}}))]
    assert names == ["status", "feed"]


def test_a_series_stands_where_it_was_measured(tmp_path: Path):
    run = followed(
        tmp_path,
        [
            {"examples": 0, "valid_loss": 2.0},
            {"examples": 100, "updates": 10, "seconds": 1.0, "train_loss": 1.5, "size": 10},
            {"examples": 200, "updates": 15, "seconds": 2.0, "train_loss": 1.0, "size": 20, "valid_loss": 1.2},
        ],
    )
    loss, valid, size = (series(run, name, "examples") for name in ("train_loss", "valid_loss", "size"))
    assert loss and valid and size
    assert loss.x.tolist() == [50.0, 150.0] and valid.x.tolist() == [0.0, 200.0]
    assert steps(size).x.tolist() == [0.0, 100.0, 100.0, 200.0] and steps(size).y.tolist() == [10, 10, 20, 20]
    updates = series(run, "valid_loss", "updates")
    assert updates is not None and updates.x.tolist() == [15.0]
    assert series(run, "lr", "examples") is None and series(run, "train_loss", "nowhere") is None
    part = series(run, "train_loss", "examples", span=(140.0, 160.0))
    assert part is not None and part.x.tolist() == [50.0, 150.0]


def test_a_band_is_the_range_of_the_seeds_where_all_of_them_are():
    one = Series(np.array([0.0, 2.0, 4.0]), np.array([0.0, 2.0, 4.0]))
    other = Series(np.array([1.0, 3.0]), np.array([5.0, 5.0]))
    both = averaged([one, other])
    assert both.low is not None and both.high is not None
    assert both.x.tolist() == [1.0, 2.0, 3.0]
    assert both.y.tolist() == [3.0, 3.5, 4.0] and both.low.tolist() == [1, 2, 3] and both.high.tolist() == [5, 5, 5]
    apart = Series(np.array([9.0]), np.array([1.0]))
    assert averaged([one, apart]) is apart and averaged([one]) is one


def test_the_noise_scale_is_a_ratio_of_sums(tmp_path: Path):
    random = np.random.default_rng(0)
    lines, all_of_it = [], Moments()
    for i in range(200):
        one = Moments.from_pairs(10 + random.standard_normal(4), 0.5 + 0.02 * random.standard_normal(4), 256)
        all_of_it = all_of_it.merge(one)
        lines.append({"examples": 64 * (i + 1), **{f"noise/{name}": value for name, value in vars(one).items()}})
        lines.append({"examples": 64 * (i + 1) + 32})
    found = noise(followed(tmp_path, lines), "examples")
    assert found is not None and found.low is not None and found.high is not None
    assert len(found.x) == 40 and (np.diff(found.x) > 0).all()
    assert (found.low < found.y).all() and (found.y < found.high).all()
    value = estimate(all_of_it).value
    assert found.y.min() < value < found.y.max() and abs(np.mean(found.y) - value) < 0.2
    few = noise(followed(tmp_path, lines[:5]), "examples")
    assert few is not None and len(few.x) == 1
    assert noise(followed(tmp_path, [{"examples": 1}]), "examples") is None
    assert noise(followed(tmp_path, [{"examples": 1, "noise/count": 0}]), "examples") is None


def test_decisions_are_reasons_and_sizes_that_changed(tmp_path: Path):
    lines = [
        {"examples": 0, "reason": "no size yet"},
        {"examples": 64, "updates": 8, "seconds": 1.0, "size": 8},
        {"examples": 128, "updates": 12, "seconds": 2.0, "size": 16, "reason": "grew", "inputs": {"trace": 2.0}},
        {"examples": 192, "updates": 16, "seconds": 3.0, "size": 16, "reason": "stays"},
        {"examples": 256, "updates": 18, "seconds": 4.0, "size": 32},
    ]
    found = changes(followed(tmp_path, lines))
    assert [(one.examples, one.size, one.reason) for one in found] == [
        (64.0, (8.0, 16.0), "grew"), (128.0, (16.0, 16.0), "stays"), (192.0, (16.0, 32.0), ""),
    ]  # fmt: skip
    assert found[0].inputs == {"trace": 2.0} and (found[0].updates, found[0].seconds) == (8.0, 1.0)
    assert len(changes(followed(tmp_path, lines), most=1)) == 1
