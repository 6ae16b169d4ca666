from __future__ import annotations

from ladle.report.fakes_test import row
from ladle.report.table import metric_name, table, text

ROWS = [row("full", 1437), row("64", 64), row("1", 1)]


def test_the_best_of_each_validation_column_is_marked() -> None:
    made = table(ROWS)
    best = {
        (made.columns[j].field, ROWS[i]["name"])
        for i, cells in enumerate(made.cells)
        for j, c in enumerate(cells)
        if c.best
    }
    assert best == {("valid_loss", "64"), ("valid_metric", "64")}


def test_more_is_better_for_accuracy_and_less_for_errors() -> None:
    rows = [
        row("a", 1, valid_metric=0.2, metric="valid_squared_error"),
        row("b", 2, valid_metric=0.4, metric="valid_squared_error"),
    ]
    made = table(rows)
    place = [c.field for c in made.columns].index("valid_metric")
    assert [cells[place].best for cells in made.cells] == [True, False]
    assert made.columns[place].heading == "valid squared_error"


def test_a_diverged_run_wins_nothing_and_says_so() -> None:
    rows = [row("64", 64), row("1", 1, diverged=True, valid_loss=0.0001, train_loss=None), row("8", 8, valid_loss=0.5)]
    made = table(rows)
    fields = [c.field for c in made.columns]
    assert made.cells[0][fields.index("valid_loss")].best
    assert [made.cells[1][fields.index(f)].text for f in ("train_loss", "valid_loss", "sharpness")] == [
        "diverged",
        "-",
        "-",
    ]
    assert "Diverged: 1." in made.notes


def test_text_is_aligned_and_complete() -> None:
    lines = text(ROWS).splitlines()
    head, body = lines[0], lines[1:4]
    for word in (
        "size",
        "micro x acc",
        "examples/s",
        "valid accuracy",
        "gap",
        "grad var",
        "sharpness",
        "peak memory",
        "busy",
    ):
        assert word in head
    assert "1,024 x 2" in body[0] and "0.1100*" in body[1] and "43,110" in body[2]
    ends = {line.index(word) + len(word) for line, word in zip(body, ("90 %", "90 %", "90 %"), strict=True)}
    assert len(ends) == 1
    assert lines[4:] == ["* best on validation data", "Means over 3 seeds."]


def test_nothing_measured_leaves_no_column_and_one_row_no_winner() -> None:
    made = table([{"name": "64", "size": 64, "valid_loss": 0.5, "sharpness": None, "lr": float("nan")}])
    assert [c.heading for c in made.columns] == ["batch", "size", "valid loss"]
    assert not any(cell.best for cell in made.cells[0])
    assert metric_name([{"name": "64"}]) == "metric"
    assert text([{"name": "64"}]).splitlines() == ["batch", "64"]


def test_seeds_show_as_a_range() -> None:
    made = table([row("64", 64, spread={"valid_loss": [0.1, 0.125]}), row("1", 1, seeds=2)])
    place = [c.field for c in made.columns].index("valid_loss")
    assert made.cells[0][place].spread == "0.1000 to 0.1250"
    assert made.notes == ("Means over 2 to 3 seeds.",)
    single = table([row("64", 64, seeds=1)])
    assert not any(cell.spread for cell in single.cells[0]) and single.notes == ()
