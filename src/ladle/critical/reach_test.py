from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from ladle.core.cursor import Cursor
from ladle.core.spec import BatchSpec
from ladle.critical.reach import FARTHEST, Arrival, crossing, steps_to, tuned


class Halving:
    """A step whose loss is `(1 - rate)^updates`; a rate of 2 or more is refused."""

    def init(self, seed, hyper):
        return 1.0, hyper["lr"]

    def __call__(self, state, draw, spec, lr_factor):
        loss, rate = state
        reading = {"refused": float(rate >= 2)}
        return (loss * (1 - rate) ** spec.updates, rate), SimpleNamespace(read=lambda: reading)


class Anything:
    """A feed of which nothing is read."""

    def __init__(self, resident: bool) -> None:
        self.resident = resident

    def start(self):
        return Cursor()

    def draw(self, cursor, spec):
        return None, cursor


class Noisy:
    """A step on the quadratic sum(h x^2) / 2, with a gradient noise of `sd`: its expected loss is known."""

    h = 1 / np.arange(1, 41.0)

    def __init__(self, sd: float, begin: int = 0) -> None:
        self.sd, self.begin = sd, begin

    def init(self, seed, hyper):
        return np.ones(40), hyper["lr"], np.random.default_rng(self.begin + seed)

    def __call__(self, state, draw, spec, lr_factor):
        x, rate, rng = state
        for _ in range(spec.updates):
            x = x - rate * (self.h * x + self.sd * np.sqrt(self.h) * rng.standard_normal(40))
        return (x, rate, rng), SimpleNamespace(read=lambda: {"refused": 0.0})

    def read(self, state):
        return float(self.h @ state[0] ** 2) / 2

    def expected(self, rate: float, target: float) -> float:
        second, done, before = np.ones(40), 0, math.inf
        while (now := float(self.h @ second) / 2) > target:
            second = (1 - rate * self.h) ** 2 * second + rate**2 * self.sd**2 * self.h
            done, before = done + 1, now
        return done - 1 + (before - target) / (before - now)


def arrival(rate: float, target: float, most: int = 10_000, resident: bool = True, seeds: int = 1) -> Arrival:
    read = lambda state: state[0]  # noqa: E731
    feeds = [Anything(resident)] * seeds
    return steps_to(Halving(), feeds, BatchSpec(4, 4), read, target, rate=rate, most=most)


def steps(rate: float, target: float, most: int = 10_000, resident: bool = True) -> float:
    return arrival(rate, target, most, resident).steps


@pytest.mark.parametrize("resident", [False, True])
def test_steps_are_counted_to_the_place_between_two_evaluations(resident: bool):
    for rate in (0.5, 0.1, 0.01, 0.001):
        exact = math.log(1e-2) / math.log1p(-rate)
        assert steps(rate, 1e-2, resident=resident) == pytest.approx(exact, rel=0.05)
    assert steps(0.5, 0.5) == 1 and steps(0.5, 0.75) == 0.5


def test_a_target_that_is_not_reached_takes_for_ever():
    assert steps(0.001, 1e-9, most=1000) == math.inf
    assert steps(3.0, 1e-9) == math.inf
    assert steps(0.1, 2.0) == 0


@pytest.mark.parametrize("best", [1e-3, 0.02, 0.3, 5.0])
def test_the_best_rate_is_found_from_far_away(best: float):
    found = tuned(lambda rate, fewest: 100 + math.log(rate / best) ** 2, 0.05)
    assert abs(math.log(found.rate / best)) < math.log(3) / 8 + 1e-9
    rates = [rate for rate, _ in found.tried]
    assert rates == sorted(rates) and len(rates) < 14


def test_a_rate_is_looked_for_where_the_first_ones_fail():
    def only_small(rate: float, fewest: float) -> float:
        return 1 / rate if rate < 1e-3 else math.inf

    assert tuned(only_small, 0.1).rate == pytest.approx(1e-3, rel=0.3)
    never = tuned(lambda rate, fewest: math.inf, 0.1)
    assert never.steps == math.inf and len(never.tried) == 2 * FARTHEST + 1


def test_the_fewest_steps_so_far_are_handed_on():
    seen = []

    def measure(rate: float, fewest: float) -> float:
        seen.append(fewest)
        return 10.0 - len(seen)

    tuned(measure, 1.0)
    assert seen[0] == math.inf and seen[1:] == sorted(seen[1:], reverse=True)


def test_the_rate_is_looked_for_closer_where_the_best_one_is_beside_one_that_fails():
    """Steps fall with the rate up to 1.9: of tries 3^(1/4) apart the best may be 24 % below it, of 3^(1/8) 13 %."""
    found = tuned(lambda rate, fewest: 10 / rate if rate < 1.9 else math.inf, 1.6)
    assert found.rate == pytest.approx(1.6 * 3**0.125)


def test_the_crossing_is_that_of_the_falling_path_nearest_to_the_readings():
    """Against the closed form: the fit at i is the largest over b >= i of the smallest over a <= i of mean(a .. b)."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        readings = np.linspace(2, 0, 25) + 0.4 * rng.standard_normal(25)
        mean = lambda a, b, r=readings: r[a : b + 1].mean()  # noqa: E731
        fit = [max(min(mean(a, b) for a in range(i + 1)) for b in range(i, 25)) for i in range(25)]
        found = crossing(range(25), readings, 1.0)
        below = next(i for i in range(25) if fit[i] <= 1.0)
        blocks = [np.flatnonzero(np.isclose(fit, fit[i])).mean() for i in (below - 1, below)]
        share = (fit[below - 1] - 1.0) / (fit[below - 1] - fit[below])
        assert found == pytest.approx(blocks[0] + share * (blocks[1] - blocks[0]))


def test_a_path_that_never_or_always_is_below_has_no_crossing():
    assert crossing([0, 1, 2], [3.0, 2.0, 2.5], 1.0) == math.inf
    assert crossing([0, 1, 2], [0.5, 0.8, 0.2], 1.0) == 0.0


def test_noisy_steps_arrive_when_their_mean_does_and_not_at_the_first_passage():
    noisy, rate, target = Noisy(1.0), 0.15, 0.35
    exact, first, found = noisy.expected(rate, target), [], []
    for begin in range(0, 90, 3):
        noisy.begin = begin
        read, feeds = noisy.read, [Anything(True)] * 3
        found.append(steps_to(noisy, feeds, BatchSpec(4, 4), read, target, rate=rate, most=2000))
        state, done = noisy.init(0, {"lr": rate}), 0
        while noisy.read(state) > target:
            state, done = noisy(state, None, BatchSpec(4, 4), 1.0)[0], done + 1
        first.append(done)
    logs = np.log([one.steps / exact for one in found])
    assert np.mean(first) < 0.85 * exact
    assert np.exp(logs.mean()) == pytest.approx(1, abs=0.06)
    errors = math.sqrt(np.mean([one.error**2 for one in found]))
    assert 0.6 < errors / logs.std() < 1.6
    assert all(len(one.each) == 3 for one in found)


def test_seeds_that_agree_have_no_error_and_one_seed_has_an_unknown_one():
    three = arrival(0.1, 1e-2, seeds=3)
    assert three.each == (three.steps,) * 3 and three.error == pytest.approx(0, abs=1e-12)
    assert math.isnan(arrival(0.1, 1e-2).error)
    assert arrival(3.0, 1e-9, seeds=3).steps == math.inf and not arrival(3.0, 1e-9, seeds=3).each
