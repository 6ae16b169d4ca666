"""`check_rate`: a plan with its learning rate tried at the new size. Trains short runs of its own and keeps none."""

from __future__ import annotations

from dataclasses import replace

from ladle.api.assembly import Assembly
from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Evidence, Plan
from ladle.planner.rate import rounded
from ladle.planner.rate_check import RateCheck, judge, rates_around
from ladle.planner.sweep import paired_sweep

SEEDS = 3

SECONDS = 20.0
"""What all runs of a check may take together, compiling apart."""

UPDATES = (12, 1000)
"""Fewest and most updates of one run."""

PASSES = 10
"""Passes over the rows within them, where there is time: in a run too short the higher rate is always ahead."""


def check_rate(assembly: Assembly, plan: Plan) -> Plan:
    """`plan` with three rates tried at its size: the rule's, a third of it and three times it.

    From the same start with the same examples, for each of 3 seeds, so that the losses are paired. Where a rate was
    clearly better (`ladle.planner.rate_check`) the plan's `lr` becomes that rate, and its evidence says measured;
    otherwise the rule's stays. Either way a note gives the numbers. The rate is data of the compiled program: nothing
    is compiled but the plan's own rung.

    Raises `ArgumentError` where there is no rate to check.
    """
    require_rate(plan.lr)
    assert plan.lr is not None
    rates, examples = rates_around(plan.lr), examples_of(plan, assembly.rows)
    seeds, feed = range(SEEDS), assembly.measured_feed
    how = {"examples": examples, "seeds": seeds, "hyper": plan.hyper}
    check = judge(rates, paired_sweep(assembly.engine.step, feed, plan.first, rates, **how), examples=examples)
    return checked(plan, check)


def checked(plan: Plan, check: RateCheck) -> Plan:
    """`plan` with what `check` found."""
    evidence = plan.evidence
    lr = plan.lr if check.better is None else rounded(check.best)
    if check.better is not None:
        how = f"the best of three rates tried at this size, where the rule gives {plan.lr:g}"
        measured = Evidence("lr", float(rounded(check.best)), "", "measured", how)
        evidence = tuple(measured if number.name == "lr" else number for number in evidence)
    return replace(plan, lr=lr, evidence=(*evidence, *check.evidence()), notes=(*plan.notes, *check.remarks()))


def examples_of(plan: Plan, rows: int) -> int:
    """How far each run goes: ten passes, 12 to 1000 updates, its share of the time where the speed is known."""
    few, many = (updates * plan.size for updates in UPDATES)
    speed = plan.number("examples_per_second")
    share = SECONDS / (3 * SEEDS)
    most = many if speed is None else min(many, int(speed.value * share))
    return max(few, min(PASSES * rows, most))


def require_rate(lr: float | None) -> None:
    """Refuse to check the rate of an optimiser that brings its own."""
    if lr is None:
        why, remedy = "this optimiser brings its own rate, which ladle cannot change", "an optimiser by name"
        raise ArgumentError(must("check_lr", "have a rate to check", "none", why, remedy))
