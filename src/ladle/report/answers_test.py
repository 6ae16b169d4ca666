from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.core.errors import ArgumentError
from ladle.core.record import ANSWERS_FILE
from ladle.report import write_answers, write_report
from ladle.report.answers import answers_section, measures, sentence
from ladle.report.answers_picture import draw_answers
from ladle.report.fakes_test import write_run
from ladle.report.judged import Judged, load_judged
from ladle.report.load import load_folders


def of_classes(number: int, rows: int = 60) -> Judged:
    rng = np.random.default_rng(number)
    truth = np.arange(rows) % number
    chances = rng.dirichlet(np.ones(number), rows).astype(np.float32)
    chances[np.arange(rows), truth] += 0.5
    chances /= chances.sum(1, keepdims=True)
    names = tuple(f"<b>{name}$" for name in range(number))
    return Judged("validation", names, truth, chances.argmax(1), rows, chances)


def write(folder: Path, **arrays: Any) -> Path:
    made = {"classes": np.array(["no", "yes"]), "valid_truth": np.arange(40) % 2, "valid_answers": np.zeros(40, int)}
    chances = np.tile(np.array([[0.75, 0.25]], np.float32), (40, 1))
    np.savez(folder / ANSWERS_FILE, **{**made, "valid_chances": chances, "valid_of": np.array(90), **arrays})
    return folder


def drawn(figure: Any) -> set[str]:
    return {str(one.get_gid()) for axes in figure.axes for one in (*axes.lines, *axes.images) if one.get_gid()}


def test_two_classes_have_one_curve():
    found = drawn(draw_answers([of_classes(2)]))
    assert found == {"confusion validation", "roc <b>1$", "calibration"}


def test_more_than_ten_classes_show_the_ten_smallest_areas():
    figure = draw_answers([of_classes(13, 260)])
    assert sum(one.startswith("roc ") for one in drawn(figure)) == 10
    assert "the 10 smallest of 13" in " ".join(one.get_text() for axes in figure.axes for one in axes.texts)


def test_cells_hold_counts_and_row_shares():
    part = Judged("test", ("a", "b"), np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), 4)
    texts = [one.get_text() for one in draw_answers([part]).axes[0].texts]
    assert {"2\n67%", "1\n33%", "0", "1\n100%"} <= set(texts)


def test_amounts_are_drawn_with_their_residuals():
    part = Judged("validation", (), np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 2.0]), 3)
    figure = draw_answers([part], unit="price")
    line = {str(one.get_gid()): one for axes in figure.axes for one in axes.lines}
    assert line["residuals validation"].get_ydata().tolist() == [-0.5, 0.0, 1.0]
    assert figure.axes[0].get_xlabel() == "true price"


def test_numbers_in_words():
    part = of_classes(3)
    told = measures(part)
    assert told["accuracy"] == np.mean(part.truth == part.answers)
    assert "area below the ROC" in sentence(part) and "expected calibration error" in sentence(part)
    perfect = Judged("test", ("a", "b"), np.array([0, 1]), np.array([0, 1]), 2)
    assert sentence(perfect) == "2 test rows: accuracy 1.0000."


def test_a_run_shows_what_it_kept_and_how_much_of_it(tmp_path: Path):
    folder = write(write_run(tmp_path / "r", size=64))
    page = write_report(folder).read_text()
    assert "40 validation rows, drawn at random from 90: accuracy 0.5000, area below the ROC 0.5000" in page
    assert "expected calibration error 0.2500. Most often yes is taken for no: 20 rows." in page
    assert write_answers(folder) == folder / "answers.png"


def test_a_run_that_kept_nothing_shows_nothing(tmp_path: Path):
    folder = write_run(tmp_path / "r", size=64)
    assert write_answers(folder) is None
    assert answers_section(load_folders([folder])[0]) == ""


def test_names_of_classes_are_escaped(tmp_path: Path):
    folder = write(write_run(tmp_path / "r", size=64), classes=np.array(["<script>", "&"]))
    assert "&amp; is taken for &lt;script&gt;" in answers_section(load_folders([folder])[0])


@pytest.mark.parametrize(
    "spoil",
    [
        {"valid_answers": np.full(40, 7)},
        {"valid_answers": np.zeros(39, int)},
        {"valid_truth": np.full(40, -1)},
        {"valid_truth": np.full(40, 0.5)},
        {"valid_chances": np.zeros((40, 3), np.float32)},
        {"valid_chances": np.full((40, 2), np.nan, np.float32)},
        {"valid_of": np.array([1, 2])},
        {"classes": np.array([{"no": 1}, "yes"], object)},
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, spoil: dict[str, Any]):
    with pytest.raises(ArgumentError, match=r"hold a sound answers\.npz"):
        load_judged(write(tmp_path, **spoil))


def test_a_cut_file_is_refused(tmp_path: Path):
    path = write(tmp_path) / ANSWERS_FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArgumentError, match="removing answers.npz"):
        load_judged(tmp_path)
