import math
import statistics

import numpy as np
import pytest

from ladle.errors import ArgumentError
from ladle.trials.choice import Score, best, choose, score, within_one_standard_error
from ladle.trials.halving import Level, levels

SCORES = [Score(0.90, 0.01), Score(0.97, 0.02), Score(0.955, 0.001), Score(math.nan, math.nan)]


def test_the_standard_error_is_that_of_the_folds_means():
    values = np.array([[0.9, 0.94], [0.8, 0.9], [1.0, 0.98], [0.7, 0.75]])
    means = [statistics.fmean(row) for row in values]
    found = score(values)
    assert found.mean == pytest.approx(statistics.fmean(means), abs=1e-15)
    assert found.se == pytest.approx(statistics.stdev(means) / 2, abs=1e-15)


def test_a_trial_without_a_value_leaves_its_candidate_without_a_score():
    assert math.isnan(score(np.array([[0.9], [math.nan]])).mean)


def test_the_cheapest_within_one_standard_error_is_chosen():
    assert best(SCORES, higher=True) == 1
    assert within_one_standard_error(SCORES, higher=True) == [1, 2]
    costs = [(0.1,), (2.0,), (1.0,), (0.0,)]
    assert choose(SCORES, costs, higher=True) == 2
    losses = [Score(1 - one.mean, one.se) for one in SCORES]
    assert within_one_standard_error(losses, higher=False) == [1, 2]
    assert choose([Score(0.5, 0.0), Score(0.5, 0.0)], [(1, 2), (1, 1)], higher=True) == 1


def test_nothing_is_chosen_where_everything_diverged():
    with pytest.raises(ArgumentError, match="every candidate diverged; try lower rates"):
        best(SCORES[-1:], higher=True)


def test_a_bracket_is_that_of_the_paper():
    # Li et al. 2018, table 1: R = 81, eta = 3, s = 4.
    found = levels(81, 81)
    assert [(level.count, level.updates(81)) for level in found] == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]


def test_no_level_is_below_one_epoch_and_the_last_is_whole():
    assert levels(100, 2.9) == (Level(100, 1),)
    assert [level.updates(100) for level in levels(9, 20)] == [12, 34, 100]
    assert levels(1, 100) == (Level(1, 1),)
    with pytest.raises(ArgumentError, match="factor must be at least 2"):
        levels(9, 20, factor=1)
