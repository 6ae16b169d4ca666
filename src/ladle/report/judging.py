"""How right a model is, from what it said of rows whose truth is known. Pure NumPy.

confusion      C_ij = rows of class i that were taken for j
ROC            at every threshold t of a score: P(score >= t | not the class), P(score >= t | the class); AUC its area
calibration    rows by their chance in bins of equal width: share_b right against the mean chance_b
ECE            sum_b (rows_b / rows) |share_b - chance_b|       Naeini, Cooper, Hauskrecht 2015
residual       truth - predicted, in the target's own unit
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BINS = 10


class Roc(NamedTuple):
    """`f64[points]` from (0, 0) to (1, 1), and the area below; None where only one kind of row is there."""

    false: np.ndarray
    true: np.ndarray
    area: float | None


class Calibration(NamedTuple):
    """Of each bin that holds rows: mean chance, share that was right, rows; and the expected calibration error."""

    chance: np.ndarray
    share: np.ndarray
    rows: np.ndarray
    error: float


def confusion(truth: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """`i64[classes, classes]`, true classes down, answered ones across.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    return np.bincount(truth * classes + answers, minlength=classes**2).reshape(classes, classes)


def roc(of_class: np.ndarray, score: np.ndarray) -> Roc:
    """The curve of a score that should be high where `of_class`; equal scores pass together.

    >>> roc(np.array([False, True, True]), np.array([0.1, 0.8, 0.7])).area
    1.0
    """
    order = np.argsort(-score, kind="stable")
    hits, ranked = of_class[order], score[order]
    last = np.r_[np.flatnonzero(np.diff(ranked)), len(ranked) - 1]
    true, both = np.cumsum(hits)[last], last + 1
    yes, no = int(hits.sum()), int((~hits).sum())
    if not yes or not no:
        return Roc(np.empty(0), np.empty(0), None)
    x, y = np.r_[0, both - true] / no, np.r_[0, true] / yes
    return Roc(x, y, float(np.trapezoid(y, x)))


def calibration(chance: np.ndarray, right: np.ndarray, bins: int = BINS) -> Calibration:
    """Chances against what came true, in `bins` of equal width from 0 to 1.

    >>> calibration(np.array([0.9, 0.9]), np.array([True, False])).error
    0.4
    """
    at = np.clip(np.ceil(chance * bins).astype(int) - 1, 0, bins - 1)  # A chance of 0.1 belongs to the first of ten.
    rows = np.bincount(at, minlength=bins)
    held = rows > 0
    mean, share = (np.bincount(at, of.astype(float), bins)[held] / rows[held] for of in (chance, right))
    return Calibration(mean, share, rows[held], float(rows[held] @ np.abs(share - mean) / len(chance)))
