"""One run's columns as points to draw: where a number stands on an axis, thinned, and the noise scale with its band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ladle.board.follow import Followed
from ladle.board.thin import POINTS, kept, within
from ladle.core.moments import PREFIX, Moments
from ladle.core.noise import estimate

AXES = {"examples": "examples seen", "updates": "updates", "seconds": "seconds of training"}

PIECES = 40
"""The noise scale is read from sums over so many stretches of a run, at most: one window seldom says enough."""

ENOUGH = 16
"""Measured updates that a stretch should hold."""

SUMS = tuple(Moments.__dataclass_fields__)

Span = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points `x`, `y` `f64[points]`, rising in `x`; `low` and `high` where there is a band."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def scaled(self, factor: float) -> Series:
        """The same in another unit."""
        low, high = (None if one is None else one * factor for one in (self.low, self.high))
        return self if factor == 1 else Series(self.x, self.y * factor, low, high)


def series(run: Followed, name: str, axis: str, span: Span | None = None, points: int = POINTS) -> Series | None:
    """Column `name` of a run against `axis`, thinned with its extremes kept; None where it has no number.

    - `span`: the part of the axis that is shown, None for all.

    What was measured in training is a mean over its window, and stands in the window's middle.
    """
    if name not in run:
        return None
    x, y = run[axis], run[name]
    if name.startswith("train_"):
        x = (np.concatenate(([0.0], x[:-1])) + x) / 2
    known = np.isfinite(y) & np.isfinite(x)
    x, y = (x, y) if known.all() else (x[known], y[known])
    if span is not None:
        part = within(x, *span)
        x, y = x[part], y[part]
    if not y.size:
        return None
    places = kept(y, points)
    return Series(x[places], y[places])


def steps(one: Series) -> Series:
    """A number that holds for a window, told at its end, as a staircase.

    >>> steps(Series(np.array([64.0, 128.0]), np.array([8.0, 16.0]))).x.tolist()
    [0.0, 64.0, 64.0, 128.0]
    """
    begins = np.concatenate(([min(0.0, one.x[0])], one.x[:-1]))
    return Series(np.stack([begins, one.x], 1).ravel(), np.repeat(one.y, 2))


def noise(run: Followed, axis: str) -> Series | None:
    """The gradient noise scale over consecutive stretches, with its 95 % interval; an end that is open is nan.

    Sums over a stretch are divided once. None where nothing was measured.
    """
    if PREFIX + "count" not in run.rows:
        return None
    sums = {name: run.rows[PREFIX + name] for name in SUMS}
    measured = np.flatnonzero(np.nan_to_num(sums["count"]) > 0)
    if not measured.size:
        return None
    updates = np.cumsum(sums["count"][measured])
    pieces = int(np.clip(updates[-1] // ENOUGH, 1, min(PIECES, measured.size)))
    begins = np.unique(np.searchsorted(updates, updates[-1] * np.arange(pieces) / pieces, side="right"))
    added = {name: np.add.reduceat(np.nan_to_num(column[measured]), begins) for name, column in sums.items()}
    found = [estimate(Moments(*(float(added[name][i]) for name in SUMS))) for i in range(len(begins))]
    last = np.concatenate((measured[begins[1:] - 1], measured[-1:]))
    first = np.concatenate(([0], last[:-1]))
    x = (run.rows[axis][first] + run.rows[axis][last]) / 2
    values = ([_open(value) for value in (one.value, one.low, one.high)] for one in found)
    y, low, high = np.array([[v if one.verdict == "resolved" else np.nan, lo, hi]
                             for (v, lo, hi), one in zip(values, found, strict=True)]).T  # fmt: skip
    return Series(x, y, low, high)


def _open(value: float) -> float:
    return value if np.isfinite(value) and value > 0 else np.nan


def averaged(several: list[Series], points: int = POINTS) -> Series:
    """Runs that differ only in their seed as one: their mean, and their range as a band, where all of them are.

    >>> x = np.array([0.0, 1.0])
    >>> one = averaged([Series(x, np.array([0.0, 2.0])), Series(x, np.array([2.0, 4.0]))])
    >>> one.y.tolist(), one.low.tolist()
    ([1.0, 3.0], [0.0, 2.0])
    """
    if len(several) == 1:
        return several[0]
    first, last = max(one.x[0] for one in several), min(one.x[-1] for one in several)
    grid = np.unique(np.concatenate([one.x for one in several]))
    grid = grid[(grid >= first) & (grid <= last)]
    if not grid.size:
        return max(several, key=lambda one: one.x[-1])
    if grid.size > points:
        grid = grid[np.unique(np.linspace(0, grid.size - 1, points).astype(int))]
    values = np.stack([np.interp(grid, one.x, one.y) for one in several])
    return Series(grid, values.mean(axis=0), values.min(axis=0), values.max(axis=0))


@dataclass(frozen=True)
class Change:
    """A decision: at how many examples it took effect, what it changed, why, and the numbers that it rests on."""

    examples: float
    updates: float
    seconds: float
    size: tuple[float | None, float]
    reason: str
    inputs: Mapping[str, float]


def changes(run: Followed, most: int = 400) -> list[Change]:
    """Every window that gives a reason or has another size than the one before, oldest first; the newest `most`."""
    size = run.rows["size"]
    known = np.flatnonzero(np.isfinite(size))
    moved = known[1:][np.diff(size[known]) != 0]
    told = {one.row: one for one in run.rows.told}
    places = sorted({*moved.tolist(), *told})[-most:]
    made = []
    for row in places:
        if not np.isfinite(size[row]):
            continue
        earlier, one = int(np.searchsorted(known, row)), told.get(row)
        old = known[earlier - 1] if earlier else None
        at, updates, seconds = (float(run.rows[axis][row - 1]) if row else 0.0 for axis in AXES)
        pair = (None if old is None else float(size[old]), float(size[row]))
        made.append(Change(at, updates, seconds, pair, one.reason if one else "", one.inputs if one else {}))
    return made
