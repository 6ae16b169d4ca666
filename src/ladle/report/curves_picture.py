"""`curves.png`: loss and metric of every run, its decisions, and the noise scale beside the batch size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.report import track_picture
from ladle.report.canvas import (
    FAINT,
    INK,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    LogLocator,
    NullFormatter,
    Patch,
    missing,
    plain,
    short_ticks,
    verbatim,
    write,
)
from ladle.report.curves import AXES, X_LABELS, Curve, all_curves, along, broken, colors, far_apart, logarithmic, panels
from ladle.report.decisions import marks, pair
from ladle.report.study import Group
from ladle.report.tracks import Tracks, shown

NAMED = 8
"""So many decisions at most are written beside their marks."""


def curves_figure(groups: Sequence[Group], path: str | os.PathLike[str]) -> Path:
    """Draw loss (and the validation metric, where there is one) against examples, updates and seconds into `path`.

    One colour a group: validation solid, training thin and dashed, seeds as a band from lowest to highest around
    their mean. A cross marks where a run diverged, a triangle where a decision changed something. Where a run measured
    its noise scale or changed its size, a last row shows both. Raises `RunError` where `path` cannot be written.
    """
    return write(draw_curves(groups), path)


def draw_curves(groups: Sequence[Group]) -> Figure:
    """The figure of `curves_figure`, not yet written."""
    rows, found = panels(groups), shown(groups)
    count = len(rows) + bool(found)
    figure = Figure(figsize=(15, 1.0 + 4.1 * count), layout="constrained", facecolor="white")
    grid = figure.subplots(count, len(AXES), squeeze=False, sharey="row", sharex="col")
    for line, (title, solid, dashed) in zip(grid[: len(rows)], rows, strict=True):
        made = all_curves(groups, (dashed, solid))
        for axes, axis in zip(line, AXES, strict=True):
            _panel(axes, groups, made, axis=axis, solid=solid)
            _crosses(axes, groups, axis=axis, name=dashed)
            if far_apart(list(made.values()), axis):
                axes.set_xscale("log", nonpositive="mask")
        _scale_values(line[0], [value for one in made.values() for value in (one.mean, one.low)], title)
        line[0].set_ylabel(verbatim(title), fontsize=13)
        if title == "loss":
            _decisions(line, groups, made, solid=solid, dashed=dashed)
    if found:
        track_picture.draw_row(grid[-1], groups, found)
    for axes, axis in zip(grid[-1], AXES, strict=True):
        axes.set_xlabel(X_LABELS[axis], fontsize=13)
        axes.xaxis.set_major_formatter(short_ticks())
    _curves_legend(figure, groups, found)
    return figure


def _panel(
    axes: Axes, groups: Sequence[Group], made: Mapping[tuple[int, str], Curve], *, axis: str, solid: str
) -> None:
    """Lines and bands of every group."""
    palette = colors(len(groups))
    for (i, name), one in made.items():
        x, gid, color = getattr(one, axis), f"{name} {groups[i].name}", palette[i]
        if name == solid:
            axes.plot(x, one.mean, color=color, linewidth=2.2, gid=gid)
        else:
            axes.plot(x, one.mean, color=color, linewidth=1.0, linestyle=(0, (3, 2)), alpha=0.75, gid=gid)
        if one.seeds > 1:
            axes.fill_between(x, one.low, one.high, color=color, alpha=0.16, linewidth=0, gid=f"band {gid}")
    if not made:
        missing(axes, "nothing measured")
    plain(axes)


def _crosses(axes: Axes, groups: Sequence[Group], *, axis: str, name: str) -> None:
    """A cross where a run diverged."""
    for group, color in zip(groups, colors(len(groups)), strict=True):
        for run, examples, value in broken(group, name):
            x = along(run, axis, np.array([examples]))
            axes.plot(x, [value], "x", color=color, markersize=10, markeredgewidth=2.5)


def _decisions(
    line: Sequence[Axes], groups: Sequence[Group], made: Mapping[tuple[int, str], Curve], *, solid: str, dashed: str
) -> None:
    """A triangle on the curve where a decision changed something; what changed is written where there is room."""
    palette = colors(len(groups))
    for i, group in enumerate(groups):
        one = made.get((i, solid)) or made.get((i, dashed))
        found = marks(group.runs, one) if one is not None else []
        color = INK if len(groups) == 1 else palette[i]
        for axes, axis in zip(line, AXES, strict=True):
            gid, where = f"decisions {group.name}", [getattr(mark, axis) for mark in found]
            if found:
                axes.plot(
                    where, [mark.value for mark in found], "v", color=color, markersize=9, markeredgecolor="white",
                    zorder=4, gid=gid,
                )  # fmt: skip
        for mark in found if len(groups) == 1 and len(found) <= NAMED else ():
            line[0].annotate(
                pair(mark.change.size), (mark.examples, mark.value), xytext=(0, 9), textcoords="offset points",
                ha="left", fontsize=10, color=INK,
            )  # fmt: skip


def _scale_values(axes: Axes, values: Sequence[np.ndarray], title: str) -> None:
    if title == "loss" and logarithmic(values, 8):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _curves_legend(figure: Figure, groups: Sequence[Group], found: Tracks) -> None:
    seeds = max((len(group.runs) for group in groups), default=1)
    handles: list[Any] = [
        Line2D([], [], color=color, linewidth=3, label=verbatim(group.label))
        for group, color in zip(groups, colors(len(groups)), strict=True)
    ]
    handles.append(Line2D([], [], color=FAINT, linewidth=2.2, label="validation"))
    handles.append(Line2D([], [], color=FAINT, linewidth=1, linestyle=(0, (3, 2)), label="training"))
    if seeds > 1:
        handles.append(Patch(color=FAINT, alpha=0.25, linewidth=0, label=f"range of {seeds} seeds"))
    if any(run.diverged for group in groups for run in group.runs):
        handles.append(
            Line2D(
                [], [], color=FAINT, marker="x", markersize=9, markeredgewidth=2.5, linestyle="none", label="diverged"
            )
        )
    handles += track_picture.legend(found)
    if any(str(line.get_gid()).startswith("decisions") for axes in figure.axes for line in axes.lines):
        handles.append(Line2D([], [], color=INK, marker="v", markersize=9, linestyle="none", label="decision"))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 8), frameon=False, fontsize=12)
