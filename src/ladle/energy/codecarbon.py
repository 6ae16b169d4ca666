"""codecarbon, offline: energy modelled from constants and load, and the carbon of a country's grid."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from io import StringIO
from typing import Any

from ladle.core.consumption import Consumption
from ladle.core.errors import ArgumentError, must
from ladle.energy.clock import now, running
from ladle.energy.counters import KWH, Grid

SAMPLE_SECONDS = 1.0
"""How often the model looks at the load."""


@lru_cache
def grid_of(country: str) -> Grid:
    """The yearly mean of a country's grid, from the table that comes with codecarbon.

    - `country`: three letters, ISO 3166-1 alpha-3, such as CHE.

    Raises `ArgumentError` for a country without data: codecarbon itself would take the world's mean and go on.
    """
    try:
        _library()
    except ModuleNotFoundError:
        why, remedy = "its carbon is in the tables of codecarbon", "pip install 'ladle[carbon]'"
        raise ArgumentError(must("country", "be left out without codecarbon", country, why, remedy)) from None
    from codecarbon.input import DataSource  # pyright: ignore[reportMissingImports]

    table, code = DataSource().get_global_energy_mix_data(), country.upper()
    known = {name: row for name, row in table.items() if row.get("carbon_intensity")}
    if code not in known:
        why = "the carbon of its electricity is not in the table"
        raise ArgumentError(must("country", "be an ISO code of three letters", country, why, _alike(country, known)))
    grams, year = known[code]["carbon_intensity"], known[code].get("year", "an unknown year")
    return Grid(grams / 1000, f"{grams:g} g CO2e/kWh, the mean of {known[code]['country_name']}'s grid in {year}")


def _alike(country: str, known: Mapping[str, Any]) -> str:
    """A code for what may have been meant: a country's name, or its two letters."""
    name, two = country.casefold(), country.upper()[:2]
    meant = [code for code, row in known.items() if row["country_name"].casefold() == name]
    meant = meant or [code for code in known if len(country) == 2 and code.startswith(two)]
    return " or ".join(meant[:5]) or "CHE, DEU, USA, ..."


@dataclass
class ModelMeter:
    """Implements `ladle.core.protocols.Meter` by codecarbon's model: power constants times load, no measurement."""

    country: str
    measures: bool = field(default=False, init=False)
    least_seconds: float = field(default=SAMPLE_SECONDS, init=False)
    _tracker: Any = field(default=None, init=False, repr=False)
    _since: tuple[float, float] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        grid_of(self.country)

    def start(self) -> None:
        """Begin; codecarbon looks at the machine for about two seconds first, which are not counted."""
        library = _library()
        with _quiet():
            tracker = library.OfflineEmissionsTracker(
                country_iso_code=self.country.upper(),
                measure_power_secs=SAMPLE_SECONDS,
                save_to_file=False,
                save_to_api=False,
                emissions_endpoint=False,  # None would be looked up in the settings of the user
                allow_multiple_runs=True,
                log_level="critical",
            )
            tracker.start()
        self._tracker, self._since = tracker, now()

    def stop(self) -> Consumption:
        (clock, busy), (begun, idle) = now(), running(self._since)
        tracker, self._tracker, self._since = self._tracker, None, None
        with _quiet():
            tracker.stop()
        used = tracker.final_emissions_data
        joules, grid = used.energy_consumed * KWH, grid_of(self.country)
        method = "codecarbon, the whole machine"
        if joules <= 0:
            return Consumption(clock - begun, busy - idle, method=f"{method}: its model gave nothing")
        assumed = (*_assumptions(tracker, used), grid.assumption)
        return Consumption(clock - begun, busy - idle, joules, "modelled", method, assumed, grid.kg(joules))


def _assumptions(tracker: Any, used: Any) -> tuple[str, ...]:
    """The constants behind the number, as codecarbon has them."""
    said = []
    for part in getattr(tracker, "_hardware", ()):
        tdp, mode = getattr(part, "_tdp", None), getattr(part, "_mode", None)
        if tdp is not None:
            model = getattr(part, "_model", None) or "the processor"
            said.append(f"{tdp:g} W at full load for {model} (mode: {mode})")
    said.append(f"{used.ram_power:g} W for memory")
    if used.gpu_power:
        said.append(f"{used.gpu_power:g} W for GPUs at the end")
    return tuple(said)


@lru_cache(1)
def _library() -> Any:
    with _quiet():
        import codecarbon  # pyright: ignore[reportMissingImports]
    return codecarbon


@contextmanager
def _quiet() -> Iterator[None]:
    """It logs before its level can be set, and libraries that it looks for print to standard output."""
    logger = logging.getLogger("codecarbon")
    before, logger.disabled = logger.disabled, True
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.disabled = before
