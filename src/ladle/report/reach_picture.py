"""Steps against examples of a comparison's sizes to one loss; the hyperbola where three sizes or more make one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.canvas import ACCENT, INK, Axes, Figure, svg
from ladle.report.steps_picture import draw_tradeoff, label_axes, log_ticks
from ladle.report.targets import Target, fit


def reached_svg(target: Target) -> bytes:
    """The figure of `draw_reached` as SVG, for a page."""
    return svg(draw_reached(target))


def draw_reached(target: Target) -> Figure:
    """Each size a point, from the evaluation before to the one that met the loss; the hyperbola with its interval."""
    figure = Figure(figsize=(9, 5.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    what, made = f"validation loss {target.loss:g}", fit(target.rows)
    if made is None:
        _points(axes, target, what)
        return figure
    names = {"value": made["critical"], "low": made["low"], "high": made["high"]}
    found: dict[str, Any] = {
        "target": what,
        "fit": made,
        "definitions": [names],
        "table": [asdict(row) for row in target.rows],
    }
    draw_tradeoff(axes, found)
    return figure


def _points(axes: Axes, target: Target, what: str) -> None:
    for row in target.rows:
        ends = np.array([row.low, row.high])
        axes.plot(ends, ends * row.size, color=ACCENT, linewidth=2.5, alpha=0.6)
        axes.plot(row.steps, row.examples, "o", color=ACCENT, markersize=7, gid=f"size {row.size}")
        axes.annotate(
            numbers.count(row.size), (row.steps, row.examples), xytext=(7, 6), textcoords="offset points",
            fontsize=10, color=INK,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    label_axes(axes, f"steps to {what}", "examples", "steps and examples (sizes beside the points)")
    log_ticks(axes)
