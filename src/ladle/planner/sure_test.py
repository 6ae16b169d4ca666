from __future__ import annotations

import math

import numpy as np
import pytest

from ladle.core.noise import NoiseScale
from ladle.core.speed import Speed
from ladle.planner.decide import decide
from ladle.planner.measure import Accumulation
from ladle.planner.sure import SURE, chances, surely_of, surely_within
from ladle.planner.target import Cost
from ladle.planner.throughput import ThroughputLine, fit_throughput

COST = Cost(200.0, 1.0, noise=800.0)


def none() -> Accumulation:
    raise AssertionError("nothing is accumulated here")


def test_chances_are_those_of_a_simulation():
    rng, sizes = np.random.default_rng(0), np.array([150.0, 300.0, 400.0, 600.0, 1000.0])
    hits = np.zeros(5)
    for _ in range(4000):
        true = Cost(200 * math.exp(0.3 * rng.normal()), 1.0, noise=800 * math.exp(0.5 * rng.normal()))
        hits += [true(size) <= 1.05 * true(true.best) for size in sizes]
    found = chances(COST, 0.3, 0.5, sizes, share=0.05, largest=10**6)
    assert found == pytest.approx(hits / 4000, abs=0.03)


def test_what_is_promised_holds_and_shrinks_with_what_is_known():
    """Sizes inside, drawn at both ends and between, at truths drawn from what was known."""
    rng, widths = np.random.default_rng(1), []
    for knee_sd, noise_sd in ((0.02, 0.05), (0.1, 0.15), (0.15, 0.25)):
        (low, high), sure = surely_within(COST, knee_sd, noise_sd, 400, share=0.05, largest=10**6)
        truths = [
            Cost(200 * math.exp(knee_sd * a), 1.0, noise=800 * math.exp(noise_sd * b))
            for a, b in rng.standard_normal((2000, 2))
        ]
        for size in (low, (low + high) // 2, high):
            assert np.mean([true(size) <= 1.05 * true(true.best) for true in truths]) > SURE - 0.03
        assert sure == SURE and low <= 400 <= high
        widths.append(high - low)
    assert widths[0] > widths[1] > widths[2] > 0


def test_where_too_little_is_known_the_size_stands_alone_with_its_own_chance():
    within, sure = surely_within(COST, 0.6, 0.7, 512, share=0.05, largest=10**6)
    assert within == (512, 512) and 0.2 < sure < SURE
    assert surely_within(Cost(0.0, 1.0, noise=8.0), 0.1, 0.1, 4, share=0.05, largest=99)[0] == (4, 4)


def test_at_the_largest_size_there_is_nothing_to_lose():
    (low, high), sure = surely_within(Cost(2e4, 1.0, noise=8e4), 0.3, 0.3, 1000, share=0.05, largest=1000)
    assert high == 1000 and low < 1000 and sure == SURE


def decided(noise: NoiseScale, line: ThroughputLine, rows: int = 10**6, top: int = 4096):
    return decide(noise, line, rows=rows, top=top, minimize="time", accumulation=none)


def test_the_sizes_of_a_decision_carry_the_errors_of_knee_and_noise_scale():
    def line(knee_sd: float) -> ThroughputLine:
        return ThroughputLine(Speed(1e-3, 2e-5), 1e-6, 1e-8, knee_sd, (), 0.0)

    sharp = decided(NoiseScale(400, 392, 408, "resolved"), line(0.02))
    vague = decided(NoiseScale(400, 100, 1600, "resolved"), line(0.6))
    assert sharp.within[0] < 100 and sharp.within[1] > 200 and sharp.confidence == SURE
    assert vague.within == (128, 128) and vague.confidence < SURE
    assert vague.target_high / vague.target_low > 4 * sharp.target_high / sharp.target_low, "the interval widens"


def test_all_rows_are_charged_at_their_own_number():
    line = fit_throughput({1: [1.0001], 64: [1.0064], 2048: [1.2048]})
    choice = decided(NoiseScale(4e5, 3.9e5, 4.1e5, "resolved"), line, rows=1100, top=2048)
    assert (choice.spec.size, choice.spec.micro_size) == (1100, 1100)
    assert choice.seconds == pytest.approx(1.11)


def test_without_a_fixed_part_no_ideal_size_is_told():
    steep = fit_throughput({1: [0.00105], 64: [0.07], 512: [0.56]})
    choice = decided(NoiseScale(100, 95, 105, "resolved"), steep, rows=512, top=512)
    assert choice.bound == "unresolved speed" and math.isnan(choice.target) and choice.within[0] == choice.spec.size
    flat = decided(NoiseScale(100, 95, 105, "resolved"), fit_throughput({1: [0.02], 64: [0.0199]}), rows=64, top=64)
    assert flat.bound == "unresolved speed" and flat.spec.size == 64


def test_a_size_that_arrived_alone_is_as_good_as_the_best():
    assert surely_of({32: math.inf, 64: 0.0, 128: math.inf}, 64, share=0.05) == ((64, 64), SURE)
    assert surely_of({64: 0.0}, 64, share=0.05) == ((64, 64), SURE)


def test_what_trials_promise_holds_at_truths_that_they_saw_with_errors():
    """Log costs of 32 and 128 over 64, forecast to 0.25 and seen to 0.06: promised sizes are within 5 % in 9 of 10."""
    rng, held = np.random.default_rng(2), []
    forecast, doubt, luck = np.array([0.1, 0.0, 0.1]), np.array([0.25, 0.0, 0.25]), 0.06
    share = doubt**2 / (doubt**2 + luck**2)
    for _ in range(800):
        truth = forecast + doubt * rng.standard_normal(3)
        seen = share * (truth + luck * rng.standard_normal(3)) + (1 - share) * forecast
        errors = np.sqrt(share) * luck * rng.standard_normal((500, 3))
        drawn = dict(zip((32, 64, 128), (seen + errors).T, strict=True))
        (low, high), sure = surely_of(drawn, (32, 64, 128)[int(seen.argmin())], share=0.05)
        inside = [
            cost <= truth.min() + math.log(1.05) for at, cost in zip(drawn, truth, strict=True) if low <= at <= high
        ]
        held += inside if sure == SURE else []
    assert len(held) > 400 and np.mean(held) > 0.88
