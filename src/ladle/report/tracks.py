"""The gradient noise scale along a run, with its interval, and the batch size beside it. Plain numbers; pictures draw.

A window's noise scale may be known from below only, or not at all: an open end is inf here and null in the record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ladle.core.moments import PREFIX, Moments
from ladle.core.noise import estimate
from ladle.report import numbers
from ladle.report.curve_row import CROWDED
from ladle.report.curves import along
from ladle.report.study import Group, RunRecord

PIECES = 40
"""A longer track is drawn in so many pieces."""

ENOUGH = 16
"""Measured updates that a piece should hold: with fewer, |G|^2 can seldom be told from zero."""

RAMP = 1.25
"""Sizes this far apart share no piece; a ramp that moves a little in every window still has pieces of many."""

SUMS = tuple(PREFIX + name for name in Moments.__dataclass_fields__)


@dataclass(frozen=True)
class NoiseTrack:
    """The noise scale in consecutive pieces of a run, `f64[pieces]` each.

    - `start`, `end`: examples. `value`: nan or inf where it is not known. `low`, `high`: 95 % interval; a `high` of inf
      means "at least `low`", a `low` of 0 as well that nothing is known.
    - `windows`: record lines a piece, 1 where each is drawn as it was recorded.
    """

    start: np.ndarray
    end: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    windows: int = 1

    @property
    def resolved(self) -> np.ndarray:
        """Both ends are known: `bool[pieces]`."""
        return np.isfinite(self.high) & (self.low > 0)

    @property
    def bounded_below(self) -> np.ndarray:
        """Known from below only: `bool[pieces]`."""
        return ~np.isfinite(self.high) & (self.low > 0)


@dataclass(frozen=True)
class SizeTrack:
    """The batch size in consecutive windows, `f64[windows]` each: `start` and `end` in examples, and `size`."""

    start: np.ndarray
    end: np.ndarray
    size: np.ndarray

    @property
    def changes(self) -> bool:
        return len(np.unique(self.size)) > 1


Measured = tuple[float, Mapping[str, Any]]
"""Where a window starts, in examples, and its line."""

Tracks = Mapping[tuple[int, int], tuple[NoiseTrack | None, SizeTrack]]
"""By group number and run number in it."""


def noise_track(run: RunRecord, pieces: int = PIECES) -> NoiseTrack | None:
    """The noise scale of every window that measured one, with its interval; None where nothing is known of it.

    Where the record has the sums, windows are pooled, as many in each piece, until there are at most `pieces` of them
    with `ENOUGH` measured updates each, and a piece more where the size changes: sums are added and divided once. Else
    all windows stay.
    """
    rows = _measured(run)
    width, forms = 1, _recorded
    if _summed(rows):
        counted = sum(line[SUMS[0]] for _, line in rows)
        width, forms = max(-(-len(rows) // pieces), math.ceil(ENOUGH * len(rows) / counted)), _pooled
    parts = _pieces(rows, width)
    table = [(part[0][0], part[-1][1]["examples"], *forms([line for _, line in part])) for part in parts]
    if not any(low > 0 or math.isfinite(high) for *_, low, high in table):
        return None
    return NoiseTrack(*np.asarray(table, dtype=float).T, windows=width)


def size_track(run: RunRecord) -> SizeTrack | None:
    """The batch size along the run; None where no line tells one."""
    table = [(start, line["examples"], line["size"]) for start, line in _windows(run) if _known(line, "size")]
    return SizeTrack(*np.asarray(table, dtype=float).T) if table else None


def shown(groups: Sequence[Group]) -> Tracks:
    """`(group, run)` -> what there is to see of it: a noise scale, or a size that changes. Others are left out."""
    made = {}
    for i, group in enumerate(groups):
        for k, run in enumerate(group.runs):
            noise, size = noise_track(run), size_track(run)
            if size is not None and (noise is not None or size.changes):
                made[i, k] = (noise, size)
    return made


def limits(tracks: Sequence[tuple[NoiseTrack | None, SizeTrack]]) -> tuple[float, float]:
    """Ends of a log axis that shows every batch size and noise scale; a wide interval may leave it."""
    sizes = np.concatenate([size.size for _, size in tracks])
    bounds = [np.empty(0)]
    for noise, _ in tracks:
        if noise is not None:
            known = noise.resolved
            bounds += [noise.low, noise.value[known], np.minimum(noise.high, 4 * noise.value)[known]]
    values = np.concatenate([sizes, *bounds])
    values = values[np.isfinite(values) & (values >= sizes.min() / 8)]
    return float(values.min()) / 1.6, float(values.max()) * 2.5


def crowded(tracks: Sequence[tuple[NoiseTrack | None, SizeTrack]], bottom: float, top: float) -> bool:
    """Whether the intervals as bands would cover more than `CROWDED` of a panel from `bottom` to `top`."""
    return sum(_covered(noise, bottom, top) for noise, _ in tracks if noise is not None) > CROWDED


def corners(
    run: RunRecord, axis: str, start: np.ndarray, end: np.ndarray, *values: np.ndarray, log: bool = False
) -> tuple[np.ndarray, ...]:
    """Steps: `x` on `axis` with both ends of every piece, and each of `values` twice.

    On a log axis a piece that begins at 0 begins at an eighth of its end.
    """
    x0, x1 = along(run, axis, start), along(run, axis, end)
    x0 = np.where(x0 > 0, x0, x1 / 8) if log else np.where(start > 0, x0, 0.0)
    return np.stack([x0, x1], axis=1).ravel(), *(np.repeat(value, 2) for value in values)


def middles(run: RunRecord, axis: str, noise: NoiseTrack) -> np.ndarray:
    """Where the point of each piece stands."""
    return along(run, axis, (noise.start + noise.end) / 2)


def summary(run: RunRecord, share: float = 1 / 3) -> tuple[tuple[float, float, float], ...]:
    """`(value, low, high)` of the noise scale over the first and the last `share` of the windows that measured one.

    Pooled where the record has the sums, else the medians, an open end being inf. Empty where none was measured.
    """
    rows = _measured(run)
    if not rows:
        return ()
    lines, count = [line for _, line in rows], max(round(len(rows) * share), 1)
    ends = (lines[:count], lines[-count:]) if len(lines) > 1 else (lines,)
    return tuple((_pooled if _summed(rows) else _median)(part) for part in ends)


def _covered(noise: NoiseTrack, bottom: float, top: float) -> float:
    """The part of a log panel that the band covers, over the track's own length. An open end has no band."""
    known, length = noise.resolved, noise.end - noise.start
    low, high = (np.log(np.clip(ends[known], bottom, top)) for ends in (noise.low, noise.high))
    return float((high - low) @ length[known] / length.sum() / np.log(top / bottom))


def _pieces(rows: Sequence[Measured], width: int) -> list[list[Measured]]:
    """Consecutive rows, at most `width` together, and none whose size is far from the first one's."""
    made: list[list[Measured]] = []
    for row in rows:
        if not made or len(made[-1]) == width or _moved(made[-1][0][1].get("size"), row[1].get("size")):
            made.append([])
        made[-1].append(row)
    return made


def _moved(size: Any, other: Any) -> bool:
    return numbers.finite(size) and numbers.finite(other) and max(size, other) > RAMP * min(size, other)


def _windows(run: RunRecord) -> list[Measured]:
    """`(start, line)`: each line that tells its examples, with where the one before it ended."""
    made, last = [], 0.0
    for line in run.lines:
        if _known(line, "examples"):
            if line["examples"] > last:
                made.append((last, line))
            last = float(line["examples"])
    return made


def _measured(run: RunRecord) -> list[Measured]:
    """The windows that say something of the noise scale: by sums where all of those have them, else by an interval.

    One measured update has sums and no interval: it counts when pooled.
    """
    rows = _windows(run)
    by_interval = [(start, line) for start, line in rows if _known(line, "noise_scale_low")]
    by_sums = [(start, line) for start, line in rows if _known(line, SUMS[0]) and line[SUMS[0]] > 0]
    return by_sums if _summed(by_sums) and len(by_sums) >= len(by_interval) else by_interval


def _summed(rows: Sequence[Measured]) -> bool:
    return bool(rows) and all(_known(line, name) for _, line in rows for name in SUMS) and rows[0][1][SUMS[0]] > 0


def _recorded(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    (line,) = lines
    value, high = (line[name] if _known(line, name) else math.inf for name in ("noise_scale", "noise_scale_high"))
    return value, max(line["noise_scale_low"], 0.0), high


def _median(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    value, low, high = (float(x) for x in np.median([_recorded([line]) for line in lines], axis=0))
    return value, low, high


def _pooled(lines: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    moments = Moments()
    for line in lines:
        moments = moments.merge(Moments.from_sums(line))
    noise = estimate(moments)
    return (noise.value if math.isfinite(noise.value) else math.inf), noise.low, noise.high


def _known(line: Mapping[str, Any], name: str) -> bool:
    return numbers.finite(line.get(name))
