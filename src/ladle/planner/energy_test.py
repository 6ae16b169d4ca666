from __future__ import annotations

import pytest

from ladle.core.errors import ArgumentError
from ladle.core.explain import explain
from ladle.core.noise import NoiseScale
from ladle.core.plan import Plan
from ladle.core.record import plain
from ladle.planner.choose import choose
from ladle.planner.decide import decide
from ladle.planner.energy import measure_price
from ladle.planner.fakes_test import FakeProbe
from ladle.planner.measure import measure_speed
from ladle.planner.target import Cost, mixed

SECONDS, JOULES = (0.02, 1e-4), (4.0, 0.05)
"""T9: alpha, beta and e0, e1."""


def probe(**changes) -> FakeProbe:
    return FakeProbe(**{"joule_line": JOULES, **changes})


def chosen(made: FakeProbe, **changes) -> Plan:
    return choose(made, **{"rows": 2**20, "optimizer": "adam", "pilot_seconds": 1e9, **changes})


def target(plan: Plan) -> float:
    found = plan.number("target_size")
    assert found is not None
    return found.value


@pytest.mark.parametrize(
    ("share", "best"), [(1.0, (4 / 0.05 * 800) ** 0.5), (0.5, 316.228)], ids=["energy", "T9: half and half"]
)
def test_the_ideal_size_of_a_mix_is_the_closed_form(share: float, best: float):
    speed = measure_speed(probe(), rows=2**20, top=8192)
    assert speed is not None
    price = measure_price(probe(), speed, rows=2**20, share=share, power_watts=300.0)
    line = price.fit.line
    mix = [mixed(e, t, share=share, power_watts=300.0) for e, t in zip(JOULES, SECONDS, strict=True)]
    assert [line.fixed_seconds, line.per_example_seconds] == pytest.approx(mix)
    assert Cost(line.fixed_seconds, line.per_example_seconds, 800.0).best == pytest.approx(best, abs=1e-3)


def test_a_plan_for_energy_has_the_knee_of_energy():
    """Energy wants 253 where time wants 400, whatever the noise scale was found to be."""
    plan, soonest = chosen(probe(), minimize="energy"), chosen(probe())
    assert target(plan) / target(soonest) == pytest.approx((80 / 200) ** 0.5)
    assert {e.name: e.value for e in plan.evidence if "joules" in e.name} == pytest.approx(
        {"fixed_joules": 4.0, "per_example_joules": 0.05, "joules": 4 + 0.05 * plan.size}
    )
    speed = plan.number("examples_per_second")
    assert speed is not None and speed.value == pytest.approx(plan.size / (0.02 + 1e-4 * plan.size)), "in seconds still"
    assert Plan.from_json(plan.to_json()) == plan and plain(plan.to_json())["minimize"] == "energy"


def test_a_plan_for_cost_prices_a_second_at_the_highest_power_measured():
    plan = chosen(probe(), minimize="cost", energy_share=0.5)
    watts = plan.number("power_watts")
    assert watts is not None and watts.source == "measured"
    assert watts.value == pytest.approx((4 + 0.05 * 8192) / (0.02 + 1e-4 * 8192))
    given = chosen(probe(), minimize="cost", energy_share=0.5, power_watts=300.0)
    assert target(given) / target(chosen(probe())) == pytest.approx(316.228 / 400, rel=1e-4)


def test_explanations_speak_of_energy():
    said = explain(chosen(probe(), minimize="energy"))
    assert "where the energy to a target is predicted to be smallest" in said
    assert "The energy of an update is 4 J + 50 mJ per example (measured)." in said
    assert "more energy, with a confidence of 90% (predicted)" in said and "energy meter, chosen size" in said
    assert "A second is priced at 300 W (given)." in explain(chosen(probe(), minimize="cost", power_watts=300.0))


def test_above_memory_the_energy_of_micro_batches_is_measured():
    """e0 is paid once an update, so many micro-batches of 8 share it: the best is sqrt(800 * 80), cut in eights."""
    made = probe(fixed_bytes=0, example_bytes=1000, limit=9000)
    plan = chosen(made, minimize="energy")
    assert plan.micro_size == 8 and plan.size in (128, 256, 512)
    assert any(what == "joules" and spec.micro_steps == 4 for what, spec in made.asked)


def test_where_the_noise_is_unresolved_the_size_rests_on_energy():
    speed = measure_speed(probe(), rows=2**20, top=8192)
    assert speed is not None
    price = measure_price(probe(), speed, rows=2**20).fit
    unknown = NoiseScale.unknown()
    choice = decide(
        unknown, speed, rows=2**20, top=8192, minimize="energy", accumulation=lambda: pytest.fail("asked"), price=price
    )
    assert choice.spec.size == 256 and choice.seconds == pytest.approx(0.02 + 256e-4), "near 4 knees of 80"


@pytest.mark.parametrize("goal", ["energy", "cost"])
@pytest.mark.parametrize("rows", [1, 4096])
def test_energy_that_is_not_measured_is_not_minimised(goal: str, rows: int):
    with pytest.raises(ArgumentError, match=r"energy must be measured to be minimised; .*try minimize='time'"):
        chosen(FakeProbe(), rows=rows, minimize=goal)


def test_what_only_a_cost_has_is_refused_for_another_goal():
    for goal in ("time", "examples", "energy"):
        for name, value in {"energy_share": 0.3, "power_watts": 300.0}.items():
            with pytest.raises(ArgumentError, match=f"{name} must be left out with other goals than cost; got {value}"):
                chosen(probe(), minimize=goal, **{name: value})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"energy_share": 0.0}, "energy_share must be above 0 and at most 1"),
        ({"energy_share": 1.5}, "energy_share must be above 0 and at most 1"),
        ({"power_watts": -1.0}, "power_watts must be positive"),
        ({"minimize": "carbon"}, "minimize must be one of time, examples, energy, cost"),
    ],
)
def test_bad_arguments_are_named(wrong: dict, said: str):
    with pytest.raises(ArgumentError, match=said):
        chosen(probe(), **{"minimize": "cost", **wrong})
