"""What all pictures share: the sheet, its ticks, how it is written. The only file that imports matplotlib.

Without pyplot, and with its settings left alone.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch  # noqa: F401
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: F401

from ladle.core.errors import RunError, must
from ladle.report import numbers

DPI = 130
INK, FAINT, ACCENT, WARN = "#222222", "#8a8f98", "#0072b2", "#d55e00"


def point_key(label: str, filled: bool) -> Line2D:
    face = ACCENT if filled else "white"
    return Line2D(
        [], [], marker="o", markersize=8, markeredgecolor=ACCENT, markerfacecolor=face, linestyle="none", label=label
    )


def size_ticks(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(short_ticks())
    axes.xaxis.set_minor_formatter(NullFormatter())


def missing(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=12, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=11, colors=INK, color=FAINT)
    axes.grid(True, which="major", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)


def short_ticks() -> FuncFormatter:
    return FuncFormatter(lambda value, _: numbers.short(value).replace(" ", ""))


def verbatim(text: object) -> str:
    r"""`text` as a picture shows it: a dollar sign begins no formula.

    >>> verbatim("$x$")
    '\\$x\\$'
    """
    return str(text).replace("$", r"\$")


def svg(figure: Figure) -> bytes:
    out = BytesIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def write(figure: Figure, path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    try:
        FigureCanvasAgg(figure).print_figure(path, dpi=DPI, format="png")
    except OSError as error:
        raise RunError(
            must("picture", "be writable", str(path), error.strerror or str(error), "another folder")
        ) from error
    return path
