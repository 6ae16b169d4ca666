"""What the recipes' `--sizes` makes of its runs, by hand; and the picture of the kept numbers."""

from __future__ import annotations

import json
import math

import numpy as np
import pictures
import pytest
from batch_sizes import add_sizes, climbed, keep, reached, rounded, side_by_side

import ladle


@pytest.mark.parametrize(
    ("path", "level", "seconds"),
    [
        ([(0.0, 3.0), (2.0, 1.0), (4.0, 2.0)], 2.0, 1.0),
        ([(0.0, 3.0), (2.0, 1.0)], 0.5, math.inf),
        ([(0.0, 3.0), (2.0, 3.5), (3.0, 3.5), (4.0, 2.5)], 3.0, 0.0),
        ([], 1.0, math.inf),
    ],
)
def test_a_loss_is_reached_between_two_evaluations(path, level, seconds):
    assert reached(path, level) == seconds


@pytest.mark.parametrize(
    ("best", "most", "tried"),
    [
        (1.0, 4, [0.5, 1, 2]),
        (4.0, 6, [1, 2, 4, 8]),
        (4.0, 3, [1, 2, 4]),
        (0.25, 6, [0.125, 0.25, 0.5, 1, 2]),
    ],
)
@pytest.mark.parametrize("higher", [True, False])
def test_rates_are_doubled_and_halved_until_neither_is_better(best, most, tried, higher):
    sign = -1 if higher else 1
    found = climbed(lambda factor: (sign * abs(math.log(factor / best)), None), higher, most)
    assert sorted(found) == tried


def test_a_sweep_is_kept_beside_others(tmp_path):
    file = tmp_path / "sizes.json"
    found = {"until": "2 epochs", "rows": [{"size": 8, "figure": 1 / 3, "seconds_to": math.inf}]}
    keep("", "topics", "loss", found)
    keep(str(file), "topics", "loss", found)
    keep(str(file), "forecast --net tcn", "loss", found)
    kept = json.loads(file.read_text())
    assert kept["forecast --net tcn"]["command"] == "python recipes/forecast.py --net tcn --sizes --until '2 epochs'"
    assert kept["topics"]["rows"] == [{"size": 8, "figure": 0.3333, "seconds_to": None}]
    assert rounded((1, "a", math.nan)) == [1, "a", None]


def test_a_small_sweep_has_a_row_for_each_size_and_a_panel(tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(96, 3)).astype(np.float32)
    data = ladle.data.arrays(x, x[:, 0] - x[:, 1], name="plane")
    task = ladle.Task(ladle.models.linear(3, 1), "mse", data, optimizer="sgd", lr=lambda seen: 0.02 + 0 * seen, ema=0.5)
    plan = ladle.Plan(8, 8, None, "optimum", (4, 16), ladle.noise.estimate(ladle.Moments()))
    found = side_by_side(task, plan, sizes=[8, 32], until="2 epochs", reference=8, most=2, seeds=2)
    assert [(row["size"], len(row["figures"]), len(row["tried"])) for row in found["rows"]] == [(8, 2, 2), (32, 2, 2)]
    assert found["rows"][1]["rate"] == pytest.approx(0.02 * 2 * 2) and found["plan"]["noise"] is None
    assert all(0 < row["seconds_to"] < math.inf for row in found["rows"])
    assert "which all reached" in capsys.readouterr().out
    file = tmp_path / "sizes.json"
    keep(str(file), "topics", "loss", found)
    picture = pictures.main(["--numbers", str(file), "--out", str(tmp_path / "sizes.png")])
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_the_option_is_none_empty_or_a_file():
    import argparse

    parser = argparse.ArgumentParser()
    add_sizes(parser)
    assert [parser.parse_args(args).sizes for args in ([], ["--sizes"], ["--sizes", "a.json"])] == [None, "", "a.json"]


def test_all_kept_sweeps_have_a_panel():
    kept = json.loads((pictures.HERE / "results" / "sizes.json").read_text())
    assert set(kept) <= set(pictures.TITLES)
    titles = {axes.get_title(loc="left") for axes in pictures.draw_sizes(kept).axes}
    assert {pictures.TITLES[name] for name in kept} <= titles
