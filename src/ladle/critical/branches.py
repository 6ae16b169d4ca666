"""Branches of one run at several batch sizes: which size is the largest that does no harm?

From one checkpoint, branch k trains the same examples in batches of k B (Merrill et al. 2025, arXiv 2505.23971). They
call k B critical while its loss is at most 0.01 above that of every smaller branch. A fixed 0.01 is too strict for one
task and too lax for another, so beside it the difference is tested against its own error: validation losses of the same
examples are paired, and what examples have in common cancels. What another order of the data would have given is most
of that error, and one order cannot tell it: of one seed nothing is tested. The answer uses every pair of branches, so
all of them are tested together (`family.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.critical.definition import Definition
from ladle.critical.family import critical_value, pairs_of, spread_of

MERRILL = "Merrill et al. 2025, arXiv 2505.23971"
MARGIN = 0.01
"""Their fixed margin, in nats."""

LEVEL = 0.05
"""All differences together are tested one-sided at this level."""

ONE_ORDER = (
    "one data order: differences are not tested and there is no B_paired, for another order moves a loss by more than "
    "its validation examples tell; seeds=3 would tell"
)


@dataclass(frozen=True)
class Difference:
    """Mean validation loss of branch `larger` minus that of branch `smaller`, over the same examples and seeds.

    - `error`: its standard error. `low`, `high`: one-sided 95 % bounds: in 95 % of measurements the lower bounds of all
      pairs hold at once, and so do the upper ones. Of one seed nothing is known: nan, -inf, inf.
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

    @property
    def tested(self) -> bool:
        """Whether anything is known of its error: not of one seed."""
        return self.low > -math.inf or self.high < math.inf

    def within(self, margin: float) -> bool:
        """Whether it was shown to be worse by at most `margin`."""
        return self.high <= margin


def differences(losses: Sequence[np.ndarray]) -> tuple[Difference, ...]:
    """Every pair of branches, smaller first. `losses`: `f64[seeds, examples]` of each branch, sizes ascending.

    d = larger - smaller, one number for each seed of the data order and each example. Both are samples, so the mean has
    the two-way clustered variance (Cameron, Gelbach and Miller 2011)

        V = V_examples + V_seeds - V_both
        V_examples = var_i(mean_s d) / examples          V_seeds = var_s(mean_i d) / seeds

    at least the larger of the first two. V_seeds rests on very few seeds, so that of other pairs holds it up
    (`spread_of`). Bounds are `critical_value` standard errors away, which holds for all pairs at once. A loss that is
    not finite makes the branch infinitely worse, and leaves the others to be told apart among themselves.
    """
    losses = [np.asarray(one, np.float64) for one in losses]
    finite = [number for number, one in enumerate(losses) if np.isfinite(one).all()]
    known = _told_apart([losses[number] for number in finite], finite) if len(finite) > 1 else {}
    return tuple(known.get(places) or _diverged(places, finite) for places in pairs_of(len(losses)))


def _diverged(places: tuple[int, int], finite: Sequence[int]) -> Difference:
    sign = math.inf if places[1] not in finite else -math.inf
    return Difference(*places, sign, math.nan, sign, sign)


def _told_apart(losses: Sequence[np.ndarray], names: Sequence[int]) -> dict[tuple[int, int], Difference]:
    """The pairs of branches that are all finite; `names`: their numbers among all branches."""
    seeds, examples = losses[0].shape
    places = [(names[i], names[j]) for i, j in pairs_of(len(names))]
    if seeds == 1:
        means = [float((losses[j] - losses[i]).mean()) for i, j in pairs_of(len(names))]
        return {
            pair: Difference(*pair, mean, math.nan, -math.inf, math.inf)
            for pair, mean in zip(places, means, strict=True)
        }
    _, by_seed = spread_of(np.stack([one.mean(1) for one in losses], axis=1))
    far = critical_value(len(names), min(count for count in (seeds, examples) if count > 1), LEVEL)
    found = {}
    for pair, (i, j), own in zip(places, pairs_of(len(names)), by_seed.tolist(), strict=True):
        d = losses[j] - losses[i]
        by_example = float(d.mean(0).var(ddof=1)) / examples if examples > 1 else 0.0
        both = _both(d) if examples > 1 else 0.0
        mean, error = float(d.mean()), math.sqrt(max(by_example + own - both, by_example, own))
        found[pair] = Difference(*pair, mean, error, mean - far * error, mean + far * error)
    return found


def _both(d: np.ndarray) -> float:
    """Variance of the grand mean that is due to seed and example together: what is left of `d` without both means."""
    left = d - d.mean(0) - d.mean(1)[:, None] + d.mean()
    seeds, examples = d.shape
    return float((left**2).sum()) / ((seeds - 1) * (examples - 1)) / (seeds * examples)


def branch_definitions(
    sizes: Sequence[float], losses: Sequence[np.ndarray], *, margin: float = MARGIN
) -> tuple[Definition, ...]:
    """The critical sizes that branches answer: paired test, fixed margin, lowest loss. Sizes ascend.

    Of equally good branches, some size is shown to be harmful in at most 5 % of measurements: `critical_value`.

    - *paired*: the largest size below the first that a smaller branch was shown to beat. `low`: the largest of them
      shown to be within `margin` of every smaller one. `high`: that first size; inf where there is none. Left out where
      there is one seed.
    - *fixed margin*: the largest size whose mean loss is at most `margin` above every smaller one's.
    - *lowest loss*: the size of the lowest mean loss at these examples; `low`, `high`: the sizes around it that were
      not shown to be worse than it; nan where there is one seed.
    """
    means = [float(np.mean(one)) if np.isfinite(one).all() else math.inf for one in losses]
    against = {(one.smaller, one.larger): one for one in differences(losses)}
    every, tested = range(len(sizes)), len(losses[0]) > 1
    fixed = [k for k in every if all(means[k] <= means[i] + margin for i in range(k)) and math.isfinite(means[k])]
    best = min(every, key=lambda k: means[k])
    tied = [float(sizes[k]) for k in every if not _beaten(against, best, k)]
    return (
        *([_paired_test(sizes, against, margin)] if tested else []),
        Definition(
            f"B_eps = {margin:g}", float(sizes[(fixed or [0])[-1]]), math.nan, math.nan, f"{MERRILL}; validation loss"
        ),
        Definition(
            "B_opt: lowest loss at these examples",
            float(sizes[best]),
            min(tied) if tested else math.nan,
            max(tied) if tested else math.nan,
            "Bergsma et al. 2025, arXiv 2505.13738",
        ),
    )


def _paired_test(sizes: Sequence[float], against: Mapping[tuple[int, int], Difference], margin: float) -> Definition:
    """The largest size before the first harmful one: beyond that a size is not harmless for being too noisy to tell."""
    every = range(len(sizes))
    harmful = next((k for k in every if any(against[i, k].worse for i in range(k))), len(sizes))
    close = [k for k in every[:harmful] if all(against[i, k].within(margin) for i in range(k))]
    value, low = float(sizes[harmful - 1]), float(sizes[close[-1]])
    high = float(sizes[harmful]) if harmful < len(sizes) else math.inf
    return Definition("B_paired: no smaller branch is better", value, low, high, f"branches of {MERRILL}, paired test")


def _beaten(against: Mapping[tuple[int, int], Difference], best: int, other: int) -> bool:
    """Whether `other`, smaller or larger, was shown to be worse than `best`."""
    if other == best:
        return False
    return against[best, other].worse if other > best else not against[other, best].high >= 0


def compared(number: int, pairs: Sequence[Difference], sizes: Sequence[int], *, margin: float) -> dict[str, Any]:
    """How branch `number` stands against the first one, and against whichever smaller one beat it by most.

    The verdict is "no worse" where it was shown to be within `margin` of every smaller one; "undecided" where that was
    not shown, nor that it is worse; "not tested" where there is one seed.
    """
    unknown = {"difference": None, "error": None, "low": None, "high": None}
    if number == 0:
        return {**unknown, "verdict": "the run's own size"}
    own = [one for one in pairs if one.larger == number]
    if not all(one.tested for one in own):
        return {**unknown, "difference": own[0].mean, "verdict": "not tested"}
    better = max((one for one in own if one.worse), key=lambda one: one.mean, default=None)
    verdict = "no worse" if all(one.within(margin) for one in own) else "undecided"
    verdict = verdict if better is None else f"worse than {sizes[better.smaller]}"
    return {
        "difference": own[0].mean,
        "error": own[0].error,
        "low": own[0].low,
        "high": own[0].high,
        "verdict": "diverged" if own[0].mean == math.inf else verdict,
    }


def caveats(
    seeds: int, pairs: Sequence[Difference], critical: Definition, *, margin: float, apart: bool
) -> tuple[str, ...]:
    """What to know before the paired `critical` size is used. `apart`: the branches ended at several places."""
    ends = "the branches did not end at the same place: this feed cuts batches by more than their size"
    return (*(_of_the_test(pairs, critical, margin) if seeds > 1 else [ONE_ORDER]), *([ends] if apart else []))


def _of_the_test(pairs: Sequence[Difference], critical: Definition, margin: float) -> list[str]:
    notes = [
        f"the {len(pairs)} differences are tested together: of branches that are all equally good, any looks worse in "
        f"at most {LEVEL:.0%} of measurements"
    ]
    if critical.low < critical.value:
        notes.append(
            f"sizes above {critical.low:g} up to {critical.value:g} are undecided: not shown to be worse, nor to be "
            f"within {margin:g}; more seeds or examples would tell"
        )
    if math.isinf(critical.high):
        notes.append("no size was shown to be too large: the critical one is this or larger; try larger factors")
    return notes
