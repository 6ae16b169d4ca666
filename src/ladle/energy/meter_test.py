from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ladle.core.consumption import Consumption
from ladle.core.errors import ArgumentError
from ladle.energy import counters
from ladle.energy.clock import ClockMeter
from ladle.energy.codecarbon import ModelMeter, _library, grid_of
from ladle.energy.counters import Counter, CounterMeter, Grid
from ladle.energy.meter import best_meter
from ladle.energy.zeus import cpu_counters, gpu_counters


@dataclass
class Machine:
    """What a made-up `zeus.device` finds: `None` for GPUs or packages that raise, as zeus does where there are none."""

    gpus_mj: list[float] | None = None
    packages: list[Any] | None = None
    supported: bool = True
    error: type[Exception] = field(default=Exception)

    def get_gpus(self) -> Any:
        if self.gpus_mj is None:
            raise self.error("NVML and AMDSMI unavailable.\nFailed to initialize")
        return self

    def get_cpus(self) -> Any:
        if self.packages is None:
            raise self.error("RAPL unavailable")
        return type("CPUs", (), {"cpus": self.packages, "__len__": lambda me: len(me.cpus)})()

    def __len__(self) -> int:
        return len(self.gpus_mj or [])

    def supports_get_total_energy_consumption(self, index: int) -> bool:
        return self.supported

    def get_total_energy_consumption(self, index: int) -> float:
        assert self.gpus_mj is not None
        self.gpus_mj[index] += 5000.0
        return self.gpus_mj[index]


def rapl(folder: Path, name: str, joules: float = 1.0, wraps_at: float = 100.0) -> SimpleNamespace:
    """A RAPL file of zeus: where it is, what it is called and where it wraps."""
    path = folder / f"{name}_uj"
    path.write_text(f"{joules * 1e6:.0f}\n")
    return SimpleNamespace(name=name, energy_uj_path=str(path), max_energy_range_uj=wraps_at * 1e6)


@pytest.fixture
def zeus(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that zeus finds; nothing on it unless the test says so."""
    exception, package = ModuleType("zeus.exception"), ModuleType("zeus")
    exception.ZeusBaseError = type("ZeusBaseError", (Exception,), {})  # type: ignore[attr-defined]
    machine = Machine(error=exception.ZeusBaseError)
    package.device = machine  # type: ignore[attr-defined]
    for name, module in (("zeus", package), ("zeus.device", machine), ("zeus.exception", exception)):
        monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    return machine


@pytest.fixture
def codecarbon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A codecarbon that knows one country and models 2 Wh of everything."""
    library, tables = ModuleType("codecarbon"), ModuleType("codecarbon.input")
    table = {"CHE": {"carbon_intensity": 35.0, "country_name": "Switzerland", "year": 2023}}
    tables.DataSource = lambda: SimpleNamespace(get_global_energy_mix_data=lambda: table)  # type: ignore[attr-defined]
    part = SimpleNamespace(_tdp=8, _mode="cpu_load", _model="Made-up 1")
    used = SimpleNamespace(energy_consumed=0.002, ram_power=20.0, gpu_power=0.0)
    library.OfflineEmissionsTracker = lambda **_: SimpleNamespace(  # type: ignore[attr-defined]
        start=lambda: None, stop=lambda: None, final_emissions_data=used, _hardware=[SimpleNamespace(), part]
    )
    monkeypatch.setitem(sys.modules, "codecarbon", library)
    monkeypatch.setitem(sys.modules, "codecarbon.input", tables)
    yield
    grid_of.cache_clear()
    _library.cache_clear()


def used_by(meter: Any) -> Consumption:
    meter.start()
    return meter.stop()


def test_without_counters_there_is_no_number_and_the_reason_is_given(zeus: Machine):
    assert gpu_counters() == ([], "NVML and AMDSMI unavailable.")
    used = used_by(best_meter())
    assert (used.joules, used.source, used.method) == (None, None, "RAPL unavailable")
    assert "not measured (RAPL unavailable)" in str(used) and used.seconds > 0 and used.cpu_seconds >= 0


def test_without_zeus_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "zeus", None)
    meter = best_meter(accelerator=True)
    assert isinstance(meter, ClockMeter) and "pip install 'ladle[energy]'" in meter.why


def test_gpus_count_for_an_accelerator_and_not_for_the_processor(zeus: Machine):
    zeus.gpus_mj = [1000.0, 7.0]
    used = used_by(best_meter(accelerator=True))
    assert (used.joules, used.source) == (10.0, "measured")
    assert used.method == "counters of GPU 0, GPU 1; processor not counted: RAPL unavailable"
    assert best_meter().measures is False


def test_a_sum_over_some_of_the_gpus_is_no_measurement(zeus: Machine):
    zeus.gpus_mj, zeus.supported = [1.0], False
    assert best_meter(accelerator=True).measures is False


def test_packages_and_memory_are_read_and_the_platform_is_left_out(zeus: Machine, tmp_path: Path):
    dram = rapl(tmp_path, "dram")
    zeus.packages = [
        SimpleNamespace(rapl_file=rapl(tmp_path, "package-0", 90.0), dram=dram),
        SimpleNamespace(rapl_file=rapl(tmp_path, "psys"), dram=None),
    ]
    meter = best_meter()
    meter.start()
    rapl(tmp_path, "package-0", 20.0), rapl(tmp_path, "dram", 3.0)
    used = meter.stop()
    assert used.joules == pytest.approx(30 + 2) and used.method == "counters of processor 0, memory 0"


def test_a_processor_behind_the_daemon_is_asked_there(zeus: Machine):
    reads = iter([(1000, None), (1000, None), (4000, 500)])

    def read() -> Any:
        cpu, dram = next(reads)
        return SimpleNamespace(cpu_mj=cpu, dram_mj=dram)

    zeus.packages = [SimpleNamespace(get_total_energy_consumption=read)]
    assert used_by(best_meter()).joules == pytest.approx(3.5)


def test_a_counter_that_may_not_be_read_is_none(zeus: Machine, tmp_path: Path):
    gone = rapl(tmp_path, "package-0")
    Path(gone.energy_uj_path).unlink()
    zeus.packages = [SimpleNamespace(rapl_file=gone, dram=None)]
    found, why = cpu_counters()
    assert found == [] and "No such file" in why


def test_a_counter_that_stands_still_is_no_measurement():
    used = used_by(CounterMeter([Counter("a", lambda: 3.0)], "a"))
    assert used.joules is None and used.method == "a: the counters did not move"


def test_joules_are_told_on_the_way_and_counted_once():
    reads = iter([1.0, 1.0, 4.0, 9.0])
    meter = CounterMeter([Counter("a", lambda: next(reads))], "a")
    meter.start()
    assert (meter.so_far(), meter.so_far()) == (None, 3.0), "a counter that stood still has measured nothing"
    assert meter.stop().joules == 8.0
    with pytest.raises(ArgumentError, match="meter must be started"):
        meter.so_far()


def test_a_counter_that_fails_on_the_way_tells_no_more():
    reads = iter([1.0, 4.0])
    meter = CounterMeter([Counter("a", lambda: next(reads))], "a")
    meter.start()
    assert (meter.so_far(), meter.so_far()) == (3.0, None)
    assert meter.stop().joules is None


@pytest.mark.parametrize("reads", [0, 1], ids=["at the start", "at the end"])
def test_a_counter_that_fails_is_said_and_fails_nothing_else(reads: int):
    left = iter([3.0] * reads)

    def read() -> float:
        for joules in left:
            return joules
        raise OSError(5, "Input/output error\nof the driver")

    used = used_by(meter := CounterMeter([Counter("a", read)], "a"))
    assert used.joules is None and used.method == "a: they could not be read: [Errno 5] Input/output error"
    left = iter([1.0, 4.0])
    assert used_by(meter).joules == 3.0, "the next piece of work is measured again"


def test_a_counter_that_fails_on_the_way_does_not_end_in_the_thread_that_watches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counters, "WATCH_SECONDS", 1e-4)
    failed, reads = threading.Event(), iter([1.0])

    def read() -> float:
        for joules in reads:
            return joules
        failed.set()
        raise OSError("gone")

    meter = CounterMeter([Counter("a", read)], "a")
    meter.start()
    assert failed.wait(10)
    reads = iter([9.0])
    assert meter.stop().method == "a: they could not be read: gone"


def test_carbon_is_joules_times_the_grid_and_always_modelled(zeus: Machine, codecarbon: None):
    zeus.gpus_mj = [0.0]
    used = used_by(best_meter("che", accelerator=True))
    assert (used.joules, used.source, used.kg_co2) == (5.0, "measured", pytest.approx(5 / 3.6e6 * 0.035))
    assert used.assumptions == ("35 g CO2e/kWh, the mean of Switzerland's grid in 2023",)
    assert used.to_json()["kg_co2_source"] == "modelled"


def test_a_model_is_labelled_and_says_what_it_assumes(zeus: Machine, codecarbon: None):
    meter = best_meter("CHE")
    used = used_by(meter)
    assert isinstance(meter, ModelMeter) and meter.measures is False
    assert (used.joules, used.source) == (pytest.approx(7200.0), "modelled")
    assert used.assumptions[:2] == ("8 W at full load for Made-up 1 (mode: cpu_load)", "20 W for memory")
    assert used.kg_co2 == pytest.approx(0.002 * 0.035) and "(modelled)" in str(used)


@pytest.mark.parametrize(("country", "meant"), [("XXX", "CHE, DEU"), ("switzerland", "try CHE"), ("CH", "try CHE")])
def test_a_country_without_data_is_refused(codecarbon: None, country: str, meant: str):
    with pytest.raises(ArgumentError, match=f"country must be an ISO code of three letters; got .*{meant}"):
        best_meter(country)


def test_a_country_without_codecarbon_is_refused(monkeypatch: pytest.MonkeyPatch):
    _library.cache_clear()
    grid_of.cache_clear()
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(ArgumentError, match=re.escape("try pip install 'ladle[carbon]'")):
        best_meter("CHE")


@pytest.mark.parametrize("meter", [ClockMeter(), CounterMeter([], "none")], ids=["clock", "counters"])
def test_a_meter_that_was_not_started_is_refused(meter: Any):
    with pytest.raises(ArgumentError, match="meter must be started"):
        meter.stop()


def test_no_number_goes_without_its_source():
    with pytest.raises(ArgumentError, match="joules must come with a source"):
        Consumption(1.0, 1.0, 5.0)
    with pytest.raises(ArgumentError, match="kg_co2 must come with joules"):
        Consumption(1.0, 1.0, kg_co2=5.0)


def test_the_grid_is_per_kilowatt_hour():
    assert Grid(0.5, "").kg(7.2e6) == pytest.approx(1.0)
