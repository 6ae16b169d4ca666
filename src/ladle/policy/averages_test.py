from __future__ import annotations

import json
import math

import pytest

from ladle.core.decision import Progress
from ladle.core.moments import Moments
from ladle.core.noise import estimate
from ladle.policy.averages import Averages
from ladle.policy.range import HALF_LIFE


def window(trace: float, square: float, *, updates: int, examples: int, **more: float) -> Progress:
    """Progress after a window whose updates all measured the same pair."""
    moments = Moments.from_pairs([trace] * updates, [square] * updates, examples)
    return Progress(examples, updates, reading={**{f"noise/{k}": v for k, v in vars(moments).items()}, **more})


def absorbed(*windows: Progress, size: int = 16, also: tuple[str, ...] = ()) -> Averages:
    averages = Averages()
    for each in windows:
        averages = averages.absorb(each, size, also=also)
    return averages


def test_windows_fade_by_their_measured_updates() -> None:
    first, second = (
        window(1.0, 0.1, updates=10, examples=100),
        window(5.0, 0.3, updates=int(HALF_LIFE), examples=900),
    )
    moments = absorbed(first, second).moments
    assert moments.count == pytest.approx(HALF_LIFE + 5)
    assert moments.trace == pytest.approx(5 * 1.0 + HALF_LIFE * 5.0)


def test_windows_of_smaller_batches_count_less() -> None:
    averages = absorbed(window(1.0, 0.1, updates=10, examples=100), size=16)
    second = window(5.0, 0.3, updates=32, examples=900)
    grown, shrunk = (averages.absorb(second, size).moments for size in (64, 8))
    assert (grown.count, shrunk.count) == (32 + 10 / 2 / 4, 32 + 10 / 2)


def test_a_first_window_is_not_biased_towards_zero() -> None:
    first = window(30.0, 0.1, updates=4, examples=256)
    assert absorbed(first).noise() == estimate(first.moments())


def test_the_ratio_is_of_averages() -> None:
    two = (window(10.0, 0.5, updates=2, examples=100), window(10.0, 0.01, updates=2, examples=200))
    assert absorbed(*two).noise().value == pytest.approx(10.0 / 0.255, rel=0.05)  # not (20 + 1000) / 2


def test_a_window_counts_once_and_an_empty_or_broken_one_not_at_all() -> None:
    one = window(10.0, 0.5, updates=2, examples=100)
    averages = absorbed(one)
    assert averages.absorb(one, 16) == averages
    assert averages.absorb(Progress(200, reading={"train_loss": 1.0}), 16) == averages
    assert averages.absorb(window(math.inf, 0.5, updates=2, examples=200), 16) == averages


def test_other_readings_are_averaged_alike() -> None:
    two = [window(1, 1, updates=32, examples=10 * n, train_loss=3.0 * n - 1) for n in (1, 2)]
    averages = absorbed(*two, also=("train_loss",))
    assert averages.mean("train_loss") == pytest.approx(4.0)
    assert math.isnan(Averages().mean("train_loss"))
    assert Averages.recall(json.loads(json.dumps(averages.to_json(), allow_nan=False))) == averages


def test_averages_of_other_readings_begin_anew() -> None:
    """A policy that goes on from the memory of one that averaged less: a mean over half the windows is none."""
    first, second = (window(1, 1, updates=32, examples=10 * n, train_loss=2.0) for n in (1, 2))
    averages = absorbed(first).absorb(second, 16, also=("train_loss",))
    assert averages == Averages().absorb(second, 16, also=("train_loss",))


def test_sums_of_other_moments_than_todays_are_none() -> None:
    averages = absorbed(window(1, 1, updates=32, examples=10))
    written = averages.to_json()
    older = {name: value for name, value in written["sums"].items() if name != "projection"}
    assert Averages.recall({**written, "sums": older}) == Averages()
