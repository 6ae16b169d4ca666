"""Interactive plots of the page. The only file that imports bokeh."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    FixedTicker,
    GlyphRenderer,
    HoverTool,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure
from bokeh.resources import Resources

from ladle.report.curves import AXES, X_LABELS, Curve, all_curves, along, broken, colors, far_apart, logarithmic, panels
from ladle.report.decisions import marks, pair
from ladle.report.fragments import text
from ladle.report.study import Group

_REMOTE = re.compile(r"""((?:src|href)\s*=\s*["'])https?://[^"']*""", re.IGNORECASE)
_FORMULA = re.compile(r"\$\$|\\\(|\\\[")

_SOFT, INK = "#59636e", "#1f2328"

Renderers = dict[str, list[GlyphRenderer]]
"""What a key of the shared legend shows and hides: `group 0`, ..., `training`, `range`, `decisions`, `noise`."""


def library() -> str:
    """The scripts of bokeh, inline. They name a remote file for formulas; there are none, and a page works offline."""
    return _REMOTE.sub(r"\1data:,", Resources(mode="inline", components=["bokeh"]).render())


def embed(made: Sequence[figure]) -> tuple[str, str]:
    """`(script, divisions)` of these plots."""
    script, divisions = components(list(made))
    return script, "".join(divisions)


def curve_rows(groups: Sequence[Group], keys: Renderers) -> list[figure]:
    """Loss, then the metric where there is one: a plot per axis each. What is drawn is entered into `keys`."""
    return [plot for title, solid, dashed in panels(groups) for plot in _row(groups, keys, title, solid, dashed)]


def _row(groups: Sequence[Group], keys: Renderers, title: str, solid: str, dashed: str) -> list[figure]:
    """One row of plots, a plot per axis, with one common range of values."""
    made = all_curves(groups, (dashed, solid))
    values = [value for one in made.values() for value in (one.mean, one.low)]
    ticks = _log_ticks(np.concatenate(values)) if title == "loss" and logarithmic(values, 8) else []
    sources = {place: _source(one) for place, one in made.items()}
    common, plots = DataRange1d(), []
    for axis in AXES:
        x_ticks = places(list(made.values()), axis)
        plot = blank(title if axis == AXES[0] else "", axis, x_ticks=x_ticks, ticks=ticks, common=common)
        lines = [
            _draw(plot, axis, source, color=colors(len(groups))[i], solid=name == solid, keys=_keys(keys, i))
            for (i, name), source in sources.items()
        ]
        for line, (i, name) in zip(lines, sources, strict=True):
            line.name = _FORMULA.sub(" ", f"{groups[i].label}, {'validation' if name == solid else 'training'}")
        _crosses(plot, groups, axis, name=dashed, keys=keys)
        if title == "loss":
            _decisions(plot, groups, axis, made, solid=solid, dashed=dashed, keys=keys)
        _hover(plot, lines, title, spread=any(one.seeds > 1 for one in made.values()))
        plots.append(plot)
    return plots


def places(made: Sequence[Curve], axis: str) -> list[float]:
    """Where to label `axis`, where it has a log scale; empty where it has none."""
    if not far_apart(made, axis):
        return []
    values = np.concatenate([getattr(one, axis) for one in made])
    return _log_ticks(values[values > 0], most=2.5)


def blank(title: str, axis: str, *, x_ticks: list[float], ticks: list[float], common: DataRange1d | Range1d) -> figure:
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
    plot.yaxis.axis_label = _FORMULA.sub(" ", title) or None
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[000]a")
    plot.yaxis.formatter = NumeralTickFormatter(format="0.[0000]")
    if ticks:
        plot.yaxis.ticker = FixedTicker(ticks=ticks)
    if x_ticks:
        plot.xaxis.ticker = FixedTicker(ticks=x_ticks)
    plot.outline_line_color = None
    plot.grid.grid_line_color = "#e6e8eb"
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "14px"
    plot.axis.major_label_text_font_size = "12px"
    return plot


def _keys(keys: Renderers, group: int) -> list[list[GlyphRenderer]]:
    return [keys.setdefault(key, []) for key in (f"group {group}", "training", "range")]


def _draw(
    plot: figure, axis: str, source: ColumnDataSource, *, color: str, solid: bool, keys: list[list[GlyphRenderer]]
) -> GlyphRenderer:
    """Line and band of one group in one plot, entered under the keys (group, training, range) that hide them."""
    own, training, bands = keys
    drawn = []
    if "low" in source.column_names:
        drawn.append(plot.varea(axis, "low", "high", source=source, fill_color=color, fill_alpha=0.15))
        bands += drawn
    width, dash, alpha = (2.5, "solid", 1.0) if solid else (1.2, "5 3", 0.8)
    line = plot.line(axis, "mean", source=source, color=color, line_width=width, line_dash=dash, line_alpha=alpha)
    drawn.append(line)
    own += drawn
    training += [] if solid else drawn
    return line


def _crosses(plot: figure, groups: Sequence[Group], axis: str, *, name: str, keys: Renderers) -> None:
    """A cross where a run diverged."""
    for i, group in enumerate(groups):
        for run, examples, value in broken(group, name):
            x = along(run, axis, np.array([examples]))
            cross = plot.scatter(x, [value], marker="x", size=13, line_width=3, color=colors(len(groups))[i])
            keys.setdefault(f"group {i}", []).append(cross)


def _decisions(
    plot: figure,
    groups: Sequence[Group],
    axis: str,
    made: Mapping[tuple[int, str], Curve],
    *,
    solid: str,
    dashed: str,
    keys: Renderers,
) -> None:
    """A triangle where a decision changed something, its reason in the hover text."""
    drawn = []
    for i, (group, color) in enumerate(_colored(groups)):
        one = made.get((i, solid)) or made.get((i, dashed))
        if one is None or not (found := marks(group.runs, one)):
            continue
        changed = [mark.change for mark in found]
        data = {
            "x": [getattr(mark, axis) for mark in found],
            "y": [mark.value for mark in found],
            "examples": [change.examples for change in changed],
            "size": [pair(change.size) for change in changed],
            "rate": [pair(change.lr) for change in changed],
            "reason": [_FORMULA.sub(" ", change.reason or "no reason recorded") for change in changed],
        }
        tone = INK if len(groups) == 1 else color
        mark = plot.scatter(
            "x", "y", source=ColumnDataSource(data), marker="inverted_triangle", size=12, color=tone, line_color="white"
        )
        drawn.append(mark)
        keys.setdefault(f"group {i}", []).append(mark)
    if drawn:
        keys.setdefault("decisions", []).extend(drawn)
        tips = [(name, f"@{name}") for name in ("reason", "size", "rate")]
        plot.add_tools(HoverTool(renderers=drawn, tooltips=[*tips, ("examples", "@examples{0,0}")], attachment="below"))


def _source(made: Curve) -> ColumnDataSource:
    data = {"mean": made.mean, **{axis: getattr(made, axis) for axis in AXES}}
    return ColumnDataSource({**data, "low": made.low, "high": made.high} if made.seeds > 1 else data)


def _hover(plot: figure, lines: list[Any], title: str, *, spread: bool) -> None:
    tips = [("run", "$name"), (_FORMULA.sub(" ", title), "@mean{0.0000}")]
    tips += [("seeds", "@low{0.0000} to @high{0.0000}")] if spread else []
    tips += [("examples", "@examples{0,0}"), ("updates", "@updates{0,0}"), ("seconds", "@seconds{0,0.[000]}")]
    plot.add_tools(HoverTool(renderers=lines, tooltips=tips))


def legend(groups: Sequence[Group], keys: Renderers) -> str:
    entries = [(f"group {i}", group.label, "", color) for i, (group, color) in enumerate(_colored(groups))]
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


def _colored(groups: Sequence[Group]) -> list[tuple[Group, str]]:
    return list(zip(groups, colors(len(groups)), strict=True))


def _log_ticks(values: np.ndarray, most: float = 4) -> list[float]:
    """Round values to label on a log axis: bokeh's own choice leaves a range of one or two decades nearly bare.

    From `most` decades on, powers of ten alone: labels side by side need more room than labels above each other.
    """
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    decades = np.log10(high / low)
    steps = (1, 1.5, 2, 3, 5, 7) if decades < 1.2 else (1, 2, 5) if decades < most else (1,)
    first, last = int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1
    return [step * 10.0**power for power in range(first, last + 1) for step in steps]
