"""The learning rate of a size where nobody chose one: measured, by a race of rates at that size."""

from __future__ import annotations

from collections.abc import Mapping

from ladle.api.assembly import Assembly
from ladle.api.racetrack import Racetrack
from ladle.core.duration import Until
from ladle.core.protocols import Probe
from ladle.core.spec import BatchSpec
from ladle.planner.rate_finding import RateFinding
from ladle.planner.tryout import Tryout, try_rates

SECONDS = 5.0
"""For trying rates at one size of a run or a comparison, compiling apart."""


def tryout_of(
    assembly: Assembly, until: str | Until | None, seconds: float, probe: Probe | None = None, *, kept: bool = False
) -> Tryout:
    """Where rates for runs of `assembly` that end at `until` are tried, in about so many seconds."""
    bound = None if until is None else Until.parse(until)
    return Tryout(lambda spec, hyper: Racetrack(assembly, spec, hyper, probe), seconds, bound, kept=kept)


def found_rate(
    assembly: Assembly,
    spec: BatchSpec,
    usual: float,
    hyper: Mapping[str, float],
    *,
    until: str | Until | None,
    seconds: float,
) -> RateFinding:
    """The fastest of the rates around `usual` at `spec`, with what was found of the others."""
    tryout = tryout_of(assembly, until, seconds)
    constants = {**assembly.optimizer.hyper, **hyper}
    return RateFinding(usual, try_rates(tryout, spec, usual, constants, rows=assembly.rows), spec.size)
