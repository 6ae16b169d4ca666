"""The federated recipes, cut short: clients learn, and Flower does as the simulation."""

from __future__ import annotations

import pytest
from on_data import on_data, recipe


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_clients_learn_digits():
    found = recipe("federated_digits").main(["--until", "20 rounds"])
    assert found["central"] > 0.85 and found["even-fedavg"] > 0.8
    assert found["even-fedavg-noise"] < found["class-fedavg-noise"]


@on_data
@pytest.mark.slow
@pytest.mark.long
def test_processes_of_flower_do_as_the_simulation():
    pytest.importorskip("flwr", reason="Flower is in an environment of its own")
    found = recipe("federated_flower").main(["--until", "3 rounds", "--clients", "3"])
    assert found["simulated"] == found["flower"]


@on_data
def test_a_budget_that_is_no_number_of_rounds_is_one_line(capsys):
    for name in ("federated_digits", "federated_flower"):
        with pytest.raises(SystemExit):
            recipe(name).main(["--until", "5 epochs"])
        assert "until must be" in capsys.readouterr().err
