"""From the lines of several seeds to one curve with its band. Pure NumPy; both pictures draw these values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ladle.report.study import Group, RunRecord, valid_metric

AXES = ("examples", "updates", "seconds")
"""The three things that loss is drawn against."""

X_LABELS = {"examples": "examples seen", "updates": "updates", "seconds": "seconds of training"}

MARKS, BARS = 60, 16
"""Evaluations of a curve that are marked, and bars that stand for its band, at most."""


@dataclass(frozen=True)
class Curve:
    """`values` over seeds at common positions: `mean`, `low`, `high` `f64[points]`.

    - `examples`, `updates`, `seconds`: the seeds' means of each at those positions. `seeds`: how many went in.
    - `measured`: `bool[points]`, whether every seed was measured there; what is not is a guide between two that are.
      Where the seeds never were at one position, whether any was.
    - `diverged`: every seed of it did.
    """

    examples: np.ndarray
    updates: np.ndarray
    seconds: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int
    measured: np.ndarray
    diverged: bool = False


def curve(runs: Sequence[RunRecord], name: str, points: int = 400) -> Curve | None:
    """Column `name` over `runs` (seeds of one group); None where no run has a number, or they share no range.

    Positions are those of the lines, thinned to `points`, over the range that all the runs cover; values between
    lines are linear. What was measured in training is a mean over its window, and stands in the window's middle. A run
    that diverged is left out while another did not: it would cut the others short.
    """
    columns = [(run, *_placed(run, name)) for run in runs]
    columns = [c for c in columns if c[1].size]
    sound = [c for c in columns if not c[0].diverged]
    columns = sound or columns
    if not columns:
        return None
    first, last = max(c[1][0] for c in columns), min(c[1][-1] for c in columns)
    grid = np.unique(np.concatenate([c[1] for c in columns]))
    grid = thin(grid[(grid >= first) & (grid <= last)], points)
    if grid.size == 0:
        return None
    values = np.stack([np.interp(grid, x, y) for _, x, y in columns])
    updates, seconds = (
        np.mean([along(run, axis, grid) for run, _, _ in columns], axis=0) for axis in ("updates", "seconds")
    )
    own = np.stack([np.isin(grid, x) for _, x, _ in columns])
    shared = np.all(own, axis=0)
    measured = shared if shared.any() else np.any(own, axis=0)
    spread = values.mean(axis=0), values.min(axis=0), values.max(axis=0)
    return Curve(grid, updates, seconds, *spread, len(columns), measured, diverged=not sound)


def _placed(run: RunRecord, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The column with the positions that its values are about."""
    x, y = run.column(name)
    return ((np.concatenate(([0.0], x))[:-1] + x) / 2 if name.startswith("train_") else x), y


def all_curves(groups: Sequence[Group], names: Sequence[str]) -> dict[tuple[int, str], Curve]:
    """The curve of every group `i` and column `name` under `(i, name)`; those without numbers are left out."""
    made = {(i, name): curve(group.runs, name) for i, group in enumerate(groups) for name in names}
    return {place: one for place, one in made.items() if one is not None}


def panels(groups: Sequence[Group]) -> list[tuple[str, str, str]]:
    """`(title, solid column, dashed column)` of each row of pictures: loss; metric and joules where told."""
    runs = [run for group in groups for run in group.runs]
    metric = valid_metric(runs)
    rows = [("loss", "valid_loss", "train_loss")]
    if metric:
        rows.append((metric.removeprefix("valid_"), metric, metric.replace("valid_", "train_", 1)))
    if any("joules" in line for run in runs for line in run.lines):
        rows.append(("energy, joules", "joules", ""))
    return rows


def far_apart(made: Sequence[Curve], axis: str) -> bool:
    """Whether `axis` needs a log scale: updates or seconds, and sizes end a factor 8 apart.

    The start, at 0, then falls off the picture.
    """
    return axis != "examples" and logarithmic([getattr(one, axis)[-1:] for one in made], 8)


def along(run: RunRecord, axis: str, examples: np.ndarray) -> np.ndarray:
    """Where on `axis` ("examples", "updates", "seconds") the run stood at positions `examples`; NaN if never told."""
    if axis == "examples":
        return np.asarray(examples, dtype=float)
    x, y = run.column(axis)
    return np.interp(examples, x, y) if x.size else np.full(np.shape(examples), np.nan)


def thin(values: np.ndarray, points: int) -> np.ndarray:
    """At most `points` of `values`, ends included, denser at the start, where curves bend.

    >>> thin(np.arange(1000.0), 5)
    array([  0.,  62., 249., 561., 999.])
    """
    if values.size <= points:
        return values
    places = np.linspace(0, 1, points) ** 2 * (values.size - 1)
    return values[np.unique(places.astype(int))]


def spaced(one: Curve, most: int) -> np.ndarray:
    """Which points of a curve to mark: those that were measured, at most `most` of them, the last among them."""
    places = np.flatnonzero(one.measured)
    return places[::-1][:: max(-(-places.size // most), 1)][::-1]


def broken(group: Group, name: str) -> list[tuple[RunRecord, float, float]]:
    """`(run, examples, value)` where each diverged run of `group` ended, to be marked with a cross."""
    ends = []
    for run in group.runs:
        x, y = run.column(name)
        if run.diverged and x.size:
            ends.append((run, float(x[-1]), float(y[-1])))
    return ends


def logarithmic(ranges: Sequence[np.ndarray], ratio: float) -> bool:
    """Whether a log axis shows these values better: all positive, and spread over more than `ratio`."""
    values = np.concatenate([np.ravel(r) for r in ranges]) if ranges else np.empty(0)
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() / values.min() > ratio)
