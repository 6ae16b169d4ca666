from __future__ import annotations

from pathlib import Path

import pytest

from ladle.report.fakes_test import plan_json, run_info
from ladle.report.load import load_folders
from ladle.report.outcome import held, planned, sentence
from ladle.report.study import RunRecord

LINES = tuple(
    {"examples": 640 * k, "updates": 10 * k, "seconds": 0.002 * k, "size": 64, "memory_bytes": 5e6 + k}
    | {"noise_scale": 60.0 * k, "noise_scale_low": 30.0 * k, "noise_scale_high": 120.0 if k == 1 else None}
    for k in (1, 2)
)


def run(**info: object) -> RunRecord:
    return RunRecord(Path("a"), run_info(**info), LINES)


def test_time_memory_and_noise_stand_beside_what_was_foretold():
    more = [{"name": "memory_predicted_bytes", "value": 2e6}, {"name": "memory_measured_bytes", "value": 3e6}]
    plan = plan_json()
    found = {one.name: one for one in held(plan | {"evidence": plan["evidence"][2:] + more}, [run()], peak_bytes=1e6)}
    update = found["seconds per update, median window"]
    assert update.predicted == pytest.approx(2e-5 + 64e-6) and update.actual == pytest.approx(2e-4)
    assert found["examples per second, median window"].ratio == pytest.approx(1 / (update.ratio or 0))
    assert found["time of all updates"].predicted == pytest.approx(20 * 84e-6)
    assert found["time of all updates"].actual == pytest.approx(0.004)
    assert found["memory of an update"].ratio == 1.5 and found["memory, after the runs"].ratio == 0.5
    assert found["memory in the record"].actual == 5e6 + 2 and found["memory in the record"].ratio is None
    first, last = found["noise scale, first third"], found["noise scale, last third"]
    assert (first.predicted, first.actual, first.ratio, first.actual_ends) == (60, 60, 1, (30, 120))
    assert (last.actual, last.ratio, last.actual_ends, last.ends) == (120, None, (60, None), (45, 80))
    assert sentence(list(found.values())).startswith("Seconds per update, median window: 2.4 times the plan; ")


def test_a_device_counts_its_own_memory():
    plan = {"evidence": [{"name": "memory_predicted_bytes", "value": 2e6}]}
    (one,) = held(plan, [run(hardware={"devices": ["cuda:0 H200"]})])
    assert one.name == "memory in the record" and one.ratio == pytest.approx(2.5, rel=1e-6)


@pytest.mark.parametrize("plan", [{}, {"evidence": None, "noise": None}, {"evidence": [3, {"name": 1}], "size": "x"}])
def test_what_is_missing_stays_out(plan: dict):
    assert held(plan, [run()]) == () and held(plan, []) == ()
    assert held(plan_json(), [RunRecord(Path("a"), {}, ({"examples": 3},))]) == ()
    assert sentence(()).startswith("Nothing")


def test_the_runs_of_a_plan_are_found(tmp_path: Path, compared: Path):
    (study,) = load_folders([compared])
    assert planned(study) == []  # no row of this comparison is the plan's
