from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ladle.report.direction import direction
from ladle.report.facts import study_facts
from ladle.report.fakes_test import compare_json, row, write_run
from ladle.report.fragments import size_table
from ladle.report.load import load_folders
from ladle.report.search import text as search_text
from ladle.report.table import table, text

ROWS = [
    row("a", 8, metric="hits", valid_metric=0.9, valid_loss=0.3),
    row("b", 64, metric="hits", valid_metric=0.2, valid_loss=0.1),
]


def best(facts: dict[str, Any] | None) -> set[tuple[str, str]]:
    """`(field, row)` of every cell that is called best."""
    made = table(ROWS, facts)
    return {
        (column.field, str(ROWS[i]["name"]))
        for i, cells in enumerate(made.cells)
        for column, cell in zip(made.columns, cells, strict=True)
        if cell.best
    }


@pytest.mark.parametrize(
    ("stated", "winner"),
    [("higher", {("valid_metric", "a")}), ("lower", {("valid_metric", "b")}), (None, set()), ("sideways", set())],
)
def test_a_metric_is_ranked_as_it_states_and_not_at_all_where_it_does_not(stated: str | None, winner: set) -> None:
    facts = compare_json(ROWS, directions={"hits": stated, "loss": "lower"})
    assert best(facts) == {("valid_loss", "b")} | winner
    said = "valid hits did not state its direction: nothing is called best by it."
    assert (said in text(ROWS, facts)) is (not winner)
    assert (said in size_table(table(ROWS, facts), ["red", "blue"])) is (not winner)
    assert text(ROWS, facts).count("*") == 2 + len(winner)  # the marks, and the line that explains them


def test_an_old_record_is_read_by_name() -> None:
    assert best(None) == {("valid_loss", "b")}  # hits says nothing
    assert direction("valid_top5", {}) == "higher" and direction("squared_error", {}) == "lower"
    assert direction("accuracy", {"directions": {"accuracy": None}}) is None  # the record is believed
    assert direction("accuracy", {"directions": {"loss": "lower"}}) == "higher"


def test_runs_that_state_different_directions_state_none(tmp_path: Path) -> None:
    def facts(*ways: str | None) -> dict[str, Any]:
        names = [tmp_path / "-".join(map(str, (*ways, k))) for k in range(len(ways))]
        for name, way in zip(names, ways, strict=True):
            write_run(name, size=8, directions={"accuracy": way})
        return study_facts(load_folders(names)[0])

    assert direction("accuracy", facts("higher", "higher")) == "higher"
    assert direction("accuracy", facts("higher", "lower")) is direction("accuracy", facts("higher", None)) is None


def test_runs_of_different_metrics_are_not_ranked_by_them() -> None:
    rows = [row("a", 8, metric="accuracy", valid_metric=0.9), row("b", 64, metric="squared_error", valid_metric=0.2)]
    made = table(rows)
    place = [column.field for column in made.columns].index("valid_metric")
    assert not any(cells[place].best for cells in made.cells)
    assert "The runs measured different metrics." in made.notes


def test_a_search_by_a_metric_without_direction_has_no_best() -> None:
    candidate = {"lr": 0.1, "mean": 0.5, "se": 0.1, "seconds": 1.0, "updates": 9, "complete": True}
    rows = [{**candidate, "size": 8}, {**candidate, "size": 64}]
    found = {"metric": "valid_hits", "best": 0, "chosen": 1, "prefer": "seconds", "folds": 3, "seeds": 2}
    found["candidates"] = rows
    made = search_text(found)
    assert "*" not in made and made.splitlines()[2].startswith(">")
    assert "valid hits did not state its direction" in made and "means over 3 folds, 2 seeds" in made
    stated = search_text({**found, "directions": {"hits": "higher"}})
    assert stated.splitlines()[1].lstrip().startswith("*") and "best mean" in stated
