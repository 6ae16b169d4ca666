"""The last row of `curves.png`: noise scale with its band, batch size as steps, on one log axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ladle.core.colours import colors
from ladle.report import numbers
from ladle.report.canvas import FAINT, INK, Axes, FuncFormatter, Line2D, NullFormatter, Patch, plain
from ladle.report.curves import AXES
from ladle.report.study import Group, RunRecord
from ladle.report.tracks import NoiseTrack, Tracks, corners, crowded, limits, middles

UP = 10
"""Marker: a triangle that points up from where it stands. The interval has no upper end."""


def draw_row(row: Sequence[Axes], groups: Sequence[Group], found: Tracks) -> None:
    """One panel for each of `AXES`; `found` from `ladle.report.tracks.shown`.

    Filled points: both ends of the interval are known, and the band lies between them, or a bar where bands would fill
    the panel. Triangle on a line: the lower end, where there is no upper one. Nothing: not resolved.
    """
    bottom, top = limits(list(found.values()))
    bars = crowded(list(found.values()), bottom, top)
    for axes, axis in zip(row, AXES, strict=True):
        axes.set_yscale("log", base=2)
        axes.set_ylim(bottom, top)
        for (i, k), (noise, size) in found.items():
            run, color = groups[i].runs[k], colors(len(groups))[i]
            if noise is not None:
                _noise(axes, run, noise, axis=axis, color=color, bars=bars)
            tone = INK if len(groups) == 1 else color
            x, y = corners(run, axis, size.start, size.end, size.size, log=axes.get_xscale() == "log")
            axes.plot(x, y, color=tone, linewidth=2.2, gid=f"size {run.folder.name}")
        plain(axes)
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: numbers.count(value) if value >= 1 else f"{value:g}")
        )
        axes.yaxis.set_minor_formatter(NullFormatter())
    known = any(noise is not None for noise, _ in found.values())
    row[0].set_ylabel("noise scale, batch size" if known else "batch size", fontsize=13)


def legend(found: Tracks) -> list[Any]:
    """What the marks of the row mean."""
    size = Line2D([], [], color=INK, linewidth=2.2, label="batch size")
    if all(noise is None for noise, _ in found.values()):
        return [size] if found else []
    return [
        size,
        Patch(color=FAINT, alpha=0.35, linewidth=0, label="noise scale, 95 %"),
        Line2D([], [], color=FAINT, marker=UP, markersize=8, linestyle="none", label="at least"),
    ]


def _noise(axes: Axes, run: RunRecord, noise: NoiseTrack, *, axis: str, color: str, bars: bool) -> None:
    name, log = run.folder.name, axes.get_xscale() == "log"
    middle, known, below = middles(run, axis, noise), noise.resolved, noise.bounded_below
    if bars:
        axes.vlines(
            middle[known], noise.low[known], noise.high[known], color=color, alpha=0.45, linewidth=3, gid=f"band {name}"
        )
    elif known.any():
        x, low, high, where = corners(run, axis, noise.start, noise.end, noise.low, noise.high, known, log=log)
        axes.fill_between(x, low, high, where=where, color=color, alpha=0.28, linewidth=0, gid=f"band {name}")  # type: ignore[arg-type]
    if below.any():  # A band without an upper end would fill the panel.
        x, low = corners(run, axis, noise.start, noise.end, np.where(below, noise.low, np.nan), log=log)
        axes.plot(x, low, color=color, linewidth=1.2, alpha=0.8, gid=f"open band {name}")
    axes.plot(middle, np.where(known, noise.value, np.nan), "o", color=color, markersize=6, gid=f"noise {name}")
    axes.plot(
        middle[below], noise.low[below], marker=UP, linestyle="none", color=color, markersize=7, alpha=0.8,
        gid=f"at least {name}",
    )  # fmt: skip
