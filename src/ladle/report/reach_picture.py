"""Steps against examples of a comparison's sizes to one loss; the hyperbola where three sizes or more make one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ladle.report.canvas import ACCENT, Axes, Figure, head, legend, sheet, svg
from ladle.report.steps_picture import draw_span, draw_tradeoff, label_axes, name_size, steps_keys
from ladle.report.targets import Milestone, fit


def reached_svg(target: Milestone) -> bytes:
    """The figure of `draw_reached` as SVG, for a page."""
    return svg(draw_reached(target))


def draw_reached(target: Milestone) -> Figure:
    """Each size a point, from the evaluation before to the one that met the loss; the hyperbola with its interval."""
    figure = sheet(9, 5.6)
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
    legend(figure, steps_keys(found, by_size=False))
    return figure


def _points(axes: Axes, target: Milestone, what: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.15)
    for row in target.rows:
        draw_span(axes, [row.low, row.high], lambda steps, size=row.size: (steps, steps * size))
        axes.plot(row.steps, row.examples, "o", color=ACCENT, markersize=7, gid=f"size {row.size}")
    for row in target.rows:
        name_size(axes, row.size, row.steps, row.examples)
    head(axes, "Steps and examples", "sizes beside the points")
    label_axes(axes, f"steps to {what}", "examples")
