from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ladle.core.noise import NoiseScale
from ladle.core.plan import Evidence, Plan
from ladle.planner.lane import Lane, Race
from ladle.planner.rate_finding import TOO_SLOW, RateFinding, with_rate

LANES = (
    Lane(0.001, math.log(24.0), 1, True, False),
    Lane(0.02, math.log(1.4), 3, True, True),
    Lane(0.03, 0.0, 3, False, True),
    Lane(0.05, math.log(1.5), 3, True, True),
)
RACE = Race(0.0312345, LANES, 2.3, 0.15, 200.0, 690, 3)


def plan() -> Plan:
    evidence = (Evidence("reference_lr", 0.001, "", "given", ""), Evidence("lr", 0.001, "", "predicted", "rule"))
    return Plan(64, 64, 0.001, "optimum", (64, 64), NoiseScale.unknown(), evidence=evidence, reference_lr=0.001)


def test_a_measured_rate_is_in_the_plan_with_interval_and_verdict():
    made = with_rate(plan(), RateFinding(0.001, RACE, 64))
    number = made.number("lr")
    assert number is not None
    assert (made.lr, number.value, number.source) == (0.0312, 0.0312, "measured")
    assert (number.low, number.high) == (0.02, 0.05)
    assert made.notes == (
        "Rates: resolved: 0.0312 reached a loss of 0.15 in 200 updates; the usual 0.001 takes 24 times as many "
        "(690 updates of 64, 3 seeds).",
    )
    told = made.explain()
    assert "Learning rate: 0.0312 (measured, race of 4 rates: resolved); 0.02 and 0.05 were shown to be slower." in told
    assert Plan.from_json(made.to_json()) == made


def test_a_flat_range_is_named():
    lanes = (*LANES[:1], *(replace(lane, worse=False) for lane in LANES[1:]), Lane(0.5, math.inf, 3, True, False))
    finding = RateFinding(0.001, replace(RACE, lanes=lanes), 64)
    assert finding.remarks()[0].startswith("Rates: flat between 0.02 and 0.05: 0.0312 reached")


@pytest.mark.parametrize(
    ("race", "words"),
    [
        (None, TOO_SLOW),
        (replace(RACE, rate=None, lanes=()), "none of them lowered the loss by much"),
        (replace(RACE, lanes=LANES[2:]), "no lower rate was shown to be slower"),
        (replace(RACE, lanes=LANES[:3]), "no higher rate was shown to be slower"),
    ],
)
def test_where_nothing_stands_out_the_usual_rate_stays_and_that_is_said(race, words):
    made = with_rate(plan(), RateFinding(0.001, race, 64))
    number = made.number("lr")
    assert made.lr == 0.001 and number is not None and number.source == "predicted"
    assert words in made.notes[0]


def test_a_rate_of_the_users_is_kept_and_told_how_it_fared():
    made = with_rate(plan(), RateFinding(0.001, RACE, 64, kept=True))
    assert made.lr == 0.001 and made.number("lr") == plan().number("lr")
    assert "the given 0.001 takes 24 times as many" in made.notes[0] and "stays as it was given" in made.notes[0]


def test_a_best_rate_that_falls_with_the_horizon_is_said():
    finding = RateFinding(0.001, replace(RACE, drift=-1.15), 64)
    assert "a run much longer than these wants a lower one" in finding.remarks()[1]
