"""`Consumption`: what a piece of work took from the machine. No number of joules without its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class Consumption:
    """Time, processor time and energy of one piece of work.

    - `seconds`: by the clock. `cpu_seconds`: of this process, all its threads; not of processes that it started.
    - `joules`: None where there is no number. `source`: "measured" (counters in the machine) or "modelled" (guessed
      from constants and load). `method`: what was counted, or why nothing was.
    - `assumptions`: what a modelled number rests on, one sentence each.
    - `kg_co2`: kilograms of CO2 equivalent; always modelled, from the joules and a country's grid.

    Raises `ArgumentError` for a number without a source.

    >>> print(Consumption(2.0, 3.5, method="no counter"))
    energy: not measured (no counter); 3.5 CPU-seconds in 2 s
    >>> print(Consumption(2.0, 3.5, 81.0, "measured", "1 GPU"))
    energy: 81 J (measured: 1 GPU); 3.5 CPU-seconds in 2 s
    """

    seconds: float
    cpu_seconds: float
    joules: float | None = None
    source: Literal["measured", "modelled"] | None = None
    method: str = ""
    assumptions: tuple[str, ...] = ()
    kg_co2: float | None = None

    def __post_init__(self) -> None:
        if (self.joules is None) != (self.source is None):
            why = "energy that nobody measured looks like energy that somebody did"
            raise ArgumentError(must("joules", "come with a source", self.joules, why, "source='measured'"))
        if self.kg_co2 is not None and self.joules is None:
            raise ArgumentError(must("kg_co2", "come with joules", self.kg_co2, "it is computed from them", "joules"))

    def __str__(self) -> str:
        if self.joules is None:
            energy = f"not measured ({self.method})" if self.method else "not measured"
        else:
            energy = f"{self.joules:.4g} J ({self.source}: {self.method})"
        carbon = "" if self.kg_co2 is None else f"; {1000 * self.kg_co2:.3g} g CO2e (modelled)"
        said = "".join(f"\n  assumed: {one}" for one in self.assumptions)
        return f"energy: {energy}{carbon}; {self.cpu_seconds:.3g} CPU-seconds in {self.seconds:.3g} s{said}"

    def to_json(self) -> dict[str, Any]:
        """Facts for `run.json`."""
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "joules": self.joules,
            "source": self.source,
            "method": self.method,
            "assumptions": list(self.assumptions),
            "kg_co2": self.kg_co2,
            "kg_co2_source": None if self.kg_co2 is None else "modelled",
        }
