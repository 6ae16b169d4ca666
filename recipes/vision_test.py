"""The recipes on images that are not classified, cut short: the figure moves as it should, and judges are right."""

from __future__ import annotations

import os

import cells
import nuclei
import numpy as np
import pytest
import vae

DATA = os.environ.get("LADLE_DATA")
on_data = pytest.mark.skipif(not DATA, reason="LADLE_DATA does not name the folder of the data sets")


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_nuclei_are_found_beyond_a_threshold(tmp_path, capsys):
    found = nuclei.main(["--until", "1 epochs", "--out", str(tmp_path / "run")])
    assert found["otsu_iou"] == pytest.approx(0.806, abs=1e-3)
    assert found["iou"] > 0.6 and found["dice"] > found["iou"]
    assert (tmp_path / "run" / "run.json").is_file() and "260 crops" in capsys.readouterr().out


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_cells_are_found_on_a_grid():
    found = cells.main(["--until", "6 epochs"])
    assert found["map"] > 0.1


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_digits_are_coded_in_twenty_numbers():
    found = vae.main(["--until", "1 epochs"])
    assert 90 < found["bound"] < found["elbo"] < 150 and found["error"] < 0.05


def test_a_detector_that_answers_the_truth_finds_all_cells():
    boxes = [
        np.array([[0, 30, 40, 24, 20], [2, 90, 50, 9, 9]], np.float32),
        np.array([[0, 80, 60, 30, 30]], np.float32),
    ]
    grid = cells.on_grid(boxes)
    true = np.concatenate([np.where(grid[..., :3] > 0, 5.0, -5.0), grid[..., 4:]], axis=-1)
    found = cells.precisions(true, boxes)
    assert (found["RBC"], found["Platelets"]) == (1.0, 1.0)
    wrong = true.copy()
    wrong[1, ..., 3:5] += 9  # Of two red cells the second is answered nine places away.
    assert cells.precisions(wrong, boxes)["RBC"] == 0.5


def test_of_answers_that_overlap_the_best_is_left():
    outputs = np.full((15, 20, 7), -9.0)
    outputs[..., 3:] = 0
    outputs[5, 5:7, 0] = 2, 1
    outputs[12, 12, 0] = 3
    scores, boxes = cells.found_of(outputs, 0)
    assert scores[:2].tolist() == [3, 2] and boxes[:2, :2].tolist() == [[96, 96], [40, 40]]
    assert scores[2] < 0


def test_a_mirrored_picture_has_its_boxes_where_its_cells_are():
    boxes = [np.array([[1, 30, 42, 24, 20]], np.float32)]
    turned = [np.array([[1, 160 - 30, 120 - 42, 24, 20]], np.float32)]
    row = {"x": np.zeros((120, 160, 3), np.uint8), "y": cells.on_grid(boxes)[0]}
    row["x"][40, 30] = 200
    made = [cells.mirrored(row, np.array([1, k], np.uint32)) for k in range(20)]
    both = [one for one in made if one["x"][79, 129, 0]]
    assert both and len(both) < 20
    there = cells.on_grid(turned)[0]
    for one in both:
        np.testing.assert_allclose(one["y"] * one["y"][..., 3:4], there, atol=1e-6)


def test_otsu_parts_two_shades():
    image = np.where(np.arange(64).reshape(1, 8, 8) % 5 == 0, 200, 30).astype(np.uint8)
    np.testing.assert_array_equal(nuclei.otsu(image), image == 200)
