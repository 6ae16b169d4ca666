"""`critical.png`: what a critical batch size rests on. Plain data in (critical.json), a picture out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.report.branches_picture import branch_keys, draw_branches
from ladle.report.canvas import Figure, legend, sheet, svg, write
from ladle.report.facts import caption
from ladle.report.steps_picture import draw_by_size, draw_tradeoff, steps_keys


def critical_figure(
    found: Mapping[str, Any], path: str | os.PathLike[str], facts: Mapping[str, Any] | None = None
) -> Path:
    """Draw a critical.json into `path`. Raises `RunError` where it cannot be written.

    - `facts`: what it was measured on (`data`, `model`, `optimizer`), for the caption; those in `found` where left out.
    """
    return write(draw_critical(found, caption(found if facts is None else facts)), path)


def critical_svg(found: Mapping[str, Any]) -> bytes:
    """The same picture as SVG, for a page."""
    return svg(draw_critical(found))


def draw_critical(found: Mapping[str, Any], words: str = "") -> Figure:
    """The figure, not yet written. `words`: the caption."""
    if found["kind"] == "branches":
        figure = sheet(9, 6.2)
        draw_branches(figure.subplots(), found)
        legend(figure, branch_keys(found), words)
        return figure
    figure = sheet(14, 6.2)
    left, right = figure.subplots(1, 2)
    draw_tradeoff(left, found)
    draw_by_size(right, found)
    legend(figure, steps_keys(found, by_size=True), words)
    return figure
