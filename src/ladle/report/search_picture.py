"""What a search tried: the mean of every candidate over its rate, a line for each batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ladle.core.colours import colors
from ladle.report.canvas import INK, Figure, Line2D, legend, log_ticks, plain, sheet, svg, verbatim
from ladle.report.numbers import finite


def search_svg(found: Mapping[str, Any]) -> bytes:
    """The figure of `draw_search` as SVG."""
    return svg(draw_search(found))


def draw_search(found: Mapping[str, Any]) -> Figure:
    """Draw a search.json: bars are standard errors over folds and seeds, the ring is the choice.

    Candidates that failed or diverged have no mean, and are not drawn.
    """
    rows = [row for row in found["candidates"] if finite(row.get("mean")) and finite(row.get("lr"))]
    sizes = sorted({row["size"] for row in rows})
    figure = sheet(9, 5.2)
    axes = figure.subplots()
    for size, color in zip(sizes, colors(len(sizes)), strict=True):
        of = sorted((row for row in rows if row["size"] == size), key=lambda row: row["lr"])
        x, y = (np.array([row[name] for row in of], float) for name in ("lr", "mean"))
        error = np.array([row["se"] if finite(row.get("se")) else 0.0 for row in of])
        axes.plot(x, y, "o-", color=color, linewidth=1.2, markersize=5, gid=f"size {size}")
        axes.vlines(x, y - error, y + error, color=color, alpha=0.4, linewidth=2)
    chosen = found["candidates"][found["chosen"]]
    if chosen in rows:
        axes.plot(chosen["lr"], chosen["mean"], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK,
                  markeredgewidth=1.6, gid="chosen")  # fmt: skip
    axes.set_xscale("log")
    plain(axes)
    axes.margins(x=0.08)
    log_ticks(axes.xaxis)
    axes.set_xlabel("learning rate", fontsize=13)
    axes.set_ylabel(verbatim(found["metric"]), fontsize=13)
    keys = [
        Line2D([], [], color=color, marker="o", label=f"size {size:,}")
        for size, color in zip(sizes, colors(len(sizes)), strict=True)
    ]
    ring = Line2D(
        [], [], marker="o", markersize=11, markerfacecolor="none", color=INK, linestyle="none", label="chosen"
    )
    legend(figure, [*keys, ring])
    return figure
