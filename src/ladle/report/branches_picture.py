"""Branches of a run: the loss of each size above that of the run's own, with its one-sided 95 % bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ladle.report import numbers
from ladle.report.canvas import (
    ACCENT,
    FAINT,
    GUIDE,
    INK,
    WARN,
    Axes,
    FuncFormatter,
    Line2D,
    NullFormatter,
    dashed_key,
    head,
    plain,
    verbatim,
)
from ladle.report.steps_picture import draw_span, first_definition, interval

_VERDICTS = {"undecided": (ACCENT, "white"), "not": (ACCENT, "white"), "worse": (WARN, WARN)}
"""Line and face by the first word of a verdict."""

Shown = Sequence[tuple[Mapping[str, Any], float]]
"""Rows that have a loss, each with how far it is above the first."""


def draw_branches(axes: Axes, found: Mapping[str, Any]) -> None:
    """Draw the loss of each branch above the first one's, with bounds, and the critical size.

    Large losses on a log axis. Between two sizes nothing was measured: the line there is dashed.
    """
    rows, margin, one = found["table"], found["margin"], first_definition(found)
    differences = [(row, 0.0 if i == 0 else row["difference"]) for i, row in enumerate(rows)]
    shown = [(row, value) for row, value in differences if numbers.finite(value)]
    axes.set_xscale("log", base=2)
    axes.axhline(0, color=INK, linewidth=1)
    for end in (-margin, margin):
        axes.axhline(end, color=FAINT, linewidth=1, linestyle=GUIDE, gid="margin")
    axes.plot(*zip(*((row["size"], value) for row, value in shown), strict=True), color=FAINT, linewidth=1,
              linestyle=GUIDE, zorder=1)  # fmt: skip
    for row, value in shown:
        _branch(axes, row, value)
    for row in rows:
        if row["verdict"] == "diverged":
            axes.axvline(row["size"], color=WARN, linewidth=1.5, linestyle=(0, (1, 2)), gid=f"diverged {row['size']}")
    axes.axvline(one["value"], color=ACCENT, alpha=0.2, linewidth=14, zorder=0, gid="critical")
    _scales(axes, [row["size"] for row in rows], shown, margin)
    ends = f" ({interval(one)})" if numbers.finite(one["low"]) else ""
    name = f"{one['name'].partition(':')[0]}: {numbers.count(one['value'])}{ends}"
    head(
        axes,
        f"{name} at {numbers.count(found['position'])} examples",
        f"branches of {numbers.count(found['trained'])} examples; bars: one-sided 95 % bounds",
    )
    axes.set_ylabel(f"validation loss above that of size {numbers.count(rows[0]['size'])}", fontsize=13)
    plain(axes)


def branch_keys(found: Mapping[str, Any]) -> list[Any]:
    """What the marks mean."""
    marks = {
        "no worse": (ACCENT, ACCENT),
        "undecided or not tested": (ACCENT, "white"),
        "worse than a smaller one": (WARN, WARN),
    }
    points = [
        Line2D(
            [], [], marker="o", linestyle="none", markersize=9, markeredgecolor=edge, markerfacecolor=face,
            markeredgewidth=2, label=name,
        )
        for name, (edge, face) in marks.items()
    ]  # fmt: skip
    critical = Line2D([], [], color=ACCENT, alpha=0.2, linewidth=10, label=verbatim("critical size"))
    return [*points, dashed_key(f"margin {found['margin']:g}"), critical]


def _branch(axes: Axes, row: Mapping[str, Any], value: float) -> None:
    color, face = _VERDICTS.get(str(row["verdict"]).split()[0], (ACCENT, ACCENT))
    draw_span(axes, [row["low"], row["high"]], lambda bound: (row["size"], bound), color)
    axes.plot(
        row["size"], value, "o", markersize=10, markeredgecolor=color, markerfacecolor=face, markeredgewidth=2,
        gid=f"size {row['size']}",
    )  # fmt: skip


def _scales(axes: Axes, sizes: Sequence[int], shown: Shown, margin: float) -> None:
    bounds = [one for row, value in shown for one in (row["low"], row["high"], value) if numbers.finite(one)]
    if max(bounds) > 5 * margin:
        axes.set_yscale("symlog", linthresh=margin, linscale=0.6)
    axes.set_ylim(min(-2 * margin, 1.6 * min(bounds)), max(2 * margin, 1.6 * max(bounds)))
    axes.set_xticks(sizes, [numbers.count(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("batch size", fontsize=13)
