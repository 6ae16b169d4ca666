from __future__ import annotations

import json
from pathlib import Path

import pytest

from ladle.core.record import METRICS_FILE, write_json
from ladle.report import write_report
from ladle.report.facts import study_facts
from ladle.report.fakes_test import compare_json, row, write_lines, write_run
from ladle.report.load import load_folders
from ladle.report.table import table, text
from ladle.report.units import FIELD, with_rmse

DATA = {
    "name": "houses",
    "kind": "regression",
    "rows": 32,
    "target": "price",
    "target_mean": 5000.0,
    "target_sd": 200.0,
}


def test_errors_stand_in_the_targets_unit_beside_the_standardised_loss() -> None:
    rows = [row("64", 64, metric="squared_error", valid_metric=0.25, spread={"valid_metric": [0.16, 0.36]})]
    facts = compare_json(rows, data=DATA)
    (made,) = with_rmse(rows, facts)
    assert made[FIELD] == pytest.approx(100.0) and made["spread"][FIELD] == pytest.approx([80.0, 120.0])
    seen = table(rows, facts)
    place = [column.field for column in seen.columns].index(FIELD)
    assert seen.cells[0][place].text == "100" and seen.cells[0][place].spread == "80 to 120"
    assert seen.columns[place].heading == "valid rmse" and "price" in seen.columns[place].hint
    assert "valid rmse: root mean squared error in the unit of price." in text(rows, facts)


@pytest.mark.parametrize(
    ("more", "facts", "expected"),
    [
        ({"metric": "accuracy", "valid_loss": 0.04}, {"data": DATA, "loss": "mse"}, 40.0),
        ({"metric": "accuracy", "valid_squared_error": 0.09}, {"data": DATA}, 60.0),
        ({"metric": "accuracy"}, {"data": DATA}, None),
        ({"metric": "squared_error"}, {"data": {**DATA, "kind": "classification"}}, None),
        ({"metric": "squared_error"}, {"data": {"kind": "regression"}}, None),
        ({"metric": "squared_error"}, {}, None),
        ({"metric": "squared_error", "valid_metric": None}, {"data": DATA}, None),
    ],
)
def test_only_a_squared_error_with_a_known_scale_is_told(more: dict, facts: dict, expected: float | None) -> None:
    (made,) = with_rmse([row("64", 64, **more)], facts)
    assert made.get(FIELD) == (None if expected is None else pytest.approx(expected))


def regression(folder: Path, sd: float, target: str) -> Path:
    write_run(folder, size=8, data={**DATA, "target_sd": sd, "target": target})
    last = {"examples": 64, "updates": 8, "seconds": 1.0, "size": 8, "train_loss": 0.3, "valid_loss": 0.25}
    write_lines(folder / METRICS_FILE, [{**last, "valid_squared_error": 0.25, "valid_absolute_error": 0.4}])
    return folder


def test_a_page_tells_the_target_and_each_run_by_its_own_scale(tmp_path: Path) -> None:
    one, other = regression(tmp_path / "one", 200.0, "price"), regression(tmp_path / "other", 20.0, "rooms")
    alone = write_report(one).read_text()
    assert "price, mean 5,000, sd 200" in alone and ">100<" in alone and "unit of price" in alone
    (study,) = load_folders([one, other])
    assert [line[FIELD] for line in with_rmse(study.rows, study_facts(study))] == pytest.approx([100.0, 10.0])
    assert "target&#x27;s own unit" in write_report([one, other], tmp_path / "both.html").read_text()


def test_a_comparison_page_has_them_too(tmp_path: Path) -> None:
    write_run(tmp_path / "a", size=64)
    mine = row("64", 64, folders=["a"], metric="squared_error", valid_metric=0.25)
    write_json(tmp_path / "compare.json", compare_json([mine], data=DATA))
    page = write_report(tmp_path).read_text()
    assert "valid rmse" in page and "price, mean 5,000, sd 200" in page
    assert json.loads((tmp_path / "compare.json").read_text())["runs"][0].get(FIELD) is None
