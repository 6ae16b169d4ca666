from __future__ import annotations

import numpy as np
import pytest

from ladle.baselines.verdict import Difference, accuracy, difference, mean_of, rmse, verdict


def test_the_error_of_a_paired_difference_of_accuracies_is_its_closed_form():
    """With b rows that only the first gets right and c that only the second does (McNemar's table)."""
    truth = np.zeros(100)
    one, other = np.repeat([0, 0, 1, 1], [60, 20, 5, 15]), np.repeat([0, 1, 0, 1], [60, 20, 5, 15])
    found = difference(accuracy(truth, one), accuracy(truth, other))
    assert found.value == pytest.approx(0.15)
    assert found.error == pytest.approx(np.sqrt((25 / 100 - 0.15**2) / 99))


def test_the_error_of_a_difference_of_rmse_is_what_leaving_rows_out_says():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    one, other = truth + rng.normal(size=400), truth + 1.3 * rng.normal(size=400)
    found = difference(rmse(truth, one), rmse(truth, other))
    kept = ~np.eye(400, dtype=bool)
    each = np.array([difference(rmse(truth[k], one[k]), rmse(truth[k], other[k])).value for k in kept])
    assert found.error == pytest.approx(np.sqrt(399 / 400 * ((each - each.mean()) ** 2).sum()), rel=0.02)


def test_seeds_are_averaged_by_row():
    truth = np.zeros(4)
    both = mean_of([accuracy(truth, np.array([0, 0, 1, 1])), accuracy(truth, np.array([0, 1, 1, 1]))])
    assert both.value == 0.375
    assert both.parts.tolist() == [1.0, 0.5, 0.0, 0.0]


def test_equal_models_and_a_single_row_are_not_told_apart():
    same = accuracy(np.zeros(4), np.array([0, 1, 0, 1]))
    assert verdict(difference(same, same), "accuracy") == "not told apart"
    assert verdict(Difference(1.0, None, 1), "accuracy") == "not told apart"
