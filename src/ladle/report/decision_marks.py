"""Triangles on the curves of a picture where a decision changed something."""

from __future__ import annotations

from collections.abc import Sequence

from ladle.core.colours import colors
from ladle.report.canvas import HALO, INK, Axes, side
from ladle.report.curve_row import CurveRow
from ladle.report.curves import AXES
from ladle.report.decisions import Mark, marks, pair
from ladle.report.frame import Frame
from ladle.report.study import Group

NAMED, APART = 8, 0.1
"""So many decisions at most are written beside their marks, those that stand so far apart on the axis."""


def draw_decisions(line: Sequence[Axes], groups: Sequence[Group], row: CurveRow) -> None:
    """Mark every decision on its group's curve; of a single group, what changed is written where there is room."""
    palette = colors(len(groups))
    for i, group in enumerate(groups):
        one = row.main(i)
        found = marks(group.runs, one) if one is not None else []
        color = INK if len(groups) == 1 else palette[i]
        for axes, axis in zip(line, AXES, strict=True) if found else ():
            where, values = [getattr(mark, axis) for mark in found], [row.frame.inside(mark.value) for mark in found]
            axes.plot(
                where, values, "v", color=color, markersize=9, markeredgecolor="white", zorder=4,
                gid=f"decisions {group.name}",
            )  # fmt: skip
        if one is not None and len(groups) == 1 and len(found) <= NAMED:
            _names(line[0], found, row.frame, end=float(one.examples[-1]))


def _names(axes: Axes, found: Sequence[Mark], frame: Frame, end: float) -> None:
    """Words beside the marks, inside the panel, none on the one before. They repeat no size that did not change."""
    last = -APART
    for mark in found:
        place = mark.examples / end if end else 0.0
        if place - last < APART:
            continue
        last, low = place, frame.height(frame.inside(mark.value)) > 0.85
        axes.annotate(
            pair(mark.change.size), (mark.examples, frame.inside(mark.value)), xytext=(0, -9 if low else 9),
            textcoords="offset points", ha=side(place), va="top" if low else "bottom", fontsize=10, color=INK,
            bbox=HALO,
        )  # fmt: skip
