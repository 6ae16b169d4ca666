"""One critical value for all comparisons between branches, so that the whole family errs in 5 % of measurements.

Of K equally good branches there are K (K - 1) / 2 pairs. Tested one by one at 5 %, some pair of five branches looks
worse in 28 % of measurements. Student's quantile at 5 % over the number of pairs mends that, but of three seeds it is
9.9 instead of 2.9, and nothing is ever found. So the spread of each pair is held up by that of the others, and what
their largest ratio reaches by chance is drawn, not bounded (Tukey's range, one-sided: Hayter 1990).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np

from ladle.core.noise import student_t

UNEVEN = 3.0
"""The value holds even if one branch, in the middle, spreads so many times as much as the others."""

DRAWS = 40_000
"""The share of tables above the value is then known to 0.1 %."""


def pairs_of(branches: int) -> tuple[tuple[int, int], ...]:
    """Every pair, smaller first: (0, 1), (0, 2), (1, 2), ..."""
    return tuple(sorted(combinations(range(branches), 2), key=lambda pair: (pair[1], pair[0])))


def spread_of(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Difference of each pair and the variance of it, from `means` f64[..., seeds, branches]: f64[..., pairs] both.

        d = means[..., larger] - means[..., smaller]        own = var_s(d) / seeds        max(own, own of pair n / 3)

    with the n pairs ordered by own. What a seed does to all branches alike cancels, and a pair of which three seeds
    happen to agree does not look sure. A third, since one branch that spreads far more than the others is in up to two
    thirds of the pairs (of three branches): it leaves the others to be told apart.
    """
    smaller, larger = np.array(pairs_of(means.shape[-1])).T
    d = means[..., larger] - means[..., smaller]
    own = d.var(-2, ddof=1) / d.shape[-2]
    least = np.sort(own, axis=-1)[..., (own.shape[-1] - 1) // 3]
    return d.mean(-2), np.maximum(own, least[..., None])


@lru_cache(maxsize=64)
def critical_value(branches: int, seeds: int, level: float) -> float:
    """How many standard errors (`spread_of`) a pair of equal branches is exceeded by in `level` of measurements.

    The quantile of the largest ratio over all pairs, of normal tables [seeds, branches] drawn with a fixed seed, one
    branch `UNEVEN`: where all spread alike, half to all of `level` is used. Two branches: Student's quantile of
    seeds - 1.

    - `branches`, `seeds`: two or more of each. `level`: one-sided, of the whole family.

    >>> round(critical_value(2, 3, 0.05), 2)
    2.92
    """
    if branches == 2:
        return student_t(1 - 2 * level, seeds - 1)
    rng, scale = np.random.default_rng(0), np.ones(branches)
    scale[branches // 2] = UNEVEN
    most = []
    for _ in range(10):
        mean, variance = spread_of(scale * rng.standard_normal((DRAWS // 10, seeds, branches)))
        most.append((mean / np.sqrt(variance)).max(-1))
    return float(np.quantile(np.concatenate(most), 1 - level))
