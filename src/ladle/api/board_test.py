from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ladle.api.board import WINDOWS, outcome
from ladle.board.follow import Followed
from ladle.board.index import Entry
from ladle.report.load import load_run
from ladle.report.outcome import held

PLAN = {
    "size": 64,
    "noise": {"value": 100.0, "low": 50.0, "high": 200.0, "verdict": "resolved"},
    "evidence": [
        {"name": "examples_per_second", "value": 6400.0, "unit": "examples/s", "source": "measured", "method": "timed"},
        {"name": "memory_predicted_bytes", "value": 1e6, "unit": "bytes", "source": "predicted", "method": "compiled"},
    ],
}


def made(folder: Path, count: int, plan: Any = PLAN) -> tuple[Entry, Followed]:
    lines = [
        {"examples": 64 * i, "updates": i, "seconds": 0.02 * i, "size": 64, "memory_bytes": 2e6 + i, "noise/count": 2.0,
         "noise/trace": 20.0, "noise/square": 1.0, "noise/trace_sq": 202.0, "noise/square_sq": 0.6, "noise/cross": 10.0,
         "noise/examples": 128.0}
        for i in range(1, count + 1)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    info = {"status": "finished", "plan": plan, "hardware": {"devices": ["gpu:0"]}}
    (folder / "run.json").write_text(json.dumps(info))
    run = Followed(folder / "metrics.jsonl")
    run.step()
    return Entry("a", folder, "run", "finished", info=info), run


def test_a_plan_is_held_against_its_record_as_a_report_holds_it(tmp_path: Path):
    rows = outcome(*made(tmp_path, 100))
    report = held(PLAN, [load_run(tmp_path)])
    assert [(one["name"], one["predicted"], one["actual"]) for one in rows] == [
        (one.name, one.predicted, one.actual) for one in report
    ]
    update = next(one for one in rows if one["name"].startswith("seconds per update"))
    assert update["predicted"] == 0.01 and update["ratio"] == pytest.approx(2.0)


def test_a_long_record_keeps_its_pace_and_its_sums(tmp_path: Path):
    rows = {one["name"]: one for one in outcome(*made(tmp_path, 3 * WINDOWS))}
    report = {one.name: one for one in held(PLAN, [load_run(tmp_path)])}
    assert rows.keys() == report.keys()
    for name, one in rows.items():
        assert one["actual"] == pytest.approx(report[name].actual, rel=0.02), name


@pytest.mark.parametrize("plan", [None, [], {}, {"size": "x"}, {"evidence": 3}, {"noise": []}, {"evidence": [{}]}])
def test_a_plan_of_another_form_is_no_reason_to_fail(tmp_path: Path, plan: Any):
    json.dumps(outcome(*made(tmp_path, 20, plan)), allow_nan=False)


def test_nothing_recorded_is_nothing_held(tmp_path: Path):
    assert outcome(*made(tmp_path, 0)) == []
