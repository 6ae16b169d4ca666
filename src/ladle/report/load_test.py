from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.record import COMPARE_FILE, METRICS_FILE, RUN_FILE
from ladle.report.fakes_test import plan_json, write_compare, write_lines, write_run
from ladle.report.load import load_folders, load_run
from ladle.report.study import Group, valid_metric


def test_a_comparison_groups_its_seeds(compared: Path) -> None:
    (study,) = load_folders([compared])
    assert [(group.name, group.size, len(group.runs)) for group in study.groups] == [
        ("full", 1437, 3),
        ("64", 64, 3),
        ("1", 1, 3),
    ]
    assert [group.label for group in study.groups] == ["full (1,437)", "64", "1"]
    assert [run.info["seed"] for run in study.groups[1].runs] == [0, 1, 2]
    assert study.plan is not None and study.plan["size"] == 64
    assert len(study.rows) == 3


def test_columns_leave_out_what_is_no_number(tmp_path: Path) -> None:
    write_run(tmp_path / "a", size=8)
    write_lines(
        tmp_path / "a" / METRICS_FILE,
        [
            {"examples": 8, "train_loss": 2.0},
            {"examples": 16, "train_loss": None, "valid_loss": 1.5, "reason": "grew"},
            {"examples": 24, "train_loss": 1.0, "ok": True},
        ],
    )
    run = load_run(tmp_path / "a")
    examples, values = run.column("train_loss")
    np.testing.assert_array_equal(examples, [8, 24])
    np.testing.assert_array_equal(values, [2.0, 1.0])
    for absent in ("reason", "ok", "nowhere"):
        assert run.column(absent)[0].shape == run.column(absent)[1].shape == (0,)
    assert run.last == {"examples": 24, "train_loss": 1.0, "valid_loss": 1.5, "reason": "grew", "ok": True}


def test_a_plain_run_describes_itself_as_a_row(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "mine", size=64, plan=plan_json())
    (study,) = load_folders([folder])
    row = study.rows[0]
    last = json.loads((folder / METRICS_FILE).read_text().splitlines()[-1])
    assert row["name"] == "mine" and row["size"] == 64 and row["metric"] == "valid_accuracy"
    assert row["valid_metric"] == last["valid_accuracy"]
    assert row["generalisation_gap"] == pytest.approx(last["valid_loss"] - last["train_loss"])
    assert row["examples_per_second"] == pytest.approx(last["examples"] / last["seconds"])
    assert row["process_memory_bytes"] == 3_000_000 + 4000 * 64 and "peak_memory_bytes" not in row
    assert study.plan is not None and study.plan["bound"] == "optimum"


def test_runs_come_together_and_comparisons_alone(tmp_path: Path, compared: Path) -> None:
    a, b = write_run(tmp_path / "a", size=64), write_run(tmp_path / "b", size=8, status="diverged")
    studies = load_folders([a, compared, b])
    assert [[group.name for group in study.groups] for study in studies] == [["a", "b"], ["full", "64", "1"]]
    assert studies[0].rows[1]["diverged"]


def test_a_run_that_wrote_nothing_yet_is_still_a_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "young", size=64)
    (folder / METRICS_FILE).unlink()
    (study,) = load_folders([folder])
    assert study.groups[0].size == 0 and study.groups[0].label == "young"
    assert valid_metric(study.groups[0].runs) is None


def test_what_is_no_run_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for paths, word in (
        ([], "at least one"),
        ([tmp_path / "absent"], "no such folder"),
        ([tmp_path / "empty"], "neither"),
    ):
        with pytest.raises(ArgumentError, match=word) as caught:
            load_folders(paths)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[]", '{"runs": 3}', '{"runs": [{}]}'])
def test_a_broken_comparison_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / COMPARE_FILE).write_text(content)
    with pytest.raises(ArgumentError, match=r"compare\.json|readable"):
        load_folders([tmp_path])


def test_a_broken_line_and_a_missing_seed_are_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", size=8)
    with open(folder / METRICS_FILE, "a") as file:
        file.write("not json\n")
    with pytest.raises(ArgumentError, match=r"metrics\.jsonl"):
        load_run(folder)
    compared = write_compare(tmp_path / "c", seeds=1)
    (compared / "64-seed0" / RUN_FILE).unlink()
    with pytest.raises(ArgumentError, match="64-seed0"):
        load_folders([compared])


def test_a_label_says_the_size_once() -> None:
    assert Group("1,024", 1024, ()).label == "1,024"
    assert Group("planned", 96, ()).label == "planned (96)"


def test_the_same_runs_under_two_names_are_one_group(tmp_path: Path) -> None:
    folder = write_compare(tmp_path / "c", sizes={"full": 1437, "64": 64, "planned": 64})
    compare = json.loads((folder / COMPARE_FILE).read_text())
    compare["runs"][2]["folders"] = compare["runs"][1]["folders"]
    (folder / COMPARE_FILE).write_text(json.dumps(compare))
    (study,) = load_folders([folder])
    assert [group.label for group in study.groups] == ["full (1,437)", "64 = planned"]
    assert [study.group_of(row) for row in study.rows] == [0, 1, 1]
