"""`rehearsal.png`: dry runs side by side, loss against updates, examples and seconds, and the batch size on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.report import canvas
from ladle.report.curves import colors, logarithmic

X = {"examples": "examples", "steps": "updates", "seconds": "seconds (predicted)"}
"""What loss is drawn against, and its label."""


def write_rehearsal(
    runs: Sequence[Mapping[str, Any]], path: str | os.PathLike[str], target: float | None = None
) -> Path:
    """Draw dry runs into `path`. Raises `RunError` where it cannot be written.

    - `runs`: each a `name` and, at equal places, `steps`, `examples`, `seconds`, `loss`, `size`: lists, the start
      first. `target`: loss that is drawn as a line.
    """
    return canvas.write(draw_rehearsal(runs, target), path)


def draw_rehearsal(runs: Sequence[Mapping[str, Any]], target: float | None = None) -> canvas.Figure:
    """The figure of `write_rehearsal`, not yet written."""
    figure = canvas.Figure(figsize=(15, 8.0), layout="constrained", facecolor="white")
    grid = figure.subplots(2, len(X), squeeze=False, sharex="col", sharey="row", height_ratios=(2, 1))
    for (above, below), (axis, label) in zip(grid.T, X.items(), strict=True):
        for run, color in zip(runs, colors(len(runs)), strict=True):
            above.plot(run[axis], run["loss"], color=color, linewidth=2.2, gid=f"loss {run['name']}")
            below.step(run[axis], run["size"], where="pre", color=color, linewidth=2.0, gid=f"size {run['name']}")
        if target is not None:
            above.axhline(target, color=canvas.INK, linewidth=1.0, linestyle="--", gid="target")
        below.set_xlabel(label, fontsize=13)
        below.xaxis.set_major_formatter(canvas.short_ticks())
        for axes in (above, below):
            canvas.plain(axes)
    _scales(grid, runs)
    handles = [
        canvas.Line2D([], [], color=color, linewidth=3, label=run["name"])
        for run, color in zip(runs, colors(len(runs)), strict=True)
    ]
    if target is not None:
        handles.append(canvas.Line2D([], [], color=canvas.INK, linestyle="--", label="target"))
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4), frameon=False, fontsize=12)
    return figure


def _scales(grid: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    """Logarithms where numbers span decades; size always by octaves."""
    loss, size = grid[:, 0]
    loss.set_ylabel("expected loss", fontsize=13)
    size.set_ylabel("batch size", fontsize=13)
    if logarithmic([np.array(run["loss"], float) for run in runs], 8):
        loss.set_yscale("log")
    size.set_yscale("log", base=2)
    size.yaxis.set_major_formatter(canvas.FuncFormatter(lambda value, _: f"{value:g}"))
    for axes, axis in zip(grid[1], X, strict=True):
        ends = [run[axis][-1] for run in runs]
        if max(ends) > 20 * min(ends):
            axes.set_xscale("log", nonpositive="mask")
            axes.xaxis.set_minor_formatter(canvas.NullFormatter())
