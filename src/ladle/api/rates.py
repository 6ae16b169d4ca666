"""The learning rate of a size where nobody chose one: measured, by a race of rates at that size."""

from __future__ import annotations

from collections.abc import Mapping

from ladle.api.assembly import Assembly
from ladle.api.racetrack import FIXED, LEAST, Racetrack
from ladle.core.duration import Until
from ladle.core.protocols import Probe
from ladle.core.spec import BatchSpec
from ladle.planner.lane import Aim
from ladle.planner.rate_finding import RateFinding
from ladle.planner.tryout import JUDGEMENTS, JUDGING, Tryout, try_rates

SECONDS = 10.0
"""For trying rates at one size of a run or a comparison, compiling apart."""


def tryout_of(
    assembly: Assembly,
    until: str | Until | None,
    seconds: float,
    probe: Probe | None = None,
    *,
    kept: bool = False,
    aim: Aim = "time",
) -> Tryout:
    """Where rates for runs of `assembly` that end at `until` are tried, in about so many seconds."""
    bound = None if until is None else Until.parse(until)
    judged: dict[str, int] = {}

    def track(spec: BatchSpec, hyper: Mapping[str, float]) -> Racetrack:
        fixed = FIXED if aim == "loss" else judged.get("rows")
        track = Racetrack(assembly, spec, hyper, probe, fixed or LEAST)
        if fixed is None:
            track = track.judged_in(JUDGING * seconds / JUDGEMENTS[aim])
            judged["rows"] = track.judged  # All sizes are judged on the same rows: a loss is then the same loss.
        return track

    return Tryout(track, seconds, bound, kept, aim)


def found_rate(
    assembly: Assembly,
    spec: BatchSpec,
    usual: float,
    hyper: Mapping[str, float],
    *,
    until: str | Until,
    seconds: float,
) -> RateFinding:
    """The best of the rates around `usual` at `spec` for a run that ends at `until`, and what was found of the others.

    Best is the fewest updates to a loss where a target ends the run, else the lowest loss at its end.
    """
    aim: Aim = "loss" if Until.parse(until).target is None else "time"
    tryout = tryout_of(assembly, until, seconds, aim=aim)
    constants = {**assembly.optimizer.hyper, **hyper}
    return RateFinding(usual, try_rates(tryout, spec, usual, constants, rows=assembly.rows), spec.size)
