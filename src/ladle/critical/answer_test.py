from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.record import CRITICAL_FILE
from ladle.critical.answer import Critical, interval, points_of
from ladle.critical.definition import Definition
from ladle.policy.measured_warmup import MeasuredWarmup

ROW = {"factor": 1, "size": 16, "loss": 0.5, "verdict": "the run's own size"}


def answer(examples: int, size: float, low: float, high: float = math.inf) -> Critical:
    made = Definition("B_paired: x", size, low, high, "y")
    return Critical("branches", (ROW,), (made,), ((examples, size, low, high),), {"position": examples}, ("careful",))


def test_measurements_of_one_run_join_into_a_table(tmp_path: Path):
    for name, found in {"late": answer(2000, 64, 32), "early": answer(500, 32, 32)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / CRITICAL_FILE).write_text(json.dumps(found.to_json(), allow_nan=False))
    folders = [tmp_path / "late", tmp_path / "early"]
    assert points_of(folders, "size") == ((500, 32), (2000, 64))
    assert points_of(folders) == ((500, 32), (2000, 32))
    policy = MeasuredWarmup(16, 256, points_of(folders), micro_size=16)
    assert [segment.size for segment in policy.table][-1] == 32
    with pytest.raises(ArgumentError, match=f"{CRITICAL_FILE} is missing"):
        points_of([tmp_path])


def test_steps_to_a_target_have_no_point(tmp_path: Path):
    (tmp_path / CRITICAL_FILE).write_text(json.dumps(Critical("steps to target", (), ()).to_json()))
    with pytest.raises(ArgumentError, match="folders must hold a measurement by branches"):
        points_of([tmp_path])


def test_it_prints_what_is_known_and_never_a_number_without_its_name():
    text = str(answer(500, 32, 16))
    assert text.splitlines()[-2].split() == "B_paired: x 32 at least 16".split()
    assert text.endswith("note: careful")
    assert "<pre>" in answer(1, 2, 1)._repr_html_()
    assert interval(Definition("B", 9, 0, math.inf, "")) == "not bounded by these sizes"
    assert interval(Definition("B", 9, 0, 12, "")) == "at most 12"


@pytest.mark.parametrize(
    ("value", "low", "words"),
    [(math.inf, 900, "above 256, not resolved at least 900"), (0, 0, "below 8, not resolved")],
)
def test_a_size_far_beyond_those_that_reached_the_target_is_words(value: float, low: float, words: str):
    rows = tuple({"size": size, "steps": None if size > 256 else 9.0} for size in (8, 256, 512))
    made = Critical("steps to target", rows, (Definition("Bc", value, low, math.inf, ""),))
    assert " ".join(str(made).splitlines()[-1].split()).startswith(f"Bc {words}")
    assert made.to_json()["definitions"][0]["value"] == (None if value else 0.0)
