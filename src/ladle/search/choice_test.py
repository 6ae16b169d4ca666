import math
import statistics

import numpy as np
import pytest

from ladle.core.errors import ArgumentError, RunError
from ladle.search.choice import best, costs, judge, within_one_standard_error
from ladle.search.halving import Level, levels
from ladle.search.row import Row, Score, score
from ladle.search.trial import Candidate, Outcome, Trial

SCORES = [Score(0.90, 0.01), Score(0.97, 0.02), Score(0.955, 0.001), Score(math.nan, math.nan)]


def test_the_standard_error_is_that_of_the_folds_means():
    values = np.array([[0.9, 0.94], [0.8, 0.9], [1.0, 0.98], [0.7, 0.75]])
    means = [statistics.fmean(row) for row in values]
    found = score(values)
    assert found.mean == pytest.approx(statistics.fmean(means), abs=1e-15)
    assert found.se == pytest.approx(statistics.stdev(means) / 2, abs=1e-15)


def test_a_trial_without_a_value_leaves_its_candidate_without_a_score():
    assert math.isnan(score(np.array([[0.9], [math.nan]])).mean)


def test_near_is_within_one_standard_error_of_the_best():
    assert best(SCORES, higher=True) == 1
    assert within_one_standard_error(SCORES, higher=True) == [1, 2]
    losses = [Score(1 - one.mean, one.se) for one in SCORES]
    assert within_one_standard_error(losses, higher=False) == [1, 2]


def row(size: int, lr: float, mean: float, se: float, seconds: float = 1.0, **how) -> Row:
    trial = Trial(Candidate(size, lr), 0, 0)
    one = Outcome(trial, 100 // size, {}, seconds, math.isnan(mean), failed=how.pop("failed", ""))
    known = {"complete": True, **how}
    return Row(trial.candidate, Score(mean, se), seconds, 100 // size, diverged=one.diverged, outcomes=(one,), **known)


def test_the_clocks_noise_does_not_choose_the_rate():
    for seed in range(9):
        noise = np.random.default_rng(seed).uniform(0.9, 1.1, 4)
        rows = [
            row(size, lr, mean, 0.03, (40 / size) * wobble)
            for (size, lr, mean), wobble in zip(
                [(4, 0.1, 0.95), (4, 0.2, 0.97), (8, 0.1, 0.95), (8, 0.2, 0.96)], noise, strict=True
            )
        ]
        best, chosen = judge(rows, prefer="seconds", higher=True)
        assert (best.candidate, chosen.candidate) == (Candidate(4, 0.2), Candidate(8, 0.2))


def test_a_size_costs_the_median_of_all_its_trials_or_its_updates():
    rows = [row(4, 0.1, 0.5, 0.1, 1.0), row(4, 0.2, 0.5, 0.1, 2.0), row(4, 0.3, 0.5, 0.1, 90.0), row(8, 0.1, 0.5, 0.1)]
    assert costs(rows, "seconds") == {4: 2.0, 8: 1.0}
    assert costs(rows, "updates") == {4: 25, 8: 12}


def test_at_equal_cost_the_better_mean_is_taken_then_the_lower_rate():
    rows = [row(8, 0.1, 0.95, 0.02), row(8, 0.2, 0.96, 0.02), row(8, 0.3, 0.96, 0.02), row(4, 0.2, 0.97, 0.02)]
    assert judge(rows, prefer="updates", higher=True)[1] is rows[1]
    losses = [row(8, one.candidate.lr, 1 - one.score.mean, 0.02) for one in rows]
    assert judge(losses, prefer="updates", higher=False)[1].candidate.lr == 0.2


def test_only_rows_trained_to_the_end_are_chosen():
    rows = [row(4, 0.1, 0.9, 0.02), row(8, 0.1, 0.99, 0.02, complete=False), row(4, 0.2, math.nan, math.nan)]
    assert judge(rows, prefer="seconds", higher=True) == (rows[0], rows[0])


def test_nothing_is_chosen_where_everything_diverged_or_failed():
    diverged, failed = row(4, 0.1, math.nan, math.nan), row(4, 0.2, math.nan, math.nan, failed="a process ended")
    with pytest.raises(ArgumentError, match="every candidate diverged; try lower rates"):
        judge([diverged], prefer="seconds", higher=True)
    with pytest.raises(RunError, match="a process ended"):
        judge([diverged, failed], prefer="seconds", higher=True)
    fine = row(8, 0.1, 0.9, 0.1)
    assert judge([diverged, failed, fine], prefer="seconds", higher=True) == (fine, fine)


def test_a_bracket_is_that_of_the_paper():
    # Li et al. 2018, table 1: R = 81, eta = 3, s = 4.
    found = levels(81, 81, finalists=1)
    assert [(level.count, level.updates(81)) for level in found] == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]


def test_no_level_is_below_one_epoch_and_the_last_is_whole():
    assert levels(100, 2.9) == (Level(100, 1),)
    assert [level.updates(100) for level in levels(12, 20)] == [12, 34, 100]
    assert levels(1, 100) == (Level(1, 1),)


def test_three_at_least_are_trained_to_the_end_and_every_level_drops_some():
    assert [level.count for level in levels(12, 20)] == [12, 4, 3]
    assert [level.count for level in levels(9, 20)] == [9, 3]
    assert [level.count for level in levels(4, 20)] == [4, 3]
    assert [level.count for level in levels(3, 20)] == [3]
    assert [level.count for level in levels(2, 20)] == [2]
    with pytest.raises(ArgumentError, match="factor must be at least 2"):
        levels(9, 20, factor=1)
