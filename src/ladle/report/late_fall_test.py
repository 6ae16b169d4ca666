from __future__ import annotations

import json
from pathlib import Path

import pytest

from ladle.core.record import COMPARE_FILE, METRICS_FILE, write_json
from ladle.report import write_report
from ladle.report.checks import study_findings
from ladle.report.fakes_test import write_compare, write_lines
from ladle.report.late_fall import FIELD, late_fall, with_late_falls
from ladle.report.load import load_compare
from ladle.report.study import Group, RunRecord


def run(*points: tuple[float, float | None]) -> RunRecord:
    return RunRecord(Path("a"), {}, tuple({"examples": x, "valid_loss": y} for x, y in points))


def test_the_end_is_the_last_quarter() -> None:
    falls = [(0, 9.0), (50, 3.0), (75, 2.0), (76, 1.9), (100, 1.5)]
    assert late_fall(Group("8", 8, (run(*falls),))) == pytest.approx(0.5)
    assert late_fall(Group("8", 8, (run((0, 9.0), (100, 1.5)),))) == pytest.approx(7.5)
    assert late_fall(Group("8", 8, (run((0, 1.0), (100, 1.5)),))) == pytest.approx(-0.5)


def test_it_is_a_mean_over_seeds_and_unknown_where_one_cannot_tell() -> None:
    one, other = run((0, 2.0), (100, 1.0)), run((0, 2.0), (100, 0.0))
    assert late_fall(Group("8", 8, (one, other))) == pytest.approx(1.5)
    for blind in (run(), run((100, 1.0)), run((80, 2.0), (100, 1.0)), run((0, None), (100, 1.0))):
        assert late_fall(Group("8", 8, (one, blind))) is None
    assert late_fall(Group("8", 8, ())) is None


def test_verdicts_of_a_folder_know_how_its_runs_ended(tmp_path: Path) -> None:
    folder = write_compare(tmp_path / "c", sizes={"full": 1437, "64": 64})
    compare = json.loads((folder / COMPARE_FILE).read_text())
    for row in compare["runs"]:
        row |= {"lr": 0.1, "lr_sweep": [[0.01, 1.0], [0.1, 0.5], [1.0, 1.0]]}
    compare["runs"][0]["spread"]["valid_loss"] = [0.40, 0.44]
    write_json(folder / COMPARE_FILE, compare)
    (slow, quick) = with_late_falls(load_compare(folder))["runs"]
    assert abs(slow[FIELD]) < 0.03 and abs(quick[FIELD]) < 0.03  # what exp(-k / 6) loses from k = 30 to 40
    assert study_findings(load_compare(folder))[0].verdict == "does not"
    for seed in range(3):  # the same ends, reached from above in the last quarter
        path = folder / f"full-seed{seed}" / METRICS_FILE
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        for line in lines[: 3 * len(lines) // 4]:
            line["valid_loss"] = 2.0
        write_lines(path, lines)
    finding = study_findings(load_compare(folder))[0]
    assert finding.verdict == "not resolved" and "The budget may have decided" in finding.sentence
    assert "The budget may have decided" in write_report(folder).read_text()
