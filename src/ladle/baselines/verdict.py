"""Two models judged on the same rows: the difference of their scores, its standard error, and a verdict in words.

accuracy    mean over rows of right_i                         difference d = mean(a_i - b_i)
rmse        sqrt(mean(e_i^2)), in the target's own unit       d = rmse_a - rmse_b
error of d  sd(u_i) / sqrt(rows)                              u_i = a_i - b_i, of rmse e_i^2 / (2 rmse)

The rows are the same for both, so what is hard for both cancels: the error is that of the paired difference. It says
how far other rows of the same kind would move it, and nothing of other splits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ladle.core import scores

Metric = Literal["accuracy", "rmse"]
Verdict = Literal["better", "worse", "not told apart"]

ERRORS = 2.0
"""Standard errors that a difference must have to be told from none."""


@dataclass(frozen=True)
class Score:
    """How a model did on each row. `value`: its score; `parts`: `f64[rows]`, of which the score's error is made."""

    value: float
    parts: np.ndarray


@dataclass(frozen=True)
class Difference:
    """One score minus another, with the standard error of the difference (None for a single row)."""

    value: float
    error: float | None
    rows: int


def accuracy(truth: np.ndarray, answers: np.ndarray) -> Score:
    """Share of right answers, both as numbers of classes.

    >>> accuracy(np.array([0, 1, 1]), np.array([0, 1, 0])).value
    0.6666666666666666
    """
    return Score(scores.accuracy(truth, answers), scores.right(truth, answers))


def rmse(truth: np.ndarray, answers: np.ndarray) -> Score:
    """Root mean squared error, in the unit that both have.

    >>> rmse(np.array([0.0, 0.0]), np.array([3.0, 4.0])).value
    3.5355339059327378
    """
    squared, value = scores.squares(truth, answers), scores.rmse(truth, answers)
    return Score(value, squared / (2 * value) if value else squared)


def mean_of(scores: Sequence[Score]) -> Score:
    """The score that runs of several seeds have in the mean."""
    return Score(
        float(np.mean([one.value for one in scores])),
        np.mean([one.parts for one in scores], axis=0),
    )


def difference(one: Score, other: Score) -> Difference:
    """`one` minus `other`, paired by row.

    >>> a, b = accuracy(np.ones(4), np.ones(4)), accuracy(np.ones(4), np.array([1, 1, 1, 0]))
    >>> difference(a, b)
    Difference(value=0.25, error=0.25, rows=4)
    """
    apart, rows = one.parts - other.parts, len(one.parts)
    error = float(apart.std(ddof=1) / np.sqrt(rows)) if rows > 1 else None
    return Difference(one.value - other.value, error, rows)


def verdict(found: Difference, metric: Metric) -> Verdict:
    """Whether the first of the two is better: by more than `ERRORS` standard errors, or it is not told.

    >>> verdict(Difference(0.02, 0.005, 400), "accuracy"), verdict(Difference(0.02, 0.005, 400), "rmse")
    ('better', 'worse')
    >>> verdict(Difference(0.02, 0.015, 400), "accuracy")
    'not told apart'
    """
    if found.error is None or abs(found.value) <= ERRORS * found.error:
        return "not told apart"
    return "better" if (found.value > 0) == (metric == "accuracy") else "worse"
