from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from ladle.core.cursor import Cursor
from ladle.core.spec import BatchSpec
from ladle.critical.reach import FARTHEST, steps_to, tuned


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


def steps(rate: float, target: float, most: int = 10_000, resident: bool = True) -> float:
    read = lambda state: state[0]  # noqa: E731
    return steps_to(Halving(), Anything(resident), BatchSpec(4, 4), read, target, rate=rate, most=most)


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
