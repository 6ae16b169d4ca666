from __future__ import annotations

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.noise import NoiseScale
from ladle.core.scaling.rules import RULES
from ladle.planner.choose import choose
from ladle.planner.fakes_test import FakeProbe
from ladle.planner.rate import UNRESOLVED, rate_for

HYPER = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.01}
KNOWN = NoiseScale(400.0, 300.0, 500.0, "resolved", 0.25, 100.0)


def rate(rule, optimizer="adamw", noise=KNOWN, reference_lr=1e-3):
    return rate_for(rule, optimizer, reference_size=64, reference_lr=reference_lr, hyper=HYPER, noise=noise)


def chosen(rule, probe=None, **changed):
    how = {"rows": 2**20, "optimizer": "adamw", "reference_lr": 1e-3, "reference_size": 100, "hyper": HYPER}
    return choose(probe or FakeProbe(), rule=rule, pilot_seconds=1e9, **{**how, **changed})


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_moves_is_in_the_plan_and_its_evidence(rule):
    plan = chosen(rule)
    moved = {n.name: n.value for n in plan.evidence if n.name in HYPER}
    assert moved == plan.hyper and plan.lr_rule == rule
    for name, value in plan.hyper.items():
        number = plan.number(name)
        assert number is not None and f"from {HYPER[name]:.6g} at size 100" in number.method and number.value == value
    assert "Why this rate: it " in plan.explain()
    assert all(f"{name} = " in plan.explain() for name in plan.hyper)


def test_the_measured_noise_bends_the_rate():
    """mccandlish: between the square root and the linear rule here."""
    plan = chosen("mccandlish", optimizer="sgd")
    noise = plan.noise.value
    kappa, bend = plan.size / 100, (100 + noise) / (plan.size + noise)
    assert plan.lr == pytest.approx(1e-3 * kappa * bend, rel=5e-3)


def test_without_a_noise_scale_it_is_the_linear_rule_and_says_so():
    found = rate("mccandlish", "sgd", NoiseScale.unknown())
    assert found.coupling.rule == "linear" and found.notes(64, NoiseScale.unknown()) == (UNRESOLVED,)


def test_the_sde_rule_of_sgd_is_the_linear_rule():
    plan = chosen("sde", optimizer="momentum", hyper={"momentum": 0.9})
    assert plan.lr_rule == "linear" and plan.hyper == {} and plan.lr == pytest.approx(1e-5 * plan.size, rel=5e-3)


def test_notes_come_from_the_rule():
    assert rate("square root").notes(64, KNOWN) == ()
    assert "times as many epochs of warmup" in rate("legw").notes(128, KNOWN)[0]
    assert "supposes that noise dominates" in rate("square root").notes(512, KNOWN)[0]
    assert "from x1.87 through x8 to x64: a short sweep" in rate("square root").notes(4096, NoiseScale.unknown())[0]
    assert rate("none", "custom").notes(128, KNOWN) == ("No rate rule is known for custom: the rate is kept as given.",)
    assert rate("square root", reference_lr=None).notes(4096, KNOWN) == ()


@pytest.mark.parametrize(
    ("rule", "hyper", "said"),
    [
        ("surge", HYPER, "rule must be one that a plan can follow; got 'surge'"),
        ("adamw timescale", {"b1": 0.9}, "weight_decay must be above 0"),
        ("sqrt", HYPER, "rule must be one of"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_before_work_starts(rule, hyper, said):
    probe = FakeProbe()
    with pytest.raises(ArgumentError, match=said):
        chosen(rule, probe, hyper=hyper)
    assert probe.asked == []
