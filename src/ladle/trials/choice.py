"""Which candidate to take: means over folds with their standard error, and the one-standard-error rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ladle.errors import ArgumentError, must


@dataclass(frozen=True)
class Score:
    """Mean over folds, and its standard error."""

    mean: float
    se: float


def score(values: np.ndarray) -> Score:
    """The score of one candidate from `values` (`f64[folds, seeds]`).

        v_k  = mean_s values[k, s]
        mean = mean_k v_k;   se = sqrt( sum_k (v_k - mean)^2 / (K - 1) / K )          (K folds)

    Seeds of one fold are averaged first: they share the rows they are judged on, so they are no independent readings.
    Folds share training rows, so the error is understated a little; no unbiased estimate of it exists (Bengio and
    Grandvalet, "No unbiased estimator of the variance of K-fold cross-validation", JMLR 2004).

    >>> score(np.array([[0.9, 0.9], [0.8, 0.8], [1.0, 1.0]]))
    Score(mean=0.9, se=0.05773502691896257)
    """
    of_folds = np.asarray(values, np.float64).mean(1)
    count = len(of_folds)
    sd = float(of_folds.std(ddof=1)) if count > 1 else math.nan
    return Score(float(of_folds.mean()), sd / math.sqrt(count))


def best(scores: Sequence[Score], *, higher: bool) -> int:
    """The place of the best mean; the first of equal ones. Raises `ArgumentError` where no mean is finite."""
    sign = -1.0 if higher else 1.0
    known = [i for i, one in enumerate(scores) if math.isfinite(one.mean)]
    if not known:
        why = "every candidate diverged"
        raise ArgumentError(must("lrs", "let some candidate train", "all too high", why, "lower rates"))
    return min(known, key=lambda i: sign * scores[i].mean)


def within_one_standard_error(scores: Sequence[Score], *, higher: bool) -> list[int]:
    """Places of all whose mean is at most one standard error (that of the best) worse than the best mean.

    Source: Breiman, Friedman, Olshen and Stone, "Classification and regression trees", 1984, section 3.4.3.

    >>> within_one_standard_error([Score(0.97, 0.01), Score(0.98, 0.02), Score(0.95, 0.01)], higher=True)
    [0, 1]
    """
    top = scores[best(scores, higher=higher)]
    margin = top.se if math.isfinite(top.se) else 0.0
    sign = 1.0 if higher else -1.0
    return [i for i, one in enumerate(scores) if sign * one.mean >= sign * top.mean - margin]


def choose(scores: Sequence[Score], costs: Sequence[tuple[float, ...]], *, higher: bool) -> int:
    """The cheapest of those within one standard error of the best. `costs`: compared from the first number on.

    >>> choose([Score(0.97, 0.01), Score(0.98, 0.02), Score(0.95, 0.01)], [(1.0,), (2.0,), (0.5,)], higher=True)
    0
    """
    return min(within_one_standard_error(scores, higher=higher), key=lambda i: costs[i])
