from __future__ import annotations

import math

import numpy as np
import pytest

from ladle.planner.branches import branch_definitions, differences, paired

SIZES = (8, 16, 32, 64)


def losses(rng, *, excess, seeds=1, examples=400, noise=0.1, order=0.0):
    """Losses of each branch: a shared part of every example, an excess, noise of examples and of data orders."""
    shared = rng.gamma(1.0, 1.0, examples)
    return [
        shared + one + noise * rng.standard_normal((seeds, examples)) + order * rng.standard_normal((seeds, 1))
        for one in excess
    ]


def test_what_examples_have_in_common_cancels():
    rng = np.random.default_rng(0)
    small, large = losses(rng, excess=(0.0, 0.05))
    found = paired(small, large)
    assert found.error == pytest.approx(0.1 * math.sqrt(2 / 400), rel=0.1)
    assert found.worse and found.mean == pytest.approx(0.05, abs=0.03)
    unpaired = math.hypot(small.std(), large.std()) / math.sqrt(400)
    assert unpaired > 5 * found.error


@pytest.mark.parametrize(("seeds", "order"), [(1, 0.0), (2, 0.0), (4, 0.1)])
def test_a_harmless_branch_is_called_worse_one_time_in_twenty(seeds, order):
    rng = np.random.default_rng(1)
    trials = 800
    false = sum(paired(*losses(rng, excess=(0, 0), seeds=seeds, examples=50, order=order)).worse for _ in range(trials))
    assert false / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert false / trials > (0.02 if seeds == 1 or order else 0.0)  # with few seeds and no noise of them it is strict


def test_the_noise_of_data_orders_needs_more_than_one_seed_to_be_seen():
    rng = np.random.default_rng(2)
    one, four = (paired(*losses(rng, excess=(0, 0), seeds=seeds, order=1.0)) for seeds in (1, 4))
    assert one.error < 0.01 < 0.2 < four.error


def test_the_largest_harmless_size_with_what_bounds_it():
    made = losses(np.random.default_rng(3), excess=(0, 0, 0, 0.1), noise=0.02)
    critical, fixed, best = branch_definitions(SIZES, made)
    assert (critical.value, critical.low, critical.high) == (32, 32, 64)
    assert fixed.value == 32 and math.isnan(fixed.low)
    assert best.low <= best.value <= best.high <= 32
    unbounded = branch_definitions(SIZES, losses(np.random.default_rng(4), excess=(0, 0, 0, 0), noise=0.02))
    assert unbounded[0].high == math.inf


def test_a_measurement_that_resolves_nothing_says_so_in_its_interval():
    critical, *_ = branch_definitions(
        SIZES, losses(np.random.default_rng(5), excess=(0, 0, 0, 0), examples=20, noise=1)
    )
    assert critical.value == 64 and critical.low == 8 and critical.high == math.inf


def test_a_branch_is_held_against_every_smaller_one():
    """Merrill's rule: 64 is no better than 8, but 16 and 32 were better than it."""
    made = losses(np.random.default_rng(8), excess=(0.1, 0, 0, 0.1), noise=0.02)
    assert [one.value for one in branch_definitions(SIZES, made)][:2] == [32, 32]


def test_a_diverged_branch_is_worse_than_any():
    made = losses(np.random.default_rng(9), excess=(0, 0, 0, 0), noise=0.02)
    made[3][:] = np.inf
    critical, fixed, best = branch_definitions(SIZES, made)
    assert (critical.value, critical.high, fixed.value) == (32, 64, 32)
    assert best.value < 64


def test_where_every_branch_diverged_the_first_is_named():
    made = [np.full((2, 3), np.inf)] * 3
    assert [one.value for one in branch_definitions((1, 2, 3), made)] == [1, 1, 1]


def test_equal_losses_differ_by_nothing():
    same = np.ones((1, 5))
    found = differences([same, same])
    assert [(one.mean, one.error, one.worse, one.within(0.0)) for one in found] == [(0, 0, False, True)]
