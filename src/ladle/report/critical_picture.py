"""`critical.png`: what a critical batch size rests on. Plain data in (critical.json), a picture out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.report.branches_picture import draw_branches
from ladle.report.canvas import Figure, svg, write
from ladle.report.steps_picture import draw_by_size, draw_tradeoff


def critical_figure(found: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Draw a critical.json into `path`. Raises `RunError` where it cannot be written."""
    return write(draw_critical(found), path)


def critical_svg(found: Mapping[str, Any]) -> bytes:
    """The same picture as SVG, for a page."""
    return svg(draw_critical(found))


def draw_critical(found: Mapping[str, Any]) -> Figure:
    """The figure, not yet written."""
    if found["kind"] == "branches":
        figure = Figure(figsize=(9, 5.2), layout="constrained", facecolor="white")
        draw_branches(figure.subplots(), found)
        return figure
    figure = Figure(figsize=(14, 5.4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    draw_tradeoff(left, found)
    draw_by_size(right, found)
    return figure
