"""How right answers are, as one number: the only place that says what accuracy and errors are.

accuracy         mean_i [truth_i = answer_i]
rmse             sqrt(mean_i (truth_i - answer_i)^2)       in the target's own unit
absolute_error   mean_i |truth_i - answer_i|
"""

from __future__ import annotations

import numpy as np


def right(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Say which answers are right: `f64[rows]` of 0 and 1, from two arrays of numbers of classes.

    >>> right(np.array([0, 1]), np.array([0, 2])).tolist()
    [1.0, 0.0]
    """
    return (truth == answers).astype(np.float64)


def squares(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Square the errors of the answers: `f64[rows]`, in the square of the unit that both have.

    >>> squares(np.array([1.0, 2.0]), np.array([1.0, 5.0])).tolist()
    [0.0, 9.0]
    """
    return (np.asarray(answers, np.float64) - truth) ** 2


def accuracy(truth: np.ndarray, answers: np.ndarray) -> float:
    """Give the share of right answers, both as numbers of classes.

    >>> accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 2]))
    0.75
    """
    return float(right(truth, answers).mean())


def rmse(truth: np.ndarray, answers: np.ndarray) -> float:
    """Give the root mean squared error, in the unit that both have.

    >>> rmse(np.array([0.0, 0.0]), np.array([3.0, 4.0]))
    3.5355339059327378
    """
    return float(np.sqrt(squares(truth, answers).mean()))


def absolute_error(truth: np.ndarray, answers: np.ndarray) -> float:
    """Give the mean absolute error, in the unit that both have.

    >>> absolute_error(np.array([0.0, 0.0]), np.array([3.0, -4.0]))
    3.5
    """
    return float(np.abs(np.asarray(answers, np.float64) - truth).mean())
