"""Branches of a run: the loss of each size above that of the run's own, with its one-sided 95 % bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ladle.report import numbers
from ladle.report.canvas import ACCENT, FAINT, INK, WARN, Axes, FuncFormatter, Line2D, NullFormatter, Patch
from ladle.report.steps_picture import draw_span, first_definition, interval, label_axes

_VERDICTS = {"undecided": (ACCENT, "white"), "not": (ACCENT, "white"), "worse": (WARN, WARN)}
"""Line and face by the first word of a verdict."""


def draw_branches(axes: Axes, found: Mapping[str, Any]) -> None:
    """Loss of each branch above the first one's, with bounds, and the critical size. Large losses on a log axis."""
    rows, margin, one = found["table"], found["margin"], first_definition(found)
    sizes = [row["size"] for row in rows]
    shown = [(row, 0.0 if i == 0 else row["difference"]) for i, row in enumerate(rows)]
    shown = [(row, value) for row, value in shown if numbers.finite(value)]
    axes.axhspan(-margin, margin, color=FAINT, alpha=0.13, linewidth=0, gid="margin")
    axes.axhline(0, color=INK, linewidth=1)
    axes.plot([row["size"] for row, _ in shown], [value for _, value in shown], color=FAINT, linewidth=1, zorder=1)
    for row, value in shown:
        color, face = _VERDICTS.get(str(row["verdict"]).split()[0], (ACCENT, ACCENT))
        draw_span(axes, [row["low"], row["high"]], lambda bound, size=row["size"]: (size, bound), color)
        axes.plot(
            row["size"], value, "o", markersize=10, markeredgecolor=color, markerfacecolor=face, markeredgewidth=2,
            gid=f"size {row['size']}",
        )  # fmt: skip
    for row in rows:
        if row["verdict"] == "diverged":
            axes.axvline(row["size"], color=WARN, linewidth=1.5, linestyle=(0, (1, 2)), gid=f"diverged {row['size']}")
    axes.axvline(one["value"], color=ACCENT, alpha=0.2, linewidth=14, zorder=0, gid="critical")
    axes.set_xscale("log", base=2)
    bounds = [one for row, value in shown for one in (row["low"], row["high"], value) if numbers.finite(one)]
    if max(bounds) > 5 * margin:
        axes.set_yscale("symlog", linthresh=margin, linscale=0.6)
    axes.set_ylim(min(-2 * margin, 1.6 * min(bounds)), max(2 * margin, 1.6 * max(bounds)))
    axes.set_xticks(sizes, [numbers.count(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ends = f" ({interval(one)})" if numbers.finite(one["low"]) else ""
    name = f"{one['name'].partition(':')[0]}: {numbers.count(one['value'])}{ends}"
    title = f"{name} at {numbers.count(found['position'])} examples"
    what = f"validation loss above that of size {numbers.count(sizes[0])}"
    label_axes(axes, "batch size", what, f"{title}; branches of {numbers.count(found['trained'])}")
    marks = {
        "no worse": (ACCENT, ACCENT),
        "undecided or not tested": (ACCENT, "white"),
        "worse than a smaller one": (WARN, WARN),
    }
    handles = [
        Line2D(
            [], [], marker="o", linestyle="none", markersize=9, markeredgecolor=edge, markerfacecolor=face,
            markeredgewidth=2, label=name,
        )
        for name, (edge, face) in marks.items()
    ]  # fmt: skip
    axes.legend(
        handles=[*handles, Patch(color=FAINT, alpha=0.25, label=f"margin {margin:g}")], frameon=False, fontsize=11
    )
