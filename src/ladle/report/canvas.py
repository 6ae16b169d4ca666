"""What all pictures share: the sheet with its legend, ticks, how it is written. The only file that imports matplotlib.

Without pyplot, and with its settings left alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ladle.core.errors import RunError, must
from ladle.report import numbers
from ladle.report.facts import shortened

DPI = 130
INK, FAINT, ACCENT, WARN = "#222222", "#8a8f98", "#0072b2", "#d55e00"

GUIDE = (0, (3, 2))
"""Dashes of what was not measured."""

LETTER, HANDLE = 0.1, 0.9
"""Inches of a letter of the legend, and of what stands before a label."""

HALO = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
"""Behind a word that may stand on a line."""


def sheet(width: float, height: float) -> Figure:
    """Make an empty white figure, in inches, whose parts find room beside each other."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def legend(figure: Figure, handles: Sequence[Any], caption: str = "") -> None:
    """Set the legend above all panels, under `caption`: it covers none of them. Long words are cut in their middle."""
    width = float(figure.get_figwidth())
    labels = [shortened(str(one.get_label()), int((width - 1) / LETTER)) for one in handles]
    figure.legend(
        handles=list(handles), labels=[verbatim(label) for label in labels], loc="outside upper center",
        ncols=_columns([len(label) for label in labels], width), title=verbatim(_title(caption, width)) or None,
        title_fontsize=13, frameon=False, fontsize=12,
    )  # fmt: skip


def _title(caption: str, width: float) -> str:
    return shortened(caption, int(width / LETTER))


def _columns(lengths: Sequence[int], width: float) -> int:
    """As many columns as fit. Labels are dealt to columns in turn of place, as evenly as can be; the longest counts.

    >>> _columns([4, 4, 4], 15.0), _columns([60, 60, 60], 15.0)
    (3, 2)
    """
    for count in range(len(lengths), 1, -1):
        columns = np.array_split(np.array(lengths), count)
        if sum(HANDLE + LETTER * float(column.max()) for column in columns) <= width:
            return count
    return 1


def head(axes: Axes, title: str, note: str = "") -> None:
    """Write a title above `axes`, and a note between the two: nothing is written where curves may be."""
    axes.set_title(verbatim(title), fontsize=13, loc="left", fontweight="bold", pad=22 if note else 6)
    if note:
        axes.text(0, 1.015, verbatim(note), transform=axes.transAxes, va="bottom", fontsize=10.5, color="#59636e")


def point_key(label: str, filled: bool) -> Line2D:
    """A point of the legend: filled where measured."""
    face = ACCENT if filled else "white"
    return Line2D(
        [], [], marker="o", markersize=8, markeredgecolor=ACCENT, markerfacecolor=face, linestyle="none", label=label
    )


def dashed_key(label: str, color: str = FAINT) -> Line2D:
    """A dashed line of the legend."""
    return Line2D([], [], color=color, linewidth=1.2, linestyle=GUIDE, label=label)


def size_ticks(axes: Axes) -> None:
    """Label the batch sizes of a logarithmic axis."""
    log_ticks(axes.xaxis)


def log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, more of them where it spans few decades."""
    low, high = axis.get_view_interval()
    decades = math.log10(max(high, 1e-300) / max(low, 1e-300))
    steps = (1, 1.5, 2, 3, 5, 7) if decades < 1.2 else (1, 2, 5) if decades < 2.6 else (1,)
    axis.set_major_locator(LogLocator(subs=[float(step) for step in steps]))
    axis.set_major_formatter(short_ticks())
    axis.set_minor_formatter(NullFormatter())


def few_ticks(axis: Axis, most: int = 5) -> None:
    """Label a linear axis at so few places that the words have room."""
    axis.set_major_locator(MaxNLocator(most))
    axis.set_major_formatter(short_ticks())


def missing(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=12, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def plain(axes: Axes) -> None:
    """Leave two soft axes and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=11, colors=INK, color=FAINT)
    axes.grid(True, which="major", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)


def short_ticks() -> FuncFormatter:
    """Numbers of three digits, with k and M."""
    return FuncFormatter(lambda value, _: numbers.short(value).replace(" ", ""))


def side(share: float) -> str:
    """Which way a word goes from a point at `share` of an axis' length, so that it stays within it.

    >>> side(0.02), side(0.5), side(0.97)
    ('left', 'center', 'right')
    """
    return "left" if share < 0.15 else "right" if share > 0.85 else "center"


def verbatim(text: object) -> str:
    r"""`text` as a picture shows it: a dollar sign begins no formula.

    >>> verbatim("$x$")
    '\\$x\\$'
    """
    return str(text).replace("$", r"\$")


def svg(figure: Figure) -> bytes:
    """The figure as SVG, for a page."""
    out = BytesIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def write(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write the figure as PNG. Raises `RunError` where `path` cannot be written."""
    path = Path(path)
    try:
        FigureCanvasAgg(figure).print_figure(path, dpi=DPI, format="png")
    except OSError as error:
        raise RunError(
            must("picture", "be writable", str(path), error.strerror or str(error), "another folder")
        ) from error
    return path


__all__ = [
    "ACCENT", "FAINT", "GUIDE", "HALO", "INK", "WARN", "Axes", "Axis", "Figure", "FuncFormatter", "Line2D",
    "NullFormatter", "Patch", "dashed_key", "few_ticks", "head", "legend", "log_ticks", "missing", "plain", "point_key",
    "sheet", "short_ticks", "side", "size_ticks", "svg", "verbatim", "write",
]  # fmt: skip
