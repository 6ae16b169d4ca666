"""The federated recipes, cut short: clients learn, Flower does as the simulation, and one line without the data."""

from __future__ import annotations

import importlib
import os

import pytest

DATA = os.environ.get("LADLE_DATA")
real = pytest.mark.skipif(not DATA, reason="LADLE_DATA names no folder of real data")


def recipe(name: str):
    return importlib.import_module(name)


@real
@pytest.mark.slow
@pytest.mark.long
def test_clients_learn_digits():
    found = recipe("federated_digits").main(["--until", "20 rounds"])
    assert found["central"] > 0.85 and found["even-fedavg"] > 0.8
    assert found["even-fedavg-noise"] < found["class-fedavg-noise"]


@real
@pytest.mark.slow
@pytest.mark.long
def test_processes_of_flower_do_as_the_simulation():
    pytest.importorskip("flwr", reason="Flower is in an environment of its own")
    found = recipe("federated_flower").main(["--until", "3 rounds", "--clients", "3"])
    assert found["simulated"] == found["flower"]


@pytest.mark.parametrize("name", ["federated_digits", "federated_flower"])
@pytest.mark.parametrize("given", ["", "nowhere"], ids=["none", "missing"])
def test_a_folder_without_the_data_is_one_line(name, given, capsys):
    with pytest.raises(SystemExit) as ended:
        recipe(name).main(["--data", given])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert error.startswith(f"{name}.py: data must hold mnist/; got {given!r}")


@real
def test_a_budget_that_is_no_number_of_rounds_is_one_line(capsys):
    for name in ("federated_digits", "federated_flower"):
        with pytest.raises(SystemExit):
            recipe(name).main(["--until", "5 epochs"])
        assert "until must be" in capsys.readouterr().err
