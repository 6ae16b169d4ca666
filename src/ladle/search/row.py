"""What is known of a candidate: the mean of its folds with its standard error, and what it took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ladle.search.space import Space
from ladle.search.trial import Candidate, Outcome


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


@dataclass(frozen=True)
class Row:
    """One candidate of a search.

    - `score`: mean over folds with its standard error; NaN where a trial diverged or failed.
    - `seconds`: of one fit and its judging, mean over trials, measured while others ran beside it.
    - `updates`: how far it was trained. `complete`: to the end; only such candidates may be chosen.
    """

    candidate: Candidate
    score: Score
    seconds: float
    updates: int
    complete: bool
    diverged: bool
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, space: Space, candidate: Candidate, outcomes: Sequence[Outcome]) -> Row:
        """`outcomes`: of `space.trials_of(candidate)`, in that order, all trained equally far."""
        values = np.array([math.nan if one.diverged else one.reading[space.metric] for one in outcomes])
        timed = [one.seconds for one in outcomes if not one.failed]
        return cls(
            candidate,
            score(values.reshape(space.folds.count, space.seeds)),
            float(np.mean(timed)) if timed else math.nan,
            outcomes[0].updates,
            outcomes[0].updates >= space.updates(candidate.size),
            any(one.diverged for one in outcomes),
            tuple(replace(one, state=None) for one in outcomes),
        )

    @property
    def failed(self) -> str:
        """Why a trial of it did not end; empty where all did."""
        return next((one.failed for one in self.outcomes if one.failed), "")
