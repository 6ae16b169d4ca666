from __future__ import annotations

import numpy as np
import pytest

from ladle.core.noise import student_t
from ladle.critical.family import UNEVEN, critical_value, pairs_of, spread_of


def test_pairs_are_those_below_each_branch():
    assert pairs_of(3) == ((0, 1), (0, 2), (1, 2)) and len(pairs_of(8)) == 28


def test_a_pair_has_its_own_spread_or_that_of_the_third_of_the_pairs():
    means = np.random.default_rng(0).standard_normal((4, 5))
    difference, variance = spread_of(means)
    own = [np.var(means[:, j] - means[:, i], ddof=1) / 4 for i, j in pairs_of(5)]
    least = sorted(own)[3]
    assert variance == pytest.approx([max(one, least) for one in own])
    assert difference == pytest.approx([(means[:, j] - means[:, i]).mean() for i, j in pairs_of(5)])
    moved = spread_of(means + np.arange(4.0)[:, None])
    assert moved[0] == pytest.approx(difference) and moved[1] == pytest.approx(variance)


def test_one_branch_that_spreads_far_more_leaves_the_others_alone():
    means = np.random.default_rng(1).standard_normal((3, 3)) * (1, 1, 1000)
    assert spread_of(means)[1][0] == pytest.approx(np.var(means[:, 1] - means[:, 0], ddof=1) / 3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_value_of_two_branches_is_that_of_student_and_more_branches_take_more(seeds: int):
    assert critical_value(2, seeds, 0.05) == student_t(0.9, seeds - 1)
    values = [critical_value(branches, 3, 0.05) for branches in (2, 5, 8)]
    assert values == sorted(values) and values[-1] < student_t(1 - 2 * 0.05 / 28, 2) / 2


@pytest.mark.parametrize(("branches", "seeds"), [(3, 3), (5, 3), (8, 2), (5, 5)])
def test_the_family_errs_in_five_percent_of_tables_also_of_branches_that_spread_unevenly(branches: int, seeds: int):
    """Drawn anew: all alike, one three times as wide, each a step of a walk from the one before."""
    tables = np.random.default_rng(2).standard_normal((20_000, seeds, branches))
    wide = np.where(np.arange(branches) == branches // 2, UNEVEN, 1.0)
    last = np.where(np.arange(branches) == branches - 1, UNEVEN, 1.0)
    for made in (tables, tables * wide, tables * last, tables.cumsum(-1)):
        difference, variance = spread_of(made)
        most = (difference / np.sqrt(variance)).max(-1)
        assert (most > critical_value(branches, seeds, 0.05)).mean() < 0.055
