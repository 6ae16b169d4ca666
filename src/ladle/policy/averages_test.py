from __future__ import annotations

import json
import math

import pytest

from ladle.core.decision import Progress
from ladle.core.moments import Moments
from ladle.core.noise import estimate
from ladle.policy.averages import absorb, mean_of, moments_of, noise_of
from ladle.policy.range import Range

SIZES = Range(16, 1024, micro_size=64)


def window(trace: float, square: float, *, updates: int, examples: int, **more: float) -> Progress:
    """Progress after a window whose updates all measured the same pair."""
    moments = Moments.from_pairs([trace] * updates, [square] * updates, examples)
    return Progress(examples, updates, reading={**{f"noise/{k}": v for k, v in vars(moments).items()}, **more})


def test_windows_fade_by_their_measured_updates() -> None:
    memory = absorb(SIZES, None, window(1.0, 0.1, updates=10, examples=100))
    memory = absorb(SIZES, memory, window(5.0, 0.3, updates=int(SIZES.half_life), examples=900))
    moments = moments_of(memory)
    assert moments.count == pytest.approx(SIZES.half_life + 5)
    assert moments.trace == pytest.approx(5 * 1.0 + SIZES.half_life * 5.0)


def test_windows_of_smaller_batches_count_less() -> None:
    memory = absorb(SIZES, {"first": 16, "size": 16}, window(1.0, 0.1, updates=10, examples=100))
    grown = absorb(SIZES, {**memory, "size": 64}, window(5.0, 0.3, updates=32, examples=900))
    shrunk = absorb(SIZES, {**memory, "size": 8}, window(5.0, 0.3, updates=32, examples=900))
    assert (moments_of(grown).count, moments_of(shrunk).count) == (32 + 10 / 2 / 4, 32 + 10 / 2)


def test_a_first_window_is_not_biased_towards_zero() -> None:
    first = window(30.0, 0.1, updates=4, examples=256)
    assert noise_of(SIZES, absorb(SIZES, None, first)) == estimate(first.moments())


def test_the_ratio_is_of_averages() -> None:
    memory = absorb(SIZES, None, window(10.0, 0.5, updates=2, examples=100))
    memory = absorb(SIZES, memory, window(10.0, 0.01, updates=2, examples=200))
    assert noise_of(SIZES, memory).value == pytest.approx(10.0 / 0.255, rel=0.05)  # not (20 + 1000) / 2


def test_a_window_counts_once_and_an_empty_or_broken_one_not_at_all() -> None:
    one = window(10.0, 0.5, updates=2, examples=100)
    memory = absorb(SIZES, None, one)
    assert absorb(SIZES, memory, one) == memory
    assert absorb(SIZES, memory, Progress(200, reading={"train_loss": 1.0})) == memory
    assert absorb(SIZES, memory, window(math.inf, 0.5, updates=2, examples=200)) == memory


def test_other_readings_are_averaged_alike() -> None:
    memory = absorb(SIZES, None, window(1, 1, updates=32, examples=10, train_loss=2.0), also=("train_loss",))
    memory = absorb(SIZES, memory, window(1, 1, updates=32, examples=20, train_loss=5.0), also=("train_loss",))
    assert mean_of(memory, "train_loss") == pytest.approx(4.0)
    assert math.isnan(mean_of({}, "train_loss"))
    assert json.loads(json.dumps(memory, allow_nan=False)) == memory
