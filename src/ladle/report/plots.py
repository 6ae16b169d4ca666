"""What all plots of the page share: the empty plot, its ticks, the legend. The only file that imports bokeh."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from bokeh.embed import components
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

from ladle.core.colours import colors
from ladle.report.curves import X_LABELS, Curve, far_apart
from ladle.report.fragments import text
from ladle.report.study import Group

_REMOTE = re.compile(r"""((?:src|href)\s*=\s*["'])https?://[^"']*""", re.IGNORECASE)
FORMULA = re.compile(r"\$\$|\\\(|\\\[")

_SOFT, INK = "#59636e", "#1f2328"

Renderers = dict[str, list[GlyphRenderer]]
"""What a key of the shared legend shows and hides: `group 0`, ..., `training`, `range`, `decisions`, `noise`."""

__all__ = [
    "FORMULA", "INK", "ColumnDataSource", "GlyphRenderer", "HoverTool", "Range1d", "Renderers", "blank", "colored",
    "embed", "figure", "legend", "library", "places", "round_ticks",
]  # fmt: skip


def library() -> str:
    """The scripts of bokeh, inline. They name a remote file for formulas; there are none, and a page works offline."""
    return _REMOTE.sub(r"\1data:,", Resources(mode="inline", components=["bokeh"]).render())


def embed(made: Sequence[figure]) -> tuple[str, str]:
    """`(script, divisions)` of these plots."""
    script, divisions = components(list(made))
    return script, "".join(divisions)


def places(made: Sequence[Curve], axis: str) -> list[float]:
    """Where to label `axis`, where it has a log scale; empty where it has none."""
    if not far_apart(made, axis):
        return []
    values = np.concatenate([getattr(one, axis) for one in made])
    return round_ticks(values[values > 0], most=2.5)


def blank(title: str, axis: str, *, x_ticks: list[float], ticks: list[float], common: Range1d) -> figure:
    """An empty plot; `x_ticks` and `ticks` for log axes, none for linear ones."""
    plot = figure(
        height=330,
        sizing_mode="stretch_width",
        x_axis_type="log" if x_ticks else "linear",
        y_axis_type="log" if ticks else "linear",
        x_axis_label=X_LABELS[axis],
        y_range=common,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        toolbar_location="above",
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.yaxis.axis_label = FORMULA.sub(" ", title) or None
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[000000]" if axis == "seconds" else "0.[000]a")
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[0000]")
    if ticks:
        plot.yaxis.ticker = FixedTicker(ticks=ticks)
    plot.xaxis.ticker = FixedTicker(ticks=x_ticks) if x_ticks else BasicTicker(desired_num_ticks=5)
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e6e8eb"
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "14px"
    plot.axis.major_label_text_font_size = "12px"
    return plot


def legend(groups: Sequence[Group], keys: Renderers) -> str:
    entries = [(f"group {i}", group.label, "", color) for i, (group, color) in enumerate(colored(groups))]
    entries += [("training", "training (dashed)", "dashed", _SOFT), ("range", "range of seeds", "band", _SOFT)]
    entries += [("decisions", "decisions", "mark", INK), ("size", "batch size", "", INK)]
    entries += [("noise", "noise scale, 95 %", "band", _SOFT)]
    buttons = [
        f"<button type='button' class='key' aria-pressed='true' data-models='{' '.join(r.id for r in keys[key])}'>"
        f"<i class='{kind}' style='color:{color}'></i>{text(label)}</button>"
        for key, label, kind, color in entries
        if keys.get(key)
    ]
    return f"<div class='keys'>{''.join(buttons)}</div>"


def colored(groups: Sequence[Group]) -> list[tuple[Group, str]]:
    return list(zip(groups, colors(len(groups)), strict=True))


def round_ticks(values: np.ndarray, most: float = 4) -> list[float]:
    """Round values to label on a log axis: bokeh's own choice leaves a range of one or two decades nearly bare.

    From `most` decades on, powers of ten alone: labels side by side need more room than labels above each other.
    """
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    decades = np.log10(high / low)
    steps = (1, 1.5, 2, 3, 5, 7) if decades < 1.2 else (1, 2, 5) if decades < most else (1,)
    first, last = int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1
    return [step * 10.0**power for power in range(first, last + 1) for step in steps]
