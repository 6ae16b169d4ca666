"""The judging half of the referee: values of a plan in, ratios out. Pure functions of a kept sweep.

What a size and rate cost is updates to the target times seconds an update, in logs: the mean over seeds. Between the
cells of a sweep log cost goes along straight lines in log rate and log size. A seed that did not arrive, or a cell that
was not tried because a nearer one did not, counts `CAP` times the best of its size, or what its neighbour nearer to the
best rate costs, if that is more: a ratio that rests on one is a least value, and marked so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

CAP = math.log(4.0)
"""What did not arrive counts so much more, in logs, than the best rate at its size: where sweeps give up."""

CLOSE = math.log(1.05)
ERRORS = 2.0
"""Standard errors that a cost may be above 5 % and still count as no more than that."""


@dataclass(frozen=True)
class Sweep:
    """Kept cells of one case.

    - `sizes`: ascending. `log_rates`: the grid, evenly apart. `targets`: easy to hard.
    - `log_updates`: `f64[size, rate, target, seed]`, `inf` where the target was not reached, nan where nothing was run.
    - `seconds`: of an update at each size.
    """

    sizes: tuple[int, ...]
    log_rates: np.ndarray
    targets: tuple[float, ...]
    log_updates: np.ndarray
    seconds: tuple[float, ...]

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Sweep:
        """From what `plan_against_truth.py --sweep` and `--times` have written; equal seconds where none are there."""
        sizes, places = list(kept["sizes"]), sorted({cell["place"] for cell in kept["cells"]})
        grid = range(places[0], places[-1] + 1)
        shape = len(sizes), len(grid), len(kept["targets"]), kept["seeds"]
        updates = np.full(shape, math.nan)
        for cell in kept["cells"]:
            known = [[math.inf if value is None else math.log(value) for value in one] for one in cell["updates"]]
            updates[sizes.index(cell["size"]), cell["place"] - places[0]] = np.transpose(known)
        rates = np.array(grid) / kept["per_decade"] * math.log(10)
        seconds = kept.get("seconds") or dict.fromkeys(map(str, sizes), 1.0)
        return cls(tuple(sizes), rates, tuple(kept["targets"]), updates, tuple(seconds[str(size)] for size in sizes))

    @cached_property
    def costs(self) -> np.ndarray:
        """Log seconds to each target, `f64[size, rate, target, seed]`, all finite."""
        arrived = np.where(np.isfinite(self.log_updates), self.log_updates, np.nan)
        whole = np.where(self.missing, np.inf, arrived.mean(-1))
        best = whole.min(1, keepdims=True)[..., None]
        # Where no rate brought every seed there, the latest arrival stands in for the best.
        latest = np.nanmax(np.where(np.isnan(arrived), -np.inf, arrived), axis=(1, 3), keepdims=True)
        most = np.where(np.isfinite(latest), latest, np.nanmax(arrived))
        filled = np.where(np.isnan(arrived), np.where(np.isfinite(best), best, most) + CAP, arrived)
        _outwards(filled, np.isnan(arrived))
        return filled + np.log(self.seconds)[:, None, None, None]

    @cached_property
    def missing(self) -> np.ndarray:
        """Where not every seed arrived, `bool[size, rate, target]`."""
        return np.logical_not(np.isfinite(self.log_updates).all(-1))

    def best(self, target: int) -> tuple[int, int]:
        """The cheapest cell: number of its size and of its rate."""
        mean = self.costs[:, :, target].mean(-1)
        size, rate = np.unravel_index(int(mean.argmin()), mean.shape)
        return int(size), int(rate)

    def best_costs(self, target: int) -> np.ndarray:
        """What the best cell costs on each seed, `f64[seed]`, where the other seeds say which one that is.

        Of many near-equal cells the lowest mean is too low: it was chosen for its luck, and a plan as good as the best
        would be called 10 % worse.
        """
        return _fair(self.costs[:, :, target].reshape(-1, self.costs.shape[-1]))

    def best_rate(self, size: int, target: int) -> int:
        """Number of the cheapest rate at the size of that number."""
        return int(self.costs[size, :, target].mean(-1).argmin())


@dataclass(frozen=True)
class Ratio:
    """A cost over the best cell's. `error`: standard error of its log, over pairs of seeds. `least`: it is a bound."""

    value: float
    error: float
    least: bool = False

    def __str__(self) -> str:
        return f"{'>= ' if self.least else ''}{self.value:.2f}"


def ratio(sweep: Sweep, size: int, lr: float, target: int) -> Ratio:
    """What `size` and `lr` cost over what the best cell costs, to the target of that number."""
    swept = sweep.sizes[0] <= size <= sweep.sizes[-1]
    total, least = np.zeros(sweep.costs.shape[-1]), not (swept and _spans(sweep.log_rates, math.log(lr)))
    for i, share in _shares(np.log(sweep.sizes), math.log(size)):
        for j, part in _shares(sweep.log_rates, math.log(lr)):
            total += share * part * sweep.costs[i, j, target]
            least = least or bool(sweep.missing[i, j, target])
    return _ratio(total - sweep.best_costs(target), least)


def size_ratio(sweep: Sweep, size: int, target: int) -> Ratio:
    """What the size of that number costs at its own best rate, over what the best cell costs."""
    least = bool(sweep.missing[size, sweep.best_rate(size, target), target])
    return _ratio(_fair(sweep.costs[size, :, target]) - sweep.best_costs(target), least)


def close(found: Ratio) -> bool:
    """Whether it costs at most 5 % more, as far as the seeds can tell."""
    return math.log(found.value) <= CLOSE + ERRORS * found.error


def inside(sweep: Sweep, size: int, interval: tuple[float, float], target: int) -> bool:
    """Whether the best rate at the swept size nearest to `size`, of those that arrive, lies in `interval`.

    The sweep knows that rate to half a step of its grid: the interval has so much more at both ends.
    """
    arrived = [not sweep.missing[i, sweep.best_rate(i, target), target] for i in range(len(sweep.sizes))]
    apart = np.where(arrived, np.abs(np.log(sweep.sizes) - math.log(size)), np.inf)
    nearest = int(apart.argmin())
    best = sweep.log_rates[sweep.best_rate(nearest, target)]
    half = (sweep.log_rates[1] - sweep.log_rates[0]) / 2
    return bool(math.log(interval[0]) - half <= best <= math.log(interval[1]) + half)


@dataclass(frozen=True)
class Verdict:
    """What a plan is worth on one case: a number for each target, easy to hard.

    - `ratios`: of the planned size and rate. `within`: `(size, target, ratio)` of swept sizes inside "within 5 %".
    - `rate_inside`: whether the best rate lies in the plan's interval; None where the plan has none.
    - `best`: `(size, rate, seconds)` of the cheapest cell.
    """

    ratios: tuple[Ratio, ...]
    within: tuple[tuple[int, int, Ratio], ...]
    rate_inside: tuple[bool, ...] | None
    best: tuple[tuple[int, float, float], ...]

    @property
    def median(self) -> Ratio:
        return sorted(self.ratios, key=lambda one: one.value)[len(self.ratios) // 2]

    @property
    def worst(self) -> Ratio:
        return max(self.ratios, key=lambda one: one.value)


def judged(
    sweep: Sweep, *, size: int, lr: float, within: Sequence[int] = (1, 0), interval: tuple[float, float] | None = None
) -> Verdict:
    """A plan's size, rate, sizes "within 5 %" and interval of the rate, held against a sweep."""
    targets, best = range(len(sweep.targets)), []
    for target in targets:
        i, j = sweep.best(target)
        seconds = math.exp(sweep.costs[i, j, target].mean())
        best.append((sweep.sizes[i], math.exp(sweep.log_rates[j]), seconds))
    swept = [i for i, one in enumerate(sweep.sizes) if within[0] <= one <= within[1]]
    return Verdict(
        ratios=tuple(ratio(sweep, size, lr, target) for target in targets),
        within=tuple((sweep.sizes[i], target, size_ratio(sweep, i, target)) for i in swept for target in targets),
        rate_inside=None if interval is None else tuple(inside(sweep, size, interval, target) for target in targets),
        best=tuple(best),
    )


def _fair(costs: np.ndarray) -> np.ndarray:
    """Of costs `[cell, seed]`: on each seed that of the cell which is cheapest on the others, `f64[seed]`."""
    others = costs.sum(1, keepdims=True) - costs if costs.shape[1] > 1 else costs
    return np.take_along_axis(costs, others.argmin(0)[None], 0)[0]


def _outwards(costs: np.ndarray, missing: np.ndarray) -> None:
    """A rate that did not arrive costs no less than its neighbour on the side of the best one. Writes into `costs`."""
    middle = costs.mean(-1).argmin(1)[:, None]
    places = range(costs.shape[1])
    for order, beyond in ((places, np.greater), (reversed(places), np.less)):
        before = None
        for place in order:
            if before is not None:
                raised = np.maximum(costs[:, place], costs[:, before])
                far = beyond(place, middle)[:, 0, :, None]
                costs[:, place] = np.where(far & missing[:, place], raised, costs[:, place])
            before = place


def _ratio(apart: np.ndarray, least: bool) -> Ratio:
    error = float(apart.std(ddof=1) / math.sqrt(len(apart))) if len(apart) > 1 else 0.0
    return Ratio(math.exp(float(apart.mean())), error, least)


def _spans(grid: np.ndarray, at: float) -> bool:
    return bool(grid[0] - 1e-9 <= at <= grid[-1] + 1e-9)


def _shares(grid: np.ndarray, at: float) -> list[tuple[int, float]]:
    """The places of an ascending grid beside `at`, and how much each counts; the nearest end outside."""
    if len(grid) == 1 or at <= grid[0]:
        return [(0, 1.0)]
    if at >= grid[-1]:
        return [(len(grid) - 1, 1.0)]
    high = int(np.searchsorted(grid, at, side="left"))
    share = float((at - grid[high - 1]) / (grid[high] - grid[high - 1]))
    return [(place, part) for place, part in ((high - 1, 1 - share), (high, share)) if part > 1e-9]
