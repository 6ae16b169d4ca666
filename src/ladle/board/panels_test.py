from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ladle.board.follow import Followed
from ladle.board.panels import PANELS, Drawn, Panel, Source, columns, draw, extent, value_ends
from ladle.board.series import Series

BY_KEY = {one.key: one for one in PANELS}


def followed(path: Path, *, loss: float = 1.0, count: int = 50, **more: Any) -> Followed:
    lines = [{"examples": 0, "updates": 0, "seconds": 0.0, "valid_loss": 3 * loss, "valid_accuracy": 0.1}]
    for i in range(1, count):
        lines.append(
            {"examples": 64 * i, "updates": i, "seconds": 0.5 * i, "size": 64 if i < 30 else 128, "lr": 0.1,
             "train_loss": loss / i, "valid_loss": loss / i + 0.1, "memory_bytes": 5e8, "data_wait_fraction": 0.25,
             "grad_norm": 1.0, "examples_per_second": 128.0, "noise/count": 1, "noise/trace": 10.0 + i % 3,
             "noise/square": 0.5, "noise/trace_sq": 100.0, "noise/square_sq": 0.25, "noise/cross": 5.0,
             "noise/examples": 64, **more}
            | ({"reason": "twice the size"} if i == 30 else {})
        )  # fmt: skip
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    run = Followed(path)
    run.step()
    return run


@pytest.fixture
def runs(tmp_path: Path) -> list[Source]:
    return [Source(f"r{i}", followed(tmp_path / f"{i}.jsonl", loss=1.0 + i)) for i in range(3)]


def test_every_panel_draws_what_the_record_has_on_every_axis(runs: list[Source]):
    for axis in ("examples", "updates", "seconds"):
        drawn = {key: draw(one, [("a", runs[:1]), ("b", runs[1:2])], axis) for key, one in BY_KEY.items()}
        assert [key for key, one in drawn.items() if one.empty] == ["energy"]
        assert drawn["loss"].lines["dash"] == ["solid", "5 3"] * 2
        assert drawn["loss"].lines["group"] == [0, 0, 1, 1]
        assert [one.tolist() for one in drawn["memory"].lines["ys"]] == [[500.0] * 49] * 2
        for one in drawn.values():
            for given in (one.lines, one.bands, one.points):
                assert len({len(column) for column in given.values()}) == 1
            for x, y in zip(one.lines["xs"], one.lines["ys"], strict=True):
                assert x.shape == y.shape and (np.diff(x) >= 0).all()
    assert draw(BY_KEY["energy"], [("a", [Source("a", runs[0].run)])], "examples").empty


def test_energy_is_drawn_where_it_is_recorded(tmp_path: Path):
    run = followed(tmp_path / "e.jsonl", joules=3.0)
    assert not draw(BY_KEY["energy"], [("e", [Source("e", run)])], "seconds").empty


def test_decisions_are_marked_where_they_took_effect(runs: list[Source]):
    drawn = draw(BY_KEY["size"], [("a", runs[:1])], "updates")
    assert drawn.points["x"] == [29.0] and drawn.points["text"] == ["twice the size"]
    assert drawn.points["marker"] == ["inverted_triangle"]
    outside = draw(BY_KEY["size"], [("a", runs[:1])], "updates", span=(0.0, 10.0))
    assert outside.points["x"] == []


def test_seeds_are_one_line_with_their_range(runs: list[Source]):
    drawn = draw(BY_KEY["loss"], [("all", runs)], "examples")
    assert len(drawn.lines["xs"]) == 2 and len(drawn.bands["xs"]) == 2
    half = len(drawn.bands["ys"][1]) // 2
    low, high = drawn.bands["ys"][1][:half], drawn.bands["ys"][1][half:][::-1]
    np.testing.assert_allclose(high, 3 * low)
    np.testing.assert_allclose(drawn.lines["ys"][1], 2 * low)
    assert drawn.ends == [("all", pytest.approx(2 / 49 + 0.1))]


def test_the_metric_is_the_one_that_these_runs_have(runs: list[Source]):
    assert columns(BY_KEY["metric"], [runs[0].run]) == ("valid_accuracy", "train_accuracy")
    assert columns(BY_KEY["metric"], []) == ()


def test_the_axis_reaches_as_far_as_the_longest_run(runs: list[Source], tmp_path: Path):
    longer = Source("l", followed(tmp_path / "l.jsonl", count=80))
    assert extent([("a", runs), ("l", [longer])], "updates") == (0.0, 79.0)
    assert extent([], "examples") == (0.0, 1.0)
    assert extent([("none", [Source("n", Followed(tmp_path / "none.jsonl"))])], "seconds") == (0.0, 1.0)


def test_values_have_room_and_bands_do_not_take_it_all():
    drawn = Drawn()
    assert value_ends(drawn, log=True) == (1.0, 10.0)
    x, y = np.array([0.0, 1.0]), np.array([1.0, 2.0])
    drawn.line(0, "a", Series(x, y, y - 100, y + 100))
    low, high = value_ends(drawn, log=False)
    assert low == pytest.approx(0.5 - 0.12) and high == pytest.approx(2.5 + 0.12)
    flat = Drawn()
    flat.line(0, "a", Series(x, np.array([64.0, 64.0])))
    assert value_ends(flat, log=False) == pytest.approx((57.6, 70.4))
    flat.line(0, "zero", Series(x, np.array([0.0, -1.0])))
    assert value_ends(flat, log=True) == pytest.approx((64 / 10**0.1, 64 * 10**0.1))


def test_an_open_band_is_drawn_where_both_ends_are_known():
    drawn = Drawn()
    x = np.arange(5.0)
    drawn.line(0, "a", Series(x, x, x - 1, np.array([1.0, np.nan, 3.0, 4.0, 5.0])))
    assert [len(one) for one in drawn.bands["xs"]] == [2, 6]


def test_panels_have_names_of_their_own():
    assert len(BY_KEY) == len(PANELS) and all(isinstance(one, Panel) for one in PANELS)
