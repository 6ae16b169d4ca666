"""The last row of `curves.png`: noise scale with its band, batch size as steps, on one log axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.canvas import FAINT, INK, Axes, FuncFormatter, Line2D, NullFormatter, Patch, plain
from ladle.report.curves import AXES, colors
from ladle.report.study import Group, RunRecord
from ladle.report.tracks import NoiseTrack, Tracks, corners, limits, middles

UP = 10
"""Marker: a triangle that points up from where it stands. The interval has no upper end."""


def draw_row(row: Sequence[Axes], groups: Sequence[Group], found: Tracks) -> None:
    """One panel for each of `AXES`; `found` from `ladle.report.tracks.shown`.

    Filled points: both ends of the interval are known, and the band lies between them. Triangle: the lower end, where
    there is no upper one; the band is open to the top. Nothing: not resolved.
    """
    bottom, top = limits(list(found.values()))
    for axes, axis in zip(row, AXES, strict=True):
        axes.set_yscale("log", base=2)
        axes.set_ylim(bottom, top)
        for (i, k), (noise, size) in found.items():
            run, color = groups[i].runs[k], colors(len(groups))[i]
            if noise is not None:
                _noise(axes, run, noise, axis=axis, color=color, top=top)
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


def _noise(axes: Axes, run: RunRecord, noise: NoiseTrack, *, axis: str, color: str, top: float) -> None:
    name, log = run.folder.name, axes.get_xscale() == "log"
    high = np.where(np.isfinite(noise.high), noise.high, top)
    for kind, known, alpha in (("band", noise.resolved, 0.28), ("open band", noise.bounded_below, 0.10)):
        x, low, ends, where = corners(run, axis, noise.start, noise.end, noise.low, high, known, log=log)
        if known.any():
            axes.fill_between(x, low, ends, where=where, color=color, alpha=alpha, linewidth=0, gid=f"{kind} {name}")  # type: ignore[arg-type]
    x = middles(run, axis, noise)
    axes.plot(x, np.where(noise.resolved, noise.value, np.nan), "o", color=color, markersize=6, gid=f"noise {name}")
    open_end = noise.bounded_below
    axes.plot(
        x[open_end],
        noise.low[open_end],
        marker=UP,
        linestyle="none",
        color=color,
        markersize=7,
        alpha=0.8,
        gid=f"at least {name}",
    )
