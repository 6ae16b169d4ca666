"""`rehearsal.png`: dry runs side by side, loss against updates, examples and seconds, and the batch size on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.colours import colors
from ladle.report.canvas import (
    INK,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    NullFormatter,
    few_ticks,
    legend,
    log_ticks,
    plain,
    sheet,
    write,
)
from ladle.report.curves import logarithmic

X = {"examples": "examples", "steps": "updates", "seconds": "seconds (predicted)"}
"""What loss is drawn against, and its label."""

CAPTION = "noisy quadratic, expected loss at the end of each window; trains nothing"
"""What is played where the caller does not say it better."""

MARKED = 40
"""A curve of so many windows at most has a point at each."""


def write_rehearsal(
    runs: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    target: float | None = None,
    caption: str = CAPTION,
) -> Path:
    """Draw dry runs into `path`. Raises `RunError` where it cannot be written.

    - `runs`: each a `name` and, at equal places, `steps`, `examples`, `seconds`, `loss`, `size`: lists, the start
      first. `target`: loss that is drawn as a line. `caption`: what is played on.
    """
    return write(draw_rehearsal(runs, target, caption), path)


def draw_rehearsal(runs: Sequence[Mapping[str, Any]], target: float | None = None, caption: str = CAPTION) -> Figure:
    """The figure of `write_rehearsal`, not yet written."""
    figure = sheet(15, 8.4)
    grid = figure.subplots(2, len(X), squeeze=False, sharex="col", sharey="row", height_ratios=(2, 1))
    for (above, below), (axis, label) in zip(grid.T, X.items(), strict=True):
        for run, color in zip(runs, colors(len(runs)), strict=True):
            marker = "o" if len(run["loss"]) <= MARKED else ""
            above.plot(
                run[axis], run["loss"], color=color, linewidth=1.8, gid=f"loss {run['name']}", marker=marker,
                markersize=4,
            )  # fmt: skip
            below.step(run[axis], run["size"], where="pre", color=color, linewidth=2.0, gid=f"size {run['name']}")
        if target is not None:
            above.axhline(target, color=INK, linewidth=1.0, linestyle="--", gid="target")
        below.set_xlabel(label, fontsize=13)
        for axes in (above, below):
            plain(axes)
    _scales(grid, runs)
    handles = [
        Line2D([], [], color=color, linewidth=3, label=run["name"])
        for run, color in zip(runs, colors(len(runs)), strict=True)
    ]
    if target is not None:
        handles.append(Line2D([], [], color=INK, linestyle="--", label=f"target {target:g}"))
    legend(figure, handles, caption)
    return figure


def _scales(grid: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    """Logarithms where numbers span decades; size always by octaves."""
    loss, size = grid[:, 0]
    loss.set_ylabel("expected loss", fontsize=13)
    size.set_ylabel("batch size", fontsize=13)
    if logarithmic([np.array(run["loss"], float) for run in runs], 8):
        loss.set_yscale("log")
        log_ticks(loss.yaxis)
    size.set_yscale("log", base=2)
    size.margins(y=0.15)
    size.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    size.yaxis.set_minor_formatter(NullFormatter())
    for axes, axis in zip(grid[1], X, strict=True):
        _lengths(axes, [run[axis][-1] for run in runs])


def _lengths(axes: Axes, ends: Sequence[float]) -> None:
    if max(ends) > 20 * min(ends):
        axes.set_xscale("log", nonpositive="mask")
        log_ticks(axes.xaxis)
    else:
        few_ticks(axes.xaxis)
