from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError, RunError
from ladle.core.plan import Plan
from ladle.core.record import plain
from ladle.planner.choose import choose
from ladle.planner.decide import decide, fallback
from ladle.planner.fakes_test import FakeProbe
from ladle.planner.measure import GOOD_SPREAD, measure_accumulation, measure_noise, pilot_spec


def chosen(probe: FakeProbe, **changes) -> Plan:
    """A plan for a million rows, Adam at 1e-3 for size 100, unless said otherwise."""
    given = {"rows": 2**20, "optimizer": "adam", "reference_lr": 1e-3, "reference_size": 100, "pilot_seconds": 1e9}
    return choose(probe, **{**given, **changes})


def number(plan: Plan, name: str) -> float:
    found = plan.number(name)
    assert found is not None, f"no evidence {name}"
    return found.value


def test_every_closed_form_is_recovered():
    """alpha 0.02, beta 1e-4, noise scale 800: the ideal size is 400 (T9), so 512 or 256 of the rungs."""
    plan = chosen(FakeProbe(jitter=0.01))
    assert number(plan, "fixed_seconds") == pytest.approx(0.02, rel=0.05)
    assert number(plan, "per_example_seconds") == pytest.approx(1e-4, rel=0.05)
    assert number(plan, "memory_fixed_bytes") == pytest.approx(1e6)
    assert number(plan, "memory_per_example_bytes") == pytest.approx(1e3)
    assert plan.noise.verdict == "resolved" and plan.noise.value == pytest.approx(800, rel=0.3)
    assert number(plan, "target_size") == pytest.approx(400, rel=0.2)
    target = plan.number("target_size")
    assert target is not None and target.low is not None and target.high is not None
    assert target.low < 400 < target.high
    assert plan.size in (256, 512) and plan.micro_size == plan.size and plan.bound == "optimum"
    low, high = plan.within_5_percent
    assert (low, high) == pytest.approx((250, 640), rel=0.2) and low <= plan.size <= high


def test_the_chosen_size_was_run_in_the_child():
    probe = FakeProbe()
    plan = chosen(probe)
    assert [spec for what, spec in probe.asked if what == "confirm"] == [plan.first]
    assert number(plan, "memory_measured_bytes") == 10**6 + 1000 * plan.micro_size


def test_evidence_says_where_each_number_comes_from():
    plan = chosen(FakeProbe(watts=50.0))
    sources = {e.name: e.source for e in plan.evidence}
    assert len(sources) == len(plan.evidence)
    predicted = {"memory_fixed_bytes", "memory_predicted_bytes", "target_size", "lr", "examples_per_second"}
    measured = {"memory_measured_bytes", "fixed_seconds", "knee", "noise_scale", "gradient_sq", "joules"}
    assert {sources[name] for name in predicted} == {"predicted"}
    assert {sources[name] for name in measured} == {"measured"}
    assert sources["reference_lr"] == "given" and sources["memory_limit_bytes"] == "measured"
    assert all(e.unit or e.name in ("lr", "reference_lr", "gradient_sq", "gradient_variance") for e in plan.evidence)
    assert all(e.method and math.isfinite(e.value) for e in plan.evidence)


def test_a_plan_survives_json():
    plan = chosen(FakeProbe())
    assert Plan.from_json(json.loads(json.dumps(plain(plan.to_json())))) == plan
    unresolved = chosen(FakeProbe(gradient_sq=1e-9), pilot_seconds=0)
    assert unresolved.noise.high == math.inf
    again = Plan.from_json(json.loads(json.dumps(plain(unresolved.to_json()))))
    assert again.explain() == unresolved.explain()


def test_curves_are_those_of_the_picture():
    plan = chosen(FakeProbe(jitter=0.1))
    assert all(len(point) == 2 for point in plan.curves["memory"]) and len(plan.curves["memory"]) >= 2
    assert all(low <= seconds <= high for _, seconds, low, high in plan.curves["throughput"])
    costs = dict(plan.curves["target"])
    assert min(costs.values()) == costs[plan.size] == 1.0


@pytest.mark.parametrize(
    ("optimizer", "rule", "power"), [("sgd", "linear", 1.0), ("adam", "square root", 0.5), ("x", "none", 0)]
)
def test_the_learning_rate_follows_the_rule_of_the_optimiser(optimizer, rule, power):
    plan = chosen(FakeProbe(), optimizer=optimizer)
    assert plan.lr_rule == rule and plan.reference_lr == 1e-3 and plan.reference_size == 100
    assert plan.lr == float(f"{1e-3 * (plan.size / 100) ** power:.3g}") and plan.hyper == {}


def test_constants_move_only_by_rules_that_move_them():
    hyper = {"b1": 0.9, "b2": 0.999, "eps": 1e-8}
    plan = chosen(FakeProbe(), hyper=hyper, rule="half-life")
    assert plan.hyper == {"b2": 0.999 ** (plan.size / 100)}
    moved = plan.number("b2")
    assert moved is not None and (moved.value, moved.source) == (plan.hyper["b2"], "predicted")
    assert chosen(FakeProbe(), hyper=hyper).hyper == {}
    with pytest.raises(ArgumentError, match="half-life"):
        chosen(FakeProbe(), hyper=hyper, rule="sde", reference_size=1)


def test_without_a_reference_rate_there_is_no_rate():
    assert chosen(FakeProbe(), reference_lr=None).lr is None


def test_memory_keeps_the_batch_small_where_accumulation_saves_nothing():
    """All fixed cost is per micro-batch: cutting a larger batch would only add up."""
    probe = FakeProbe(limit=10**6 + 1000 * 70, update_seconds=0.0, micro_seconds=0.02)
    plan = chosen(probe)
    assert (plan.size, plan.micro_size, plan.bound) == (64, 64, "memory")
    assert plan.within_5_percent[1] == 64 and "Cutting a larger batch" in plan.explain()


def test_where_an_update_itself_costs_accumulation_goes_on():
    """All fixed cost is per update: cut into micro-batches of 64, the ideal size is still 400."""
    plan = chosen(FakeProbe(limit=10**6 + 1000 * 70, update_seconds=0.02, micro_seconds=0.0))
    assert plan.micro_size == 64 and plan.size in (256, 512) and plan.bound == "optimum"
    assert number(plan, "target_size") == pytest.approx(400, rel=0.2)


def test_where_only_one_example_fits_accumulation_is_all_there_is():
    plan = chosen(FakeProbe(limit=10**6 + 1000, update_seconds=0.02, micro_seconds=0.0), pilot_seconds=1e9)
    assert plan.micro_size == 1 and plan.size in (256, 512)
    alone = chosen(FakeProbe(limit=10**6 + 1000, update_seconds=0.0, micro_seconds=0.02))
    assert (alone.size, alone.bound) == (1, "memory")


def test_accumulation_is_told_apart_from_the_fixed_cost_of_an_update():
    more = measure_accumulation(FakeProbe(update_seconds=0.03, micro_seconds=0.01), 64, rows=10**6)
    assert more.fixed_seconds == pytest.approx(0.03) and more.micro_seconds == pytest.approx(0.0164)
    ragged = measure_accumulation(FakeProbe(update_seconds=0.03, micro_seconds=0.01), 64, rows=100)
    assert dataclasses.astuple(ragged) == pytest.approx(dataclasses.astuple(more))


def test_a_child_over_the_limit_steps_down_and_is_run_again():
    probe = FakeProbe(limit=1_520_000, measured_factor=1.2)
    plan = chosen(probe, memory_bytes=1_520_000)
    tried = [spec.micro_size for what, spec in probe.asked if what == "confirm"]
    assert tried == [512, 256] and plan.micro_size == 256
    assert number(plan, "memory_measured_bytes") <= 1_520_000
    assert "512 used" in plan.notes[0]


def test_a_child_that_dies_steps_down_until_one_lives():
    probe = FakeProbe(dies_above=40)
    plan = chosen(probe)
    tried = [spec.micro_size for what, spec in probe.asked if what == "confirm"]
    assert tried[-1] == plan.micro_size == 32 and tried == sorted(tried, reverse=True)
    assert "did not survive" in plan.notes[0]


def test_nothing_fits():
    with pytest.raises(ArgumentError, match="at least 1,001,000 bytes"):
        chosen(FakeProbe(), memory_bytes=1000)
    with pytest.raises(ArgumentError, match="at least 2,002,000 bytes"):
        chosen(FakeProbe(measured_factor=2.0), memory_bytes=1_001_500)
    with pytest.raises(RunError, match="killed"):
        chosen(FakeProbe(dies_above=0))


def test_a_given_limit_wins_over_the_found_one():
    plan = chosen(FakeProbe(), memory_bytes=1_100_000)
    limit = plan.number("memory_limit_bytes")
    assert limit is not None and (limit.value, limit.source) == (1_100_000, "given")
    assert 10**6 + 1000 * plan.micro_size <= 1_100_000


def test_a_noise_scale_above_the_data_asks_for_all_of_it():
    """Full batches of 64 rows in one micro-batch, because the ideal size is far above."""
    plan = chosen(FakeProbe(gradient_sq=0.5, trace=2e4, dimension=20_000), rows=64)
    assert (plan.size, plan.micro_size, plan.bound) == (64, 64, "data")


def test_rows_that_are_no_power_of_two_are_not_padded_for_nothing():
    """All 1030 rows at once cost what 1030 cost, not what 2048 would: they reach the target a little sooner."""
    plan = chosen(FakeProbe(update_seconds=1.0, gradient_sq=0.25, trace=1e3, dimension=5000), rows=1030)
    curve, cost = dict(plan.curves["target"]), lambda size: (1 + plan.noise.value / size) * (1.0 + 1e-4 * size)
    assert (plan.size, plan.micro_size, plan.bound) == (1030, 1030, "data")
    assert curve[1024] == pytest.approx(cost(1024) / cost(1030), rel=1e-6) and curve[1024] > 1


def test_no_noise_means_small_batches():
    plan = chosen(FakeProbe(trace=1e-6, gradient_sq=10.0))
    assert (plan.size, plan.bound) == (1, "smallest")


def test_an_unresolved_noise_scale_falls_back_on_speed_and_says_so():
    """|G|^2 far below what a short pilot can see: 4 knees = 800 examples for 80 % of full speed, or the proven size."""
    plan = chosen(FakeProbe(gradient_sq=1e-9), pilot_seconds=0)
    assert plan.noise.verdict != "resolved" and plan.bound == "unresolved noise"
    proven = math.sqrt(200 * plan.noise.low)
    assert plan.size == 2 ** round(math.log2(max(proven, 800)))
    assumed = plan.number("noise_scale_assumed")
    assert assumed is not None and assumed.source == "assumed"
    assert plan.curves["target"] == [] and "Which other sizes are as good is not known" in plan.explain()
    low, high = plan.within_5_percent
    assert low <= plan.size <= high


def test_the_fallback_by_hand():
    unknown = choose_noise(low=0.0)
    assert fallback(unknown, 50.0, rows=10**6) == pytest.approx(200)
    assert fallback(unknown, 50.0, rows=1000) == 50
    assert fallback(unknown, math.inf, rows=1000) == 50
    assert fallback(unknown, 0.0, rows=1000) == 1
    assert fallback(choose_noise(low=20_000.0), 50.0, rows=10**6) == pytest.approx(1000)


def choose_noise(low: float):
    from ladle.core.noise import NoiseScale

    return NoiseScale(math.inf, low, math.inf, "lower bound only" if low else "unresolved")


def test_fewest_examples_asks_for_a_twentieth_of_the_noise_scale():
    plan = chosen(FakeProbe(), minimize="examples")
    most = 0.05 * plan.noise.value
    sure = most * math.exp(-1.2816 * plan.noise.log_sd)  # 90 % of a log-normal lie above it.
    assert plan.within_5_percent == (1, int(sure)) and most / 2 < plan.size <= sure
    assert number(plan, "within_confidence") == 0.9
    assert dict(plan.curves["target"])[plan.size] <= 1.05
    small = chosen(FakeProbe(trace=1.0), minimize="examples")
    assert (small.size, small.bound) == (1, "smallest")
    bound = chosen(FakeProbe(gradient_sq=1e-9), minimize="examples", pilot_seconds=0)
    assert bound.bound == "unresolved noise" and bound.size <= max(0.05 * bound.noise.low, 1)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 33])
def test_tiny_data(rows):
    plan = chosen(FakeProbe(), rows=rows)
    assert 1 <= plan.size <= rows and plan.size <= plan.within_5_percent[1] <= rows
    assert plan.explain()


def test_sizes_to_time_are_rounded_up_to_rungs():
    probe = FakeProbe()
    chosen(probe, sizes=[10, 100, 1000])
    timed = {spec.micro_size for what, spec in probe.asked if what == "seconds"}
    assert timed == {16, 128, 1024}


def test_slow_updates_are_not_timed_any_larger():
    probe = FakeProbe(example_seconds=0.1)
    chosen(probe)
    timed = {spec.micro_size for what, spec in probe.asked if what == "seconds"}
    assert timed == {1, 8, 64} and len(probe.asked) > 2, "and a third size, for any two times lie on a line"


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"minimize": "money"}, {"sizes": [0]}, {"reference_size": 0.5}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ArgumentError):
        chosen(FakeProbe(), **wrong)


def test_the_pilot_finds_the_noise_scale_and_asks_for_no_more_than_it_needs():
    probe = FakeProbe()
    pilot = measure_noise(probe, rows=2**20, top=1024)
    assert "finite data" in pilot.method
    assert pilot.noise.low < 800 < pilot.noise.high and pilot.noise.log_sd <= GOOD_SPREAD
    hard = FakeProbe(gradient_sq=0.01)
    measured = measure_noise(hard, rows=2**24, top=1024).noise
    assert measured.low < 20_000 < measured.high and measured.updates > pilot.noise.updates
    assert sum(what == "moments" for what, _ in hard.asked) <= 6


def test_the_pilot_stays_within_its_budgets():
    few = FakeProbe(gradient_sq=1e-9)
    measure_noise(few, rows=100, top=128)
    assert sum(what == "moments" for what, _ in few.asked) <= 6
    assert pilot_spec(1, 1) is None
    for rows in (2, 5, 16, 100, 10**6):
        spec = pilot_spec(rows, 10**6)
        assert spec is not None and 2 <= spec.size <= rows and spec.micro_steps >= min(8, spec.size)


@settings(max_examples=60)
@given(
    st.integers(1, 10**6), st.integers(0, 14), st.floats(0, 1), st.floats(0, 1e-2), st.floats(1, 1e5),
    st.sampled_from(["time", "examples"]), st.sampled_from(["resolved", "lower bound only", "unresolved"]),
)  # fmt: skip
def test_any_decision_keeps_to_its_limits(rows, power, fixed, each, value, minimize, verdict):
    """Whatever was measured: 1 <= size <= rows, micro-batch within `top` and no larger than needed, interval around."""
    from ladle.core.noise import NoiseScale
    from ladle.planner.throughput import fit_throughput

    top = min(1 << power, 1 << (rows - 1).bit_length())
    high = value * 2 if verdict == "resolved" else math.inf
    low = 0.0 if verdict == "unresolved" else value / 2
    noise = NoiseScale(value if verdict == "resolved" else math.inf, low, high, verdict)
    line = fit_throughput({1: [fixed + each + 1e-9], 64: [fixed + 64 * each + 1e-9]}) if top > 1 else None
    probe = FakeProbe(update_seconds=fixed / 2, micro_seconds=fixed / 2 + 1e-9, example_seconds=each)
    choice = decide(
        noise,
        line,
        rows=rows,
        top=top,
        minimize=minimize,
        accumulation=lambda: measure_accumulation(probe, top, rows=rows),
    )
    assert 1 <= choice.spec.size <= rows and choice.spec.micro_size <= top
    alone = choice.spec.size == rows <= top  # All rows in one micro-batch, which is then none of a rung.
    assert choice.spec.micro_size == (rows if alone else min(top, 1 << (choice.spec.size - 1).bit_length()))
    assert 1 <= choice.within[0] <= choice.within[1] <= rows
    assert choice.within[0] <= choice.spec.size
    assert all(cost >= 1 - 1e-12 for _, cost in choice.curve)


def test_no_closed_form_beats_the_choice():
    """Against brute force over all rungs of the true model."""
    for noise_scale in (5.0, 100.0, 3000.0):
        probe = FakeProbe(trace=noise_scale * 0.25, gradient_sq=0.25, dimension=4000)
        plan = chosen(probe)
        sizes = 2.0 ** np.arange(21)
        times = (1 + noise_scale / sizes) * (0.02 + 1e-4 * sizes)
        mine = (1 + noise_scale / plan.size) * (0.02 + 1e-4 * plan.size)
        assert mine <= 1.02 * times.min()
