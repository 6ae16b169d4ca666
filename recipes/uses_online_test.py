"""The online recipes, cut short: they learn, and river learns the same events."""

from __future__ import annotations

import pytest
from on_data import on_data, recipe


@on_data
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("name", "floor"), [("online_elec2", 0.75), ("online_weather", 0.7)])
def test_a_stream_is_learnt_as_it_comes_beside_river(name: str, floor: float, tmp_path, capsys):
    pytest.importorskip("river")
    found = recipe(name).main(["--until", "3000 examples", "--peer", "--out", str(tmp_path / "run")])
    assert found["events"] == 3000 and found["accuracy"] > floor
    assert all(found[peer] > floor - 0.05 for peer in ("logistic regression", "adaptive random forest"))
    assert (tmp_path / "run" / "metrics.jsonl").is_file()
    assert "river, leveraging bagging" in capsys.readouterr().out
