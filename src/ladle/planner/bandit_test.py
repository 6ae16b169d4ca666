from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ladle.core.errors import ArgumentError
from ladle.planner.bandit import PRIOR_SD, Bandit, JobCost, StudentT, student

COSTS = {16: 1.0, 32: 1.2}
SIZES = (8, 16, 32, 64, 128)


def played(bandit: Bandit, cost: Callable[[int, int], float | None], jobs: int) -> list[JobCost]:
    """Trials of `jobs` jobs, where `cost(size, number)` is None for a miss; those cost what they were stopped at."""
    trials: list[JobCost] = []
    for number in range(jobs):
        size = bandit.pick(trials).size
        taken = cost(size, number)
        most = bandit.limit(trials)
        missed = taken is None or taken > most
        trials.append(JobCost(size, most if missed and most < math.inf else taken or 1.0, not missed))
    return trials


def test_t21_a_known_variance_and_no_prior_mean_give_the_mean_and_its_precision():
    values, variance = [1.0, 4.0, 2.5, 0.5], 3.0
    known = student(values, prior_sd=variance**0.5, prior_weight=math.inf)
    assert (known.mean, known.scale**-2) == pytest.approx((2.0, len(values) / variance))


def test_an_unknown_variance_gives_the_textbook_t():
    values = np.array([1.0, 4.0, 2.5, 0.5])
    found = student(values, prior_weight=0)
    assert (found.mean, found.scale, found.dof) == pytest.approx((2.0, values.std(ddof=1) / 2, 3))
    with pytest.raises(ArgumentError, match="values must be two or more without a prior"):
        student([1.0], prior_weight=0)


def test_the_t_covers_the_mean_as_often_as_it_says():
    """Two runs a size: the t says 95 % and holds 95 %; a variance taken for known holds 60 %."""
    rng, half = np.random.default_rng(0), 12.706  # t of 95 % with one degree of freedom
    pairs = rng.normal(0.0, 0.1, (2000, 2))
    textbook = [student(pair, prior_weight=0) for pair in pairs]
    assert np.mean([abs(t.mean) <= half * t.scale for t in textbook]) == pytest.approx(0.95, abs=0.01)
    known = [student(pair, prior_sd=float(np.std(pair)), prior_weight=math.inf) for pair in pairs]
    assert np.mean([abs(t.mean) <= 1.96 * t.scale for t in known]) == pytest.approx(0.60, abs=0.03)


def chance(better: StudentT, worse: StudentT, rng: np.random.Generator, draws: int = 1000) -> float:
    """How often the better of two sizes is drawn lower."""
    t = [
        m.mean + m.scale * (rng.standard_normal(draws) if math.isinf(m.dof) else rng.standard_t(m.dof, draws))
        for m in (better, worse)
    ]
    return float(np.mean(t[0] < t[1]))


def test_trap_12_two_lucky_runs_do_not_lock_the_bandit():
    """Sizes that cost 1 and 1.1, jobs that differ by 20 %, two runs each: how often is the better given up at once?

    Given up: drawn less than once in a hundred. With the variance of two runs taken for the true one, in 6 % of the
    cases; with a Student t, in none.
    """
    rng = np.random.default_rng(0)
    locked = Counter()
    for _ in range(1000):
        pair = rng.normal(0.0, 0.2, 2), rng.normal(math.log(1.1), 0.2, 2)
        known = [student(x, prior_sd=float(np.std(x)), prior_weight=math.inf) for x in pair]
        locked["known variance"] += chance(*known, rng) < 0.01
        locked["student"] += chance(student(pair[0]), student(pair[1]), rng) < 0.01
    assert 0.035 < locked["known variance"] / 1000 < 0.085
    assert locked["student"] == 0


def test_two_arms_regret_stays_small_and_the_better_wins():
    """Costs 1 and 1.2, 10 % noise, 20 bandits of 60 jobs: what is lost against always taking the better.

    About 1.0, of the 12 that always taking the worse would lose; 98 % of the last 30 jobs take the better.
    """
    lost, late = [], []
    for seed in range(20):
        noise = np.random.default_rng(seed).lognormal(0.0, 0.1, 60)
        bandit = Bandit((16, 32), default=32, seed=seed)
        trials = played(bandit, lambda size, number, noise=noise: COSTS[size] * noise[number], 60)
        lost.append(sum(COSTS[t.size] - 1.0 for t in trials))
        late.append(np.mean([t.size == 16 for t in trials[30:]]))
    assert np.mean(lost) < 0.2 * 60 / 5, "a fifth of always taking the worse"
    assert np.mean(late) > 0.9


def test_usual_jobs_are_not_stopped_however_lucky_the_luckiest_was():
    """Costs 1 and 1.2, 30 % noise, 10 bandits of 200 jobs: 1 % of the last 50 are stopped, and a success costs 1.08.

    With twice the cheapest job ever as the limit, which sinks with every lucky job, 39 % and 1.46.
    """
    stopped, each = [], []
    for seed in range(10):
        noise = np.random.default_rng(seed).lognormal(0.0, PRIOR_SD, 200)
        trials = played(
            Bandit((16, 32), 32, seed=seed), lambda size, number, noise=noise: COSTS[size] * noise[number], 200
        )
        stopped.append(np.mean([not t.reached for t in trials[150:]]))
        each.append(sum(t.cost for t in trials) / sum(t.reached for t in trials))
    assert np.mean(stopped) < 0.05
    assert np.mean(each) < 1.15


def test_what_is_paid_is_the_mean_not_the_median():
    """16 costs 1 in the median and 1.197 in the mean, 32 costs 1.1 always; 10 bandits of 150 jobs that are not stopped.

    16 is taken in about 20 % of the last 75 jobs; where medians are compared, in 70 %.
    """
    late = []
    for seed in range(10):
        noise = np.random.default_rng(seed).lognormal(0.0, 0.6, 150)
        bandit = Bandit((16, 32), default=32, beta=1e9, seed=seed)
        trials = played(bandit, lambda size, number, noise=noise: noise[number] if size == 16 else 1.1, 150)
        late.append(np.mean([t.size == 16 for t in trials[75:]]))
    assert np.mean(late) < 0.4


def test_a_draw_is_of_the_posterior_its_mean_a_student_t_and_its_variance_an_inverse_chi_square():
    known = student([1.0, 2.0, 4.0, 3.5], prior_weight=2)
    draws = np.array([known.draw(rng) for rng in [np.random.default_rng(0)] for _ in range(20_000)])
    t = (draws[:, 0] - known.mean) / known.scale
    assert np.mean(np.abs(t) <= 2.571) == pytest.approx(0.95, abs=0.005), "five degrees of freedom"
    assert np.median(known.dof * known.sd**2 / draws[:, 1]) == pytest.approx(4.351, rel=0.03), "of chi^2 with five"
    assert student([1.0], prior_sd=0.5, prior_weight=math.inf).draw(np.random.default_rng(0))[1] == 0.25


def test_the_walk_goes_down_then_up_twice_and_stops_at_the_first_miss():
    def cost(size: int, _: int) -> float | None:
        return None if size in (8, 128) else 1.0 + abs(size - 16) / 100

    trials = played(Bandit(SIZES, default=32), cost, 9)
    assert [t.size for t in trials[:5]] == [32, 16, 8, 64, 128], "down to the first miss, then up to it"
    assert [t.size for t in trials[5:8]] == [16, 32, 64], (
        "the second round starts from the cheapest, without the missed"
    )
    assert Bandit(SIZES, default=32).pick(trials[:4]).reason == "round 1 of 2, walking up from 32"


def test_a_size_that_missed_comes_back_ever_more_rarely():
    """128 misses every second time it is tried; 64 costs a little more and never misses."""

    def cost(size: int, number: int) -> float | None:
        return 0.4 if size == 128 and number % 2 else None if size == 128 else 1.0

    tried = [t.size for t in played(Bandit((64, 128), default=64, seed=2), cost, 80)]
    assert tried[1] == 128 and 128 in tried[4:], "it missed at first and was tried again"
    misses = played(Bandit((64, 128), default=64), lambda size, _: None if size == 128 else 1.0, 200)
    again = [i for i, t in enumerate(misses) if t.size == 128]
    assert 2 <= len(again) <= 30 and sum(i >= 100 for i in again) <= 6


def test_beyond_a_miss_a_size_is_tried_once_its_neighbour_reached_the_target():
    bandit = Bandit((16, 32, 64), default=16, rounds=1)
    missed = [JobCost(16, 1.0, True), JobCost(32, 2.0, False)]
    assert bandit.pick(missed).size != 64
    assert bandit.pick([*missed, JobCost(32, 0.9, True)]).size == 64


def test_where_nothing_reaches_the_target_every_size_is_tried():
    trials = played(Bandit(SIZES, default=32), lambda size, _: None, 30)
    assert {t.size for t in trials} == set(SIZES)


def test_a_drift_is_followed_within_the_window():
    def cost(size: int, number: int) -> float:
        return {32: 1.0, 64: 1.5}[size] if number < 40 else {32: 3.0, 64: 1.5}[size]

    late = [t.size for t in played(Bandit((32, 64), default=32, window=5), cost, 80)[60:]]
    assert late.count(64) >= 16


def test_a_job_that_became_dearer_is_not_stopped_for_ever():
    trials = played(Bandit((32, 64), default=32), lambda size, number: 1.0 if number < 10 else 10.0, 30)
    assert [t.reached for t in trials[10:14]] == [False, False, False, True], "2, 4, 8, then 16 are enough"


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.integers(0, 40))
def test_picks_depend_on_the_trials_alone(seed: int, jobs: int):
    rng = np.random.default_rng(seed)
    trials = played(Bandit(SIZES, 32, seed=seed), lambda *_: None if rng.random() < 0.3 else rng.lognormal(0, 3), jobs)
    pick = Bandit(SIZES, 32, seed=seed).pick(trials)
    assert pick == Bandit(SIZES, 32, seed=seed).pick([*trials])
    assert pick.size in SIZES and pick.reason


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sizes": ()}, "sizes must be different and ascending"),
        ({"sizes": (32, 16)}, "sizes must be different and ascending"),
        ({"sizes": (0, 16)}, "sizes must be at least 1"),
        ({"default": 24}, "default must be one of the sizes"),
        ({"beta": 1.0}, "beta must be above 1"),
        ({"window": -1}, "rounds and window must not be negative; got .*because they count"),
        ({"seed": -1}, "seed must be a whole number from 0"),
    ],
)
def test_bad_arguments_are_named(wrong: dict, said: str):
    with pytest.raises(ArgumentError, match=said):
        Bandit(**{"sizes": (16, 32), "default": 16, **wrong})


@pytest.mark.parametrize("cost", [0.0, -1.0, math.inf, math.nan])
def test_a_cost_that_is_none_is_refused(cost: float):
    with pytest.raises(ArgumentError, match="cost must be positive"):
        JobCost(16, cost, True)
