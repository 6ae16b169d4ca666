from __future__ import annotations

import numpy as np
import pytest

from ladle.report.judging import BINS, calibration, confusion, roc

calibrated = pytest.importorskip("sklearn.calibration")
sklearn = pytest.importorskip("sklearn.metrics")


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    """Truth and chances with many ties."""
    rng = np.random.default_rng(0)
    truth = rng.random(500) < 0.3
    return truth, np.round(np.clip(0.3 + 0.25 * truth + 0.2 * rng.normal(size=500), 0, 1), 2)


def test_confusion_is_scikit_learns_with_classes_that_nobody_answered():
    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 5, 200), rng.integers(0, 3, 200)
    np.testing.assert_array_equal(
        confusion(truth, answers, 6), sklearn.confusion_matrix(truth, answers, labels=range(6))
    )


def test_roc_is_scikit_learns_where_scores_are_equal(scored: tuple[np.ndarray, np.ndarray]):
    found = roc(*scored)
    false, true, _ = sklearn.roc_curve(*scored, drop_intermediate=False)
    np.testing.assert_allclose(found.false, false)
    np.testing.assert_allclose(found.true, true)
    assert found.area == pytest.approx(sklearn.roc_auc_score(*scored))


def test_the_mean_area_is_scikit_learns_one_against_the_rest():
    rng = np.random.default_rng(1)
    truth, chances = rng.integers(0, 4, 300), rng.dirichlet(np.ones(4), 300)
    areas = [roc(truth == name, chances[:, name]).area for name in range(4)]
    assert np.mean(areas) == pytest.approx(sklearn.roc_auc_score(truth, chances, multi_class="ovr"))  # type: ignore


def test_a_single_kind_of_row_has_no_area():
    assert roc(np.ones(3, bool), np.array([0.1, 0.2, 0.3])).area is None


def test_calibration_is_scikit_learns(scored: tuple[np.ndarray, np.ndarray]):
    truth, chance = scored[0], scored[1] * 0.99 + 0.0051  # Off the borders of bins, which belong to either side.
    found = calibration(chance, truth)
    share, mean = calibrated.calibration_curve(truth, chance, n_bins=BINS)
    np.testing.assert_allclose(found.share, share)
    np.testing.assert_allclose(found.chance, mean)
    assert found.rows.sum() == len(truth)


def test_the_calibration_error_is_its_definition(scored: tuple[np.ndarray, np.ndarray]):
    truth, chance = scored
    total = 0.0
    for b in range(BINS):
        inside = [(c, t) for t, c in zip(truth, chance, strict=True) if b / BINS < c <= (b + 1) / BINS or (b == c == 0)]
        if inside:
            c, t = np.mean(inside, axis=0)
            total += len(inside) / len(truth) * abs(c - t)
    assert calibration(chance, truth).error == pytest.approx(total)
