"""Branches of one run at several batch sizes: which size is the largest that does no harm?

From one checkpoint, branch k trains the same examples in batches of k B (Merrill et al. 2025, arXiv 2505.23971). They
call k B critical while its loss is at most 0.01 above that of every smaller branch. A fixed 0.01 is too strict for one
task and too lax for another, so beside it the difference is tested against its own error: validation losses of the same
examples are paired, and what examples have in common cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.noise import student_t
from ladle.planner.definitions import Definition

MERRILL = "Merrill et al. 2025, arXiv 2505.23971"
MARGIN = 0.01
"""Their fixed margin, in nats."""

LEVEL = 0.05
"""Each difference is tested one-sided at this level."""


@dataclass(frozen=True)
class Difference:
    """Mean validation loss of branch `larger` minus that of branch `smaller`, over the same examples and seeds.

    - `error`: its standard error. `low`, `high`: one-sided 95 % bounds; each holds alone.
    """

    smaller: int
    larger: int
    mean: float
    error: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether the larger branch was shown to be worse. Both zero: the same losses, so no."""
        return not self.low <= 0

    def within(self, margin: float) -> bool:
        """Whether it was shown to be worse by at most `margin`."""
        return self.high <= margin


def paired(smaller: np.ndarray, larger: np.ndarray, places: tuple[int, int] = (0, 1)) -> Difference:
    """The paired difference of losses `f64[seeds, examples]`; branches `places`.

    d = larger - smaller, one number for each seed of the data order and each example. Both are samples, so the mean has
    the two-way clustered variance (Cameron, Gelbach and Miller 2011)

        V = V_examples + V_seeds - V_both
        V_examples = var_i(mean_s d) / examples          V_seeds = var_s(mean_i d) / seeds

    at least the larger of the first two. Degrees of freedom by Satterthwaite. One seed: V_examples alone, and what
    another data order would have given is not in it. A loss that is not finite makes the branch infinitely worse.
    """
    smaller, larger = np.asarray(smaller, np.float64), np.asarray(larger, np.float64)
    if not np.isfinite(larger).all():
        return Difference(*places, math.inf, math.nan, math.inf, math.inf)
    if not np.isfinite(smaller).all():
        return Difference(*places, -math.inf, math.nan, -math.inf, -math.inf)
    d = larger - smaller
    seeds, examples = d.shape
    by_example = float(d.mean(0).var(ddof=1)) / examples if examples > 1 else 0.0
    by_seed = float(d.mean(1).var(ddof=1)) / seeds if seeds > 1 else 0.0
    both = _both(d) if min(seeds, examples) > 1 else 0.0
    variance = max(by_example + by_seed - both, by_example, by_seed)
    parts = by_example**2 / max(examples - 1, 1) + by_seed**2 / max(seeds - 1, 1)
    freedom = (by_example + by_seed) ** 2 / parts if parts > 0 else math.inf
    t = student_t(1 - 2 * LEVEL, freedom)
    mean, error = float(d.mean()), math.sqrt(variance)
    return Difference(*places, mean, error, mean - t * error, mean + t * error)


def _both(d: np.ndarray) -> float:
    """Variance of the grand mean that is due to seed and example together: what is left of `d` without both means."""
    left = d - d.mean(0) - d.mean(1)[:, None] + d.mean()
    seeds, examples = d.shape
    return float((left**2).sum()) / ((seeds - 1) * (examples - 1)) / (seeds * examples)


def differences(losses: Sequence[np.ndarray]) -> tuple[Difference, ...]:
    """Every pair of branches, smaller first. `losses`: `f64[seeds, examples]` of each branch, sizes ascending."""
    pairs = [(i, j) for j in range(len(losses)) for i in range(j)]
    return tuple(paired(losses[i], losses[j], (i, j)) for i, j in pairs)


def branch_definitions(
    sizes: Sequence[float], losses: Sequence[np.ndarray], *, margin: float = MARGIN
) -> tuple[Definition, ...]:
    """The critical sizes that branches answer: paired test, fixed margin, lowest loss. Sizes ascend.

    - *paired*: the largest size that no smaller branch was shown to beat. `low`: the largest shown to be within
      `margin` of every smaller one. `high`: the next size that was shown to be worse; inf where none was.
    - *fixed margin*: the largest size whose mean loss is at most `margin` above every smaller one's.
    - *lowest loss*: the size of the lowest mean loss at these examples; `low`, `high`: the sizes around it that were
      not shown to be worse than it.
    """
    means = [float(np.mean(one)) if np.isfinite(one).all() else math.inf for one in losses]
    against = {(one.smaller, one.larger): one for one in differences(losses)}
    every = range(len(sizes))
    harmless = [k for k in every if not any(against[i, k].worse for i in range(k))]
    close = [k for k in every if all(against[i, k].within(margin) for i in range(k))]
    fixed = [k for k in every if all(means[k] <= means[i] + margin for i in range(k)) and math.isfinite(means[k])]
    best = min(every, key=lambda k: means[k])
    tied = [k for k in every if k == best or not _beaten(losses, best, k)]
    top = harmless[-1]
    low, value = float(sizes[min(close[-1], top)]), float(sizes[top])
    high = float(sizes[top + 1]) if top + 1 < len(sizes) else math.inf
    return (
        Definition("B_paired: no smaller branch is better", value, low, high, f"branches of {MERRILL}, paired test"),
        Definition(
            f"B_eps = {margin:g}", float(sizes[(fixed or [0])[-1]]), math.nan, math.nan, f"{MERRILL}; validation loss"
        ),
        Definition(
            "B_opt: lowest loss at these examples",
            float(sizes[best]),
            float(sizes[min(tied)]),
            float(sizes[max(tied)]),
            "Bergsma et al. 2025, arXiv 2505.13738",
        ),
    )


def _beaten(losses: Sequence[np.ndarray], best: int, other: int) -> bool:
    return paired(losses[best], losses[other]).worse


def compared(number: int, pairs: Sequence[Difference], sizes: Sequence[int], *, margin: float) -> dict[str, Any]:
    """How branch `number` stands against the first one, and against whichever smaller one beat it by most.

    The verdict is "no worse" where it was shown to be within `margin` of every smaller one; "undecided" where that was
    not shown, nor that it is worse.
    """
    if number == 0:
        return {"difference": None, "error": None, "low": None, "high": None, "verdict": "the run's own size"}
    own = [one for one in pairs if one.larger == number]
    better = max((one for one in own if one.worse), key=lambda one: one.mean, default=None)
    verdict = "no worse" if all(one.within(margin) for one in own) else "undecided"
    verdict = verdict if better is None else f"worse than {sizes[better.smaller]}"
    return {
        "difference": own[0].mean,
        "error": own[0].error,
        "low": own[0].low,
        "high": own[0].high,
        "verdict": verdict if math.isfinite(own[0].mean) else "diverged",
    }


def caveats(
    losses: Sequence[np.ndarray], pairs: Sequence[Difference], critical: Definition, *, margin: float, apart: bool
) -> tuple[str, ...]:
    """What to know before the paired `critical` size is used. `apart`: the branches ended at several places."""
    seeds, examples = losses[0].shape
    notes = [
        f"each of the {len(pairs)} differences is tested at {LEVEL:.0%}: of branches that are all equally good, about "
        f"{LEVEL * len(pairs):.1f} pairs would look worse by chance"
    ]
    if seeds == 1:
        notes.append(
            f"one data order: errors are those of {examples:,} validation examples; another order may answer otherwise"
        )
    if critical.low < critical.value:
        notes.append(
            f"sizes above {critical.low:g} up to {critical.value:g} are undecided: not shown to be worse, nor to be "
            f"within {margin:g}; more seeds or examples would tell"
        )
    if math.isinf(critical.high):
        notes.append("no size was shown to be too large: the critical one is this or larger; try larger factors")
    if apart:
        notes.append("the branches did not end at the same place: this feed cuts batches by more than their size")
    return tuple(notes)
