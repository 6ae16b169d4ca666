"""Loss and metric of every run as interactive plots: evaluations, guides, ranges of the seeds, crosses, decisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ladle.core.colours import colors
from ladle.report.curve_row import CurveRow, Place, bar_width, curve_rows
from ladle.report.curves import AXES, BARS, MARKS, Curve, along, broken, spaced
from ladle.report.decisions import marks, pair
from ladle.report.plots import (
    FORMULA,
    INK,
    ColumnDataSource,
    GlyphRenderer,
    HoverTool,
    Range1d,
    Renderers,
    blank,
    colored,
    figure,
    places,
    round_ticks,
)
from ladle.report.study import Group


def curve_plots(groups: Sequence[Group], keys: Renderers) -> list[figure]:
    """Loss, then the metric where there is one: a plot per axis each. What is drawn is entered into `keys`."""
    return [plot for row in curve_rows(groups) for plot in _row(groups, row, keys)]


def _row(groups: Sequence[Group], row: CurveRow, keys: Renderers) -> list[figure]:
    """One row of plots, a plot per axis, with one common range of values."""
    frame, curves = row.frame, list(row.curves.values())
    ticks = round_ticks(np.array([frame.low, frame.high])) if frame.log else []
    sources = {place: _source(one, np.arange(one.examples.size)) for place, one in row.curves.items()}
    common, plots = Range1d(start=frame.low, end=frame.high), []
    for axis in AXES:
        title = row.title if axis == AXES[0] else ""
        plot = blank(title, axis, x_ticks=places(curves, axis), ticks=ticks, common=common)
        for place, source in sources.items():
            _range(plot, groups, row, place, source, axis=axis, keys=keys)
        told = [_curve(plot, groups, row, place, source, axis=axis, keys=keys) for place, source in sources.items()]
        _crosses(plot, groups, row, axis, keys)
        if row.title == "loss":
            _decisions(plot, groups, row, axis, keys)
        _hover(plot, told, row.title, spread=any(one.seeds > 1 for one in curves))
        plots.append(plot)
    return plots


def _range(
    plot: figure,
    groups: Sequence[Group],
    row: CurveRow,
    place: Place,
    source: ColumnDataSource,
    *,
    axis: str,
    keys: Renderers,
) -> None:
    """The seeds' range of a curve: an area, or bars at evaluations where areas would fill the plot."""
    one, color = row.curves[place], colors(len(groups))[place[0]]
    if place not in row.shaded or one.seeds < 2:
        return
    if row.crowded:
        band = plot.segment(
            axis, "low", axis, "high", source=_source(one, spaced(one, BARS)), line_color=color, line_alpha=0.35,
            line_width=bar_width(place[0], len(groups)),
        )  # fmt: skip
    else:
        band = plot.varea(axis, "low", "high", source=source, fill_color=color, fill_alpha=0.15)
    _enter(keys, [band], f"group {place[0]}", "range", "" if place[1] == row.solid else "training")


def _curve(
    plot: figure,
    groups: Sequence[Group],
    row: CurveRow,
    place: Place,
    source: ColumnDataSource,
    *,
    axis: str,
    keys: Renderers,
) -> GlyphRenderer:
    """A curve: points at evaluations on a thin line, or dashes for training. Returns what tells it when pointed at."""
    one, color, valid = row.curves[place], colors(len(groups))[place[0]], place[1] == row.solid
    width, dash, alpha = (1.3, "solid", 0.6) if valid else (1.2, "5 3", 0.8)
    told: GlyphRenderer = plot.line(
        axis, "mean", source=source, color=color, line_width=width, line_dash=dash, line_alpha=alpha
    )
    drawn: list[GlyphRenderer] = [told]
    if (valid and row.evaluated) or one.examples.size == 1:
        told = plot.scatter(axis, "mean", source=_source(one, spaced(one, MARKS)), size=7 if valid else 4, color=color)
        drawn.append(told)
    told.name = FORMULA.sub(
        " ", f"{groups[place[0]].label}, {('validation' if row.evaluated else row.title) if valid else 'training'}"
    )
    _enter(keys, drawn, f"group {place[0]}", "" if valid else "training")
    return told


def _crosses(plot: figure, groups: Sequence[Group], row: CurveRow, axis: str, keys: Renderers) -> None:
    """A cross where a run diverged, at the edge where its value is beyond."""
    for i, (group, color) in enumerate(colored(groups)):
        for run, examples, value in broken(group, row.dashed):
            x, y = along(run, axis, np.array([examples])), [row.frame.inside(value)]
            cross = plot.scatter(x, y, marker="x", size=13, line_width=3, color=color)
            _enter(keys, [cross], f"group {i}")


def _decisions(plot: figure, groups: Sequence[Group], row: CurveRow, axis: str, keys: Renderers) -> None:
    """A triangle where a decision changed something, its reason in the hover text."""
    drawn = []
    for i, (group, color) in enumerate(colored(groups)):
        one = row.main(i)
        if one is None or not (found := marks(group.runs, one)):
            continue
        changed = [mark.change for mark in found]
        data = {
            "x": [getattr(mark, axis) for mark in found],
            "y": [row.frame.inside(mark.value) for mark in found],
            "examples": [change.examples for change in changed],
            "size": [pair(change.size) for change in changed],
            "rate": [pair(change.lr) for change in changed],
            "reason": [FORMULA.sub(" ", change.reason or "no reason recorded") for change in changed],
        }
        tone = INK if len(groups) == 1 else color
        mark = plot.scatter(
            "x", "y", source=ColumnDataSource(data), marker="inverted_triangle", size=12, color=tone, line_color="white"
        )
        drawn.append(mark)
        _enter(keys, [mark], f"group {i}", "decisions")
    if drawn:
        tips = [(name, f"@{name}") for name in ("reason", "size", "rate")]
        plot.add_tools(HoverTool(renderers=drawn, tooltips=[*tips, ("examples", "@examples{0,0}")], attachment="below"))


def _enter(keys: Renderers, drawn: Sequence[GlyphRenderer], *names: str) -> None:
    """Enter what was drawn under the keys of the legend that hide it."""
    for name in filter(None, names):
        keys.setdefault(name, []).extend(drawn)


def _source(made: Curve, at: np.ndarray) -> ColumnDataSource:
    """The points of a curve at these places."""
    names = ("mean", *AXES, *(("low", "high") if made.seeds > 1 else ()))
    return ColumnDataSource({name: getattr(made, name)[at] for name in names})


def _hover(plot: figure, told: list[GlyphRenderer], title: str, *, spread: bool) -> None:
    tips = [("run", "$name"), (FORMULA.sub(" ", title), "@mean{0.0000}")]
    tips += [("seeds", "@low{0.0000} to @high{0.0000}")] if spread else []
    tips += [("examples", "@examples{0,0}"), ("updates", "@updates{0,0}"), ("seconds", "@seconds{0,0.[000]}")]
    plot.add_tools(HoverTool(renderers=[*told], tooltips=tips))
