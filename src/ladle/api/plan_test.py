from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.core.consumption import Consumption
from ladle.core.errors import ArgumentError
from ladle.energy import codecarbon


@dataclass
class FakeMeter:
    """Counts 5 J for whatever is done between its start and its stop, every time."""

    measures: bool = True
    least_seconds: float = 0.0
    asked: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.asked.append("start")

    def stop(self) -> Consumption:
        self.asked.append("stop")
        return Consumption(1.0, 1.0, 5.0, "measured" if self.measures else "modelled", "a fake")


@pytest.fixture(scope="module")
def plane() -> Assembly:
    x = np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)
    data = ladle.data.arrays(x, 2 * x[:, 0] - x[:, 1] + 3.0, name="plane")
    return assemble(ladle.Task(ladle.models.linear(2, 1), "mse", data, optimizer="sgd", lr=0.1))


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A codecarbon with one country."""
    tables, table = ModuleType("codecarbon.input"), {"CHE": {"carbon_intensity": 36.0, "country_name": "Switzerland"}}
    tables.DataSource = lambda: SimpleNamespace(get_global_energy_mix_data=lambda: table)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", ModuleType("codecarbon"))
    monkeypatch.setitem(sys.modules, "codecarbon.input", tables)
    yield
    codecarbon.grid_of.cache_clear()
    codecarbon._library.cache_clear()


@pytest.mark.long
@pytest.mark.slow  # a whole plan
def test_a_plan_for_energy_asks_the_meter_and_its_carbon_is_modelled(plane: Assembly, grid: None):
    meter = FakeMeter()
    made = ladle.plan(plane, minimize="energy", country="CHE", meter=meter)
    sources = {e.name: e.source for e in made.evidence}
    assert {sources[name] for name in ("fixed_joules", "per_example_joules", "joules")} == {"measured"}
    joules, carbon = made.number("joules"), made.number("kg_co2")
    assert joules is not None and joules.value == 5.0
    assert carbon is not None and carbon.source == "modelled"
    assert carbon.value == pytest.approx(5 / 3.6e6 * 0.036)
    assert "50 micrograms of CO2e an update (modelled: 36 g CO2e/kWh" in made.explain()
    assert meter.asked.count("start") == meter.asked.count("stop") > 3


@pytest.mark.parametrize("goal", ["energy", "cost"])
def test_energy_is_never_minimised_by_a_model(plane: Assembly, goal: str):
    meter = FakeMeter(measures=False)
    with pytest.raises(ArgumentError, match=re.escape("energy must be measured to be minimised")):
        ladle.plan(plane, minimize=goal, meter=meter)  # type: ignore[arg-type]
    assert meter.asked == [], "refused before any work"
