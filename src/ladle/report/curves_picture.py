"""`curves.png`: loss and metric of every run, its decisions, and the noise scale beside the batch size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.colours import colors
from ladle.report import track_picture
from ladle.report.canvas import (
    FAINT,
    GUIDE,
    INK,
    Axes,
    Figure,
    Line2D,
    Patch,
    few_ticks,
    legend,
    log_ticks,
    missing,
    plain,
    sheet,
    svg,
    verbatim,
    write,
)
from ladle.report.curve_row import CurveRow, bar_width, curve_rows
from ladle.report.curves import AXES, BARS, MARKS, X_LABELS, Curve, along, broken, far_apart, spaced
from ladle.report.decision_marks import draw_decisions
from ladle.report.study import Group
from ladle.report.tracks import shown


def curves_figure(groups: Sequence[Group], path: str | os.PathLike[str], caption: str = "") -> Path:
    """Draw loss (and the validation metric, where there is one) against examples, updates and seconds into `path`.

    One colour a group. Validation: a point at every evaluation, joined by a thin line that is a guide; training: thin
    and dashed. The range of the seeds is a band around their mean, or bars at evaluations where bands would fill the
    panel. A cross marks where a run diverged, at the edge if its loss is beyond it; a triangle where a decision changed
    something. Where a run measured its noise scale or changed its size, a last row shows both.

    - `caption`: what the runs are of, written above.

    Raises `RunError` where `path` cannot be written.
    """
    return write(draw_curves(groups, caption), path)


def curves_svg(groups: Sequence[Group], caption: str = "") -> bytes:
    """The same picture as SVG, for a notebook."""
    return svg(draw_curves(groups, caption))


def draw_curves(groups: Sequence[Group], caption: str = "") -> Figure:
    """The figure of `curves_figure`, not yet written."""
    rows, found = curve_rows(groups), shown(groups)
    count = max(len(rows) + bool(found), 1)
    figure = sheet(15, 1.3 + 4.1 * count)
    grid = figure.subplots(count, len(AXES), squeeze=False, sharey="row", sharex="col")
    for line, row in zip(grid, rows, strict=False):
        _draw_row(line, groups, row)
    if not rows:
        for axes in grid[0]:
            missing(axes, "nothing measured")
    if found:
        track_picture.draw_row(grid[-1], groups, found)
    for axes, axis in zip(grid[-1], AXES, strict=True):
        axes.set_xlabel(X_LABELS[axis], fontsize=13)
        log_ticks(axes.xaxis) if axes.get_xscale() == "log" else few_ticks(axes.xaxis)
    legend(figure, [*_keys(figure, groups), *track_picture.legend(found), *_mark_keys(figure)], caption)
    return figure


def _draw_row(line: Sequence[Axes], groups: Sequence[Group], row: CurveRow) -> None:
    """One panel an axis, with a common range of values."""
    for axes, axis in zip(line, AXES, strict=True):
        _panel(axes, groups, row, axis)
        _crosses(axes, groups, row, axis)
        plain(axes)
        if far_apart(list(row.curves.values()), axis):
            axes.set_xscale("log", nonpositive="mask")
    line[0].set_ylim(row.frame.low, row.frame.high)
    if row.frame.log:
        line[0].set_yscale("log")
        log_ticks(line[0].yaxis)
    line[0].set_ylabel(verbatim(row.title), fontsize=13)
    if row.title == "loss":
        draw_decisions(line, groups, row)


def _panel(axes: Axes, groups: Sequence[Group], row: CurveRow, axis: str) -> None:
    """Curves of every group; the seeds' range around validation, and around training where there is no validation."""
    palette, bars = colors(len(groups)), row.crowded
    for (i, name), one in row.curves.items():
        x, gid, color = getattr(one, axis), f"{name} {groups[i].name}", palette[i]
        if name == row.solid:
            _evaluations(axes, x, one, color=color, gid=gid, most=MARKS if row.evaluated else 0)
        else:
            alone = "_" if x.size == 1 else ""  # The mean of a single window joins nothing.
            axes.plot(
                x, one.mean, color=color, linewidth=1.0, linestyle=GUIDE, alpha=0.75, gid=gid, marker=alone,
                markersize=14,
            )  # fmt: skip
        if one.seeds > 1 and (i, name) in row.shaded:
            _band(axes, x, one, color=color, gid=f"band {gid}", width=bar_width(i, len(groups)) if bars else None)


def _evaluations(axes: Axes, x: np.ndarray, one: Curve, *, color: str, gid: str, most: int) -> None:
    """A point where an evaluation was made, `most` of them; the line between two is thin: it is a guide."""
    axes.plot(x, one.mean, color=color, linewidth=1.2, alpha=0.6, gid=gid)
    if not most and x.size > 1:
        return
    places = spaced(one, max(most, 1))
    size = 5.5 if places.size <= 20 else 3.5
    axes.plot(x[places], one.mean[places], "o", color=color, markersize=size, gid=f"evaluations {gid}")


def _band(axes: Axes, x: np.ndarray, one: Curve, *, color: str, gid: str, width: float | None) -> None:
    """The range of the seeds: filled, or bars of `width` points at evaluations."""
    if width is None:
        axes.fill_between(x, one.low, one.high, color=color, alpha=0.16, linewidth=0, gid=gid)
    else:
        at = spaced(one, BARS)
        axes.vlines(x[at], one.low[at], one.high[at], color=color, alpha=0.35, linewidth=width, gid=gid)


def _crosses(axes: Axes, groups: Sequence[Group], row: CurveRow, axis: str) -> None:
    """A cross where a run diverged, at the edge of the panel where its value is beyond."""
    for group, color in zip(groups, colors(len(groups)), strict=True):
        for run, examples, value in broken(group, row.dashed):
            x, y = along(run, axis, np.array([examples])), row.frame.inside(value)
            gid = "cross" if y == value else "cross at the edge"
            axes.plot(x, [y], "x", color=color, markersize=10, markeredgewidth=2.5, zorder=5, gid=gid)


def _keys(figure: Figure, groups: Sequence[Group]) -> list[Any]:
    """Colours of the groups, and what a curve and its band are."""
    handles: list[Any] = [
        Line2D([], [], color=color, linewidth=3, label=group.label)
        for group, color in zip(groups, colors(len(groups)), strict=True)
    ]
    handles.append(
        Line2D([], [], color=FAINT, linewidth=1.2, marker="o", markersize=5.5, label="validation, evaluated")
    )
    handles.append(Line2D([], [], color=FAINT, linewidth=1, linestyle=GUIDE, label="training, means of windows"))
    bands = [one for axes in figure.axes for one in axes.collections if str(one.get_gid()).startswith("band ")]
    seeds = max((len(group.runs) for group in groups), default=1)
    if bands and seeds > 1:
        handles.append(Patch(color=FAINT, alpha=0.25, linewidth=0, label=f"lowest to highest of {seeds} seeds"))
    return handles


def _mark_keys(figure: Figure) -> list[Any]:
    """What single marks mean, those that were drawn."""
    drawn = {str(line.get_gid()) for axes in figure.axes for line in axes.lines}
    handles = []
    if drawn & {"cross", "cross at the edge"}:
        label = "diverged" + (" (at the edge: beyond it)" if "cross at the edge" in drawn else "")
        handles.append(
            Line2D([], [], color=FAINT, marker="x", markersize=9, markeredgewidth=2.5, linestyle="none", label=label)
        )
    if any(gid.startswith("decisions") for gid in drawn):
        handles.append(Line2D([], [], color=INK, marker="v", markersize=9, linestyle="none", label="decision"))
    return handles
