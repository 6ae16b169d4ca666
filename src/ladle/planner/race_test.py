from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ladle.planner.heats import Heats, heats, level_of
from ladle.planner.lane import Lane, Race, judged_lanes, valley
from ladle.planner.path import Path, advanced, evaluations, smooth, started
from ladle.planner.race import Judge, race
from ladle.planner.tryout import RUNS


@dataclass
class Quadratic:
    """Exact losses of SGD on sum h_i x_i^2 / 2 with gradient noise: a noisy quadratic, in closed form per update.

    E[x_i^2] <- (1 - rate h_i)^2 E[x_i^2] + rate^2 noise h_i; `spread`: log-normal error of each evaluation.
    """

    noise: float = 1e-3
    spread: float = 0.0
    h: np.ndarray = field(default_factory=lambda: 1 / np.arange(1.0, 21.0))
    updates: Counter[float] = field(default_factory=Counter)

    def start(self, rate: float, seed: int) -> tuple[Any, float]:
        return (rate, np.random.default_rng((seed, int(rate * 1e9))), np.ones(20)), self._loss(np.ones(20), None)

    def advance(self, run: Any, updates: int) -> tuple[Any, float]:
        rate, rng, square = run
        self.updates[round(rate, 12)] += updates
        keep = (1 - rate * self.h) ** 2
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            kept = keep**updates
            noise = np.where(keep == 1, updates, (1 - kept) / (1 - keep))
            square = kept * square + rate**2 * self.noise * self.h * noise
        return (rate, rng, square), self._loss(square, rng)

    def _loss(self, square: np.ndarray, rng: Any) -> float:
        loss = float(self.h @ square / 2)
        return loss * math.exp(self.spread * rng.standard_normal()) if rng is not None else loss


def truth(noise: float, level: float, rates: np.ndarray) -> np.ndarray:
    """Updates to `level` at each rate, one by one."""
    taken = []
    for rate in rates:
        runner = Quadratic(noise=noise)
        run, loss = runner.start(float(rate), 0)
        count = 0
        while loss > level and count < 5000 and loss < 1e6:
            run, loss = runner.advance(run, 1)
            count += 1
        taken.append(count if loss <= level else math.inf)
    return np.array(taken)


@pytest.mark.parametrize("usual", [1e-3, 0.05, 0.4, 5.0])
@pytest.mark.parametrize("noise", [1e-4, 1e-2])
def test_the_rate_is_within_a_quarter_of_the_fastest_whatever_the_usual_one(usual, noise):
    found = race(Quadratic(noise=noise, spread=0.02), usual, horizon=400)
    assert found.rate is not None and found.verdict != "not resolved"
    rates = np.geomspace(0.05, 2.5, 60)
    taken = truth(noise, found.level, rates)
    at = truth(noise, found.level, np.array([found.rate]))[0]
    assert at <= 1.25 * taken.min() + 1  # Rates are 1.8 times apart, and the fastest may be next to a cliff.
    assert found.low < rates[int(taken.argmin())] < found.high


def test_a_race_costs_what_is_said_of_it():
    runner = Quadratic(spread=0.02)
    found = race(runner, 0.05, horizon=900)
    assert found.horizon <= 900
    assert sum(runner.updates.values()) <= RUNS["time"] * 900


def test_a_loss_that_never_falls_has_no_rate():
    flat = Quadratic(h=np.zeros(20))
    found = race(flat, 0.1, horizon=100)
    assert found.rate is None and found.verdict == "not resolved"


def test_where_everything_diverges_there_is_no_rate():
    found = race(Quadratic(h=np.full(20, 1e9)), 1e3, horizon=60)
    assert found.rate is None


def test_the_grid_grows_where_its_end_is_best():
    """The usual rate is ten thousand times too large: rates below a tenth of it are added until one trains."""
    first = heats(Quadratic(spread=0.02), 1e4 * 0.5, horizon=200)
    assert first.learned and 0.1 < first.leader.rate < 2.0


def test_the_same_race_twice_is_the_same():
    one, other = (race(Quadratic(spread=0.05), 0.01, horizon=200) for _ in range(2))
    assert one == other


def test_seeds_that_disagree_leave_a_flat_range():
    found = race(Quadratic(spread=0.6, noise=1e-2), 0.1, horizon=300)
    calm = race(Quadratic(spread=0.01, noise=1e-2), 0.1, horizon=300)
    assert math.log(found.high / found.low if found.low else math.inf) >= math.log(calm.high / calm.low) - 1e-9


def test_slower_is_read_between_the_rates_that_were_tried():
    lanes = (
        Lane(0.1, math.log(4.0), 1, True, False),
        Lane(0.3, 0.0, 3, False, True),
        Lane(0.9, math.log(2.0), 3, True, True),
    )
    found = Race(0.3, lanes, 1.0, 0.1, 50.0, 400, 3)
    assert (found.low, found.high, found.flat, found.verdict) == (0.1, 0.9, (0.3, 0.3), "resolved")
    assert found.slower(0.1) == pytest.approx(4.0) and found.slower(0.3) == 1.0
    assert found.slower(math.sqrt(0.27)) == pytest.approx(math.sqrt(2.0))
    assert math.isnan(found.slower(1.0))


def test_one_rate_is_worse_only_where_the_seeds_say_so():
    """log T: the second rate takes 30 % more with every seed, the third as much on average but in no order."""
    best = np.array([100.0, 110.0, 90.0])
    sure = judged_lanes([1, 2], np.stack([best, 1.3 * best]), most=1000)
    assert [lane.worse for lane in sure] == [False, True]
    unsure = judged_lanes([1, 2, 3], np.stack([best, best * [2.2, 1.0, 1.0], best * [1.0, 1.0, 2.2]]), most=1000)
    assert not any(lane.worse for lane in unsure)
    never = judged_lanes([1, 2], np.stack([best, [np.inf, 120.0, 130.0]]), most=1000)
    assert [lane.worse for lane in never] == [False, True] and not never[1].reached


def test_equal_rates_are_seldom_called_worse():
    """Five equal rates, three seeds, log-normal times: some other one is called worse in few races of a thousand."""
    rng = np.random.default_rng(0)
    called = 0
    for _ in range(1000):
        taken = np.exp(5 + 0.3 * rng.standard_normal(3) + 0.2 * rng.standard_normal((5, 3)))
        called += any(lane.worse for lane in judged_lanes(range(1, 6), taken, most=1e6))
    assert called / 1000 < 0.35, "each is tested against the luckiest of five"


@given(st.integers(2, 10**5))
def test_evaluations_begin_at_nothing_and_end_at_the_horizon(horizon):
    times = evaluations(horizon)
    assert times[0] == 0 and times[-1] == horizon and times == sorted(set(times)) and len(times) <= 20


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_a_smoothed_path_never_rises_and_is_no_luckier_than_two_losses(losses):
    falls = smooth(range(len(losses)), losses)
    assert (np.diff(falls) <= 0).all() and falls[0] == losses[0]
    if len(losses) > 2:
        assert falls[-1] >= min(losses[0], sorted(losses)[1]) - 1e-9, "one lucky evaluation is not believed"


def test_a_level_is_reached_between_two_evaluations():
    path = Path(0.1, 0, None, (0, 10, 20, 40), (4.0, 2.0, 1.0, 0.5))
    assert path.reach(4.0) == 1.0 and path.reach(0.1) == math.inf
    assert 10 < path.reach(1.4) < 20
    assert Path(0.1, 0, None, (0, 10), (4.0, math.inf)).reach(5.0) == math.inf


@pytest.mark.parametrize("usual", [1e-3, 0.4])
def test_a_run_of_a_fixed_length_takes_the_rate_that_ends_lowest(usual):
    """With noise the fastest rate ends on a higher floor: the one that ends lowest is several times smaller."""
    fast, low = (race(Quadratic(noise=0.05), usual, horizon=400, aim=aim) for aim in ("time", "loss"))
    assert low.horizon == low.updates == 400 and low.rate < fast.rate / 1.5
    rates = np.geomspace(0.02, 1.9, 60)
    ends = []
    for rate in (*rates, low.rate):
        run, _ = Quadratic(noise=0.05).start(float(rate), 0)
        ends.append(Quadratic(noise=0.05).advance(run, 400)[1])
    assert ends[-1] <= 1.15 * min(ends)
    assert low.low < rates[int(np.argmin(ends[:-1]))] < low.high


def test_losses_below_zero_are_held_against_each_other_too():
    """The same loss less a constant: the same rate ends lowest."""

    class Lower(Quadratic):
        def _loss(self, square, rng):
            return super()._loss(square, rng) - 5.0

    one, other = (race(kind(noise=0.05), 0.1, horizon=300, aim="loss") for kind in (Quadratic, Lower))
    assert 0.5 < other.rate / one.rate < 2.0 and other.verdict != "not resolved"


def test_the_updates_told_are_those_of_seeds_that_did_not_race():
    ratios = []
    for number in range(12):
        runner = Shifted(number)
        found = race(runner, 0.05, horizon=300)
        assert found.rate is not None
        news = [advanced(runner, started(runner, found.rate, seed), evaluations(300), 300) for seed in range(100, 112)]
        taken = np.array([path.reach(found.level) for path in news])
        assert np.isfinite(taken).mean() > 0.9, "nearly every new seed gets there"
        ratios.append(np.log(taken[np.isfinite(taken)]).mean() - math.log(found.updates))
    assert abs(np.mean(ratios)) < 0.08 and np.median(np.abs(ratios)) < math.log(1.25)


class Shifted(Quadratic):
    """Each seed begins elsewhere: some take twice the updates of others."""

    def __init__(self, number: int) -> None:
        super().__init__(noise=1e-3, spread=0.02)
        self.number = number

    def start(self, rate: float, seed: int) -> tuple[Any, float]:
        (rate, rng, square), _ = super().start(rate, seed)
        square = square * math.exp(np.random.default_rng([self.number, seed]).normal())
        return (rate, rng, square), self._loss(square, rng)


def test_rates_that_end_level_are_told_apart_by_how_they_began():
    """Both get to the bottom at the same time; the one that was half-way sooner is taken."""
    judge, times = Judge("time", 1.0, 100.0), (0, 10, 20, 40, 80, 100, 110, 121, 133, 146, 161)
    late = (1.05, 1.05, 1.05, 1.05, 0.7, 0.7, 0.7)
    soon, later = (Path(1.0, 0, None, times, (11.0, half, half, half, *late)) for half in (1.06, 9.0))
    assert soon.reach(1.0) == pytest.approx(later.reach(1.0), rel=0.01) and judge(soon) < 0.9 * judge(later)


def test_a_race_goes_to_the_loss_that_is_wanted_and_no_further():
    """With noise a high rate is the fastest to an easy loss, a low one to a hard one."""
    easy, hard = (race(runner, 0.1, horizon=2000, goal=goal) for runner, goal in ((NOISY(), 0.3), (NOISY(), 0.045)))
    assert (easy.level, hard.level) == (0.3, 0.045) and easy.reached_goal and hard.reached_goal
    assert easy.rate is not None and hard.rate is not None and hard.rate < easy.rate / 1.5
    assert easy.horizon < hard.horizon < 2000
    for found, goal in ((easy, 0.3), (hard, 0.045)):
        rates = np.geomspace(0.02, 1.9, 60)
        assert truth(0.05, goal, np.array([found.rate]))[0] <= 1.25 * truth(0.05, goal, rates).min() + 1


def test_a_loss_that_is_never_reached_is_not_raced_to():
    found = race(NOISY(), 0.1, horizon=300, goal=1e-9)
    assert found.rate is not None and found.level > 1e-9 and not found.reached_goal


def NOISY() -> Quadratic:
    return Quadratic(noise=0.05, spread=0.01)


def test_the_rate_is_the_middle_of_a_valley_and_not_its_luckiest_point():
    """log T is a parabola with the bottom at 0.1; one rate beside it is lucky by a tenth."""
    rates = 0.1 * 10 ** (np.arange(-3, 4) / 4)
    logs = 1.2 * np.log(rates / 0.1) ** 2 / math.log(10) ** 2
    logs[4] -= 0.1 + logs[4]
    lanes = [Lane(rate, log + 0.1, 3, log > 0.3, True) for rate, log in zip(rates, logs, strict=True)]
    best = min(lanes, key=lambda lane: lane.slower)
    assert best.rate == rates[4] and 0.09 < valley(lanes, best, most=0.1) < 0.14
    assert valley(lanes[3:5], best, most=0.1) == best.rate, "two rates are no parabola"


def test_the_bottom_of_a_valley_is_a_rate_that_was_not_shown_to_be_slower():
    """The parabola falls beyond the highest rate that is as good as the best: what lies there was not tried."""
    lanes = [Lane(0.1 * 2**k, 0.3 * (3 - k), 3, k < 2, True) for k in range(4)] + [Lane(1.6, 1.0, 3, True, True)]
    assert 0.4 <= valley(lanes, lanes[3], most=0.1) <= 0.8


def test_a_goal_that_lies_near_the_start_is_learned_once_it_is_reached():
    """One part in thirty of the loss at the start: less than tells rates apart by itself, but it is what was wanted."""
    path = Path(0.1, 0, None, (0, 1, 2, 3), (1.0, 0.97, 0.965, 0.965))
    assert Heats((path,), path, path.times, 0.0, goal=0.975).learned
    assert not Heats((path,), path, path.times, 0.0, goal=0.9).learned
    assert not Heats((path,), path, path.times, 0.0).learned


def test_no_rate_above_the_best_is_taken_next_to_a_cliff():
    lanes = [Lane(0.1 * 2**k, 1.0 - 0.25 * k, 3, False, True) for k in range(5)] + [Lane(3.2, 2.0, 3, True, False)]
    assert valley(lanes, lanes[4], most=0.1) <= lanes[4].rate


def test_the_jitter_of_a_path_is_what_its_readings_differ_by_chance():
    rng, times = np.random.default_rng(0), tuple(range(0, 400, 10))
    falling = 3.0 - np.arange(40) / 20
    one = Path(0.1, 0, None, times, tuple(falling))
    noisy = [Path(0.1, 0, None, times, tuple(falling + 0.1 * rng.standard_normal(40))).jitter for _ in range(50)]
    assert one.jitter == pytest.approx(0.0, abs=1e-9) and np.mean(noisy) == pytest.approx(0.1, rel=0.2)
    assert Path(0.1, 0, None, (0, 1), (2.0, 1.0)).jitter == math.inf


def test_a_level_lies_no_further_above_the_lowest_than_chance_carries_a_reading():
    """Slow descents without jitter: 5 % above their end would be most of the run."""
    times = tuple(range(0, 400, 10))
    calm = [[Path(rate, 0, None, times, tuple(1.0 - np.arange(40) / 400))] for rate in (0.1, 0.2, 0.3)]
    assert level_of(calm) == pytest.approx(calm[0][0].lowest, abs=1e-9)
    assert level_of(calm, 0.95) == 0.95 and level_of(calm, 0.1) == level_of(calm)
