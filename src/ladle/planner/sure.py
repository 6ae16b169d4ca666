"""How surely a size is as good as the best, where knee and noise scale are known with errors.

A noise scale known to a factor of four puts the best size anywhere within a factor of two, so hardly any size is then
surely within 5 % of it. What a plan promises of sizes has to shrink with what is known; what may be the best widens,
and is the interval of the best size itself (`best_log_sd`). Of sizes that were run, what they took says it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from ladle.planner.target import Cost

SURE = 0.9
"""Probability that a plan asks for before it calls a size as good as the best."""

NODES = 48
"""Values of each logarithm, equally probable: probabilities are right to about a hundredth."""

SIZES = 300
"""Sizes between one and the largest at which the probability is taken."""


def chances(
    cost: Cost, log_knee_sd: float, log_noise_sd: float, sizes: np.ndarray, *, share: float, largest: float
) -> np.ndarray:
    """`f64[sizes]`: how probably each size costs at most 1 + share times the cheapest in [1, largest].

    Knee and noise scale are log-normal around those of `cost`, independently.

    >>> cost = Cost(0.02, 1e-4, noise=800)
    >>> chances(cost, 0.0, 0.0, np.array([240.0, 260.0, 630.0, 650.0]), share=0.05, largest=1e4).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    normal = NormalDist()
    nodes = np.array([normal.inv_cdf((i + 0.5) / NODES) for i in range(NODES)])
    knee = cost.fixed / cost.per_example * np.exp(min(log_knee_sd, 20.0) * nodes)[:, None, None]
    noise = cost.noise * np.exp(min(log_noise_sd, 20.0) * nodes)[None, :, None]
    best = np.clip(np.sqrt(knee * noise), 1.0, largest)
    cheapest = (1 + noise / best) * (knee + best)
    return ((1 + noise / sizes) * (knee + sizes) <= (1 + share) * cheapest).mean((0, 1))


def surely_within(
    cost: Cost, log_knee_sd: float, log_noise_sd: float, size: int, *, share: float, largest: int
) -> tuple[tuple[int, int], float]:
    """The sizes around `size` that are as good as the best with probability `SURE` at least, and that probability.

    Where `size` itself is not that sure: it alone, with its own. `nan` where there is no knee to speak of.

    >>> surely_within(Cost(0.02, 1e-4, noise=800), 0.0, 0.0, 512, share=0.05, largest=10_000)
    ((250, 640), 0.9)
    >>> surely_within(Cost(0.02, 1e-4, noise=800), 0.1, 0.7, 512, share=0.05, largest=10_000)[0]
    (512, 512)
    """
    if not (cost.fixed > 0 and cost.per_example > 0 and cost.noise > 0):
        return (size, size), math.nan

    def chance(sizes: np.ndarray) -> np.ndarray:
        return chances(cost, log_knee_sd, log_noise_sd, sizes, share=share, largest=largest)

    own = float(chance(np.array([float(size)]))[0])
    if own < SURE:
        return (size, size), own
    low, high = cost.within(share, largest=largest)  # What is sure lies within what a known optimum has.
    grid = np.unique(np.geomspace(max(min(low, size), 1), max(high, size), SIZES).round())
    sure = grid[chance(grid) >= SURE]
    return (int(min(sure.min(initial=size), size)), int(max(sure.max(initial=size), size))), SURE


def surely_of(costs: Mapping[int, Any], size: int, *, share: float) -> tuple[tuple[int, int], float]:
    """The same among sizes whose log costs are drawn with their errors, held against the least.

    Each is `f64[draws]`, or one number where it has no error: 0 of the size that others are measured by, inf of one
    that did not arrive.

    >>> draws = np.linspace(-0.5, 0.5, 11)
    >>> surely_of({32: 2 + draws, 64: 0 * draws, 128: 0.01 + 0 * draws}, 64, share=0.05)
    ((64, 128), 0.9)
    >>> low, chance = surely_of({32: draws, 64: 0 * draws}, 64, share=0.05)
    >>> low, round(chance, 2)
    ((64, 64), 0.55)
    """
    sizes = sorted(costs)
    table = np.stack(np.broadcast_arrays(*(np.atleast_1d(costs[at]) for at in sizes)))
    sure = (table <= table.min(0) + math.log1p(share)).mean(1)
    low = high = sizes.index(size)
    if sure[low] < SURE:
        return (size, size), float(sure[low])
    while low > 0 and sure[low - 1] >= SURE:
        low -= 1
    while high < len(sizes) - 1 and sure[high + 1] >= SURE:
        high += 1
    return (sizes[low], sizes[high]), SURE
