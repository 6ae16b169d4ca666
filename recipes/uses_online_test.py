"""The online recipes, cut short: they learn, river learns the same events, and a missing folder is one line."""

from __future__ import annotations

import importlib
import os

import pytest

DATA = os.environ.get("LADLE_DATA")
real = pytest.mark.skipif(not DATA, reason="LADLE_DATA names no folder of real data")
NAMES = ["online_elec2", "online_weather"]


def recipe(name: str):
    return importlib.import_module(name)


@real
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("given", ["", "nowhere"], ids=["none", "missing"])
def test_a_folder_without_the_data_is_one_line(name: str, given: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        recipe(name).main(["--data", given])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert error.startswith(f"{name}.py: data must hold") and repr(given) in error
