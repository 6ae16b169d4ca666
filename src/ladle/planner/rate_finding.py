"""What a race makes of a plan: its rate with interval and verdict, marked measured, or why the usual rate stays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ladle.core.plan import Evidence, Plan
from ladle.planner.lane import Race
from ladle.planner.race import FRESH
from ladle.planner.rate import rounded

TOO_SLOW = "No rate was tried: an update takes too long for the budget. More seconds of it would tell."

LEVELS = ("near the lowest that three rates reached", "the target")
"""How the loss was chosen at which rates were compared."""

DRIFTED = 0.5
"""log(best rate at the horizon / a third of the way) below which longer runs are said to want less: a factor of 1.6."""


@dataclass(frozen=True)
class RateFinding:
    """The race at `size`, None where no rate could be tried, and the `usual` rate there: the rule's.

    - `kept`: that rate is the user's and stays.
    """

    usual: float
    race: Race | None
    size: int
    kept: bool = False

    @property
    def rate(self) -> float:
        """The rate to use. The usual one where nothing stands out."""
        if self.kept or self.race is None or self.race.rate is None or self.race.verdict == "not resolved":
            return self.usual
        return self.race.rate

    @property
    def tried(self) -> tuple[tuple[float, float], ...]:
        """Every rate that was tried, with how many times the best one's updates, or loss, it took."""
        lanes = () if self.race is None else self.race.lanes
        return tuple((lane.rate, math.exp(lane.slower)) for lane in lanes)

    def remarks(self) -> tuple[str, ...]:
        """The verdict with its numbers, and what to make of it."""
        if self.race is None:
            return (TOO_SLOW,)
        return (*self._verdict(self.race), *self._missed(self.race), *self._drift(self.race))

    def _verdict(self, race: Race) -> tuple[str, ...]:
        where = f"{race.horizon} updates of {self.size}, {race.seeds} seeds"
        if race.rate is None:
            return (f"Rates: not resolved: none of them lowered the loss by much ({where}){self._stays}.",)
        if race.verdict == "not resolved":
            side = "lower" if race.low == 0 else "higher"
            return (f"Rates: not resolved: no {side} rate was shown to be slower ({where}){self._stays}.",)
        times = race.slower(self.usual)
        whose = f"the {'given' if self.kept else 'usual'} {rounded(self.usual):g}"
        if race.aim == "loss":
            reached = f"{rounded(race.rate):g} ended at a loss of {race.level:.3g}"
            usual = f"; {whose} at {times:.2g} times that" if times > 1.05 else ""
        else:
            reached = f"{rounded(race.rate):g} reached a loss of {race.level:.3g} in {race.updates:.0f} updates"
            usual = f"; {whose} takes {times:.2g} times as many" if times > 1.05 else ""
        return (f"Rates: {self.told(race)}: {reached}{usual} ({where}){self._stays if self.kept else ''}.",)

    @property
    def _stays(self) -> str:
        return ": the rate stays as it was given" if self.kept else ": the rate is the usual one"

    def told(self, race: Race) -> str:
        """The verdict in words."""
        low, high = (f"{rounded(rate):g}" for rate in race.flat)
        return "resolved" if low == high else f"flat between {low} and {high}"

    def _missed(self, race: Race) -> tuple[str, ...]:
        if race.goal is None or race.rate is None or race.reached_goal:
            return ()
        where = f"{race.horizon} updates of {self.size}"
        return (f"No rate reached the target of {race.goal:g} in {where}: they were compared at {race.level:.3g}.",)

    def _drift(self, race: Race) -> tuple[str, ...]:
        if race.rate is None or race.drift > -DRIFTED:
            return ()
        return ("The best rate fell while the runs went on: a run much longer than these wants a lower one.",)

    def evidence(self, others: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """`others` with the rate as it was measured, and the updates to the loss that was reached."""
        race = self.race
        if self.kept or race is None or race.rate is None or race.verdict == "not resolved":
            return tuple(others)
        how = f"race of {len(race.lanes)} rates: {self.told(race)}"
        rate = Evidence("lr", rounded(self.rate), "", "measured", how, race.low, race.high)
        seeds = f"{FRESH} new seeds" if race.aim == "time" else f"{race.seeds} seeds"
        how = f"best rate, {seeds}, on the way to a loss of {race.level:.4g}"
        numbers = [
            Evidence("updates_to_level", race.updates, "updates", "measured", how),
            Evidence("level", race.level, "loss", "measured", LEVELS[race.reached_goal]),
        ]
        if math.isfinite(times := race.slower(self.usual)):
            how = f"updates at {rounded(self.usual):g}, the usual rate, over those at the best"
            numbers.append(Evidence("usual_rate_slower", times, "", "measured", how))
        return (*(rate if number.name == "lr" else number for number in others), *numbers)


def with_rate(plan: Plan, tried: RateFinding) -> Plan:
    """`plan` with the rate that was `tried`."""
    measured = tried.race is not None and tried.rate != tried.usual
    lanes = tried.race.lanes if tried.race else ()
    curve = [[lane.rate, math.exp(lane.slower), lane.seeds] for lane in lanes if math.isfinite(lane.slower)]
    return replace(
        plan,
        lr=rounded(tried.rate) if measured else plan.lr,
        evidence=tried.evidence(plan.evidence),
        curves={**plan.curves, "rates": curve},
        notes=(*plan.notes, *tried.remarks()),
    )
