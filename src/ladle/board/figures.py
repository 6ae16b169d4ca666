"""The board's pictures as bokeh's models: one figure a panel, one source a kind of mark, and the map of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    LinearScale,
    LogScale,
    LogTicker,
    NumeralTickFormatter,
    Range1d,
    Scale,
    Ticker,
)
from bokeh.plotting import figure

from ladle.board.panels import Drawn, Panel, value_ends
from ladle.board.series import AXES
from ladle.core.colours import colors

INK, SOFT, LINE = ("#1f2328", "#e6edf3"), ("#59636e", "#a8b3bf"), ("#e6e8eb", "#30363d")
"""Text, quiet text and lines, on a light and on a dark ground."""

VIRIDIS = "Viridis256"


@dataclass(frozen=True)
class Picture:
    """A panel's figure with what it draws from."""

    panel: Panel
    plot: Any
    lines: ColumnDataSource
    bands: ColumnDataSource
    points: ColumnDataSource

    def show(self, drawn: Drawn, dark: bool, log: bool) -> None:
        """Draw this instead of what is there."""
        palette = colors(9, dark)
        if self.panel.ends is None:
            low, high = value_ends(drawn, log)
            self.plot.y_range.update(start=low, end=high)

        def data(given: Mapping[str, list]) -> dict[str, Any]:
            return {**given, "color": [palette[at % len(palette)] for at in given["group"]]}

        self.bands.data, self.lines.data, self.points.data = data(drawn.bands), data(drawn.lines), data(drawn.points)


def picture(panel: Panel, common: Range1d) -> Picture:
    """An empty panel. `common`: the axis that all share."""
    plot = _empty(panel.key, panel.form, common)
    if panel.ends is not None:
        plot.y_range.update(start=panel.ends[0], end=panel.ends[1])
    sources = Drawn()
    made = [ColumnDataSource({**one, "color": []}) for one in (sources.lines, sources.bands, sources.points)]
    lines, bands, points = made
    plot.patches("xs", "ys", source=bands, fill_color="color", fill_alpha=0.18, line_color=None)
    drawn = plot.multi_line("xs", "ys", source=lines, color="color", line_dash="dash", line_width=1.6)
    marks = plot.scatter("x", "y", source=points, marker="marker", size="size", color="color")
    plot.add_tools(
        HoverTool(
            renderers=[drawn], tooltips=[("run", "@name"), (panel.title, "$snap_y{0.[0000]a}")], line_policy="nearest"
        ),
        HoverTool(renderers=[marks], tooltips=[("run", "@name"), ("", "@text"), (panel.title, "@y{0.[0000]a}")]),
    )
    return Picture(panel, plot, lines, bands, points)


def _empty(name: str, form: str, common: Range1d | None, **more: Any) -> Any:
    zoom = BoxZoomTool(dimensions="width")
    more = {"x_range": common, "y_range": Range1d(start=0, end=1), **more} if common is not None else more
    plot = figure(
        height=260, sizing_mode="stretch_width", tools=[zoom], toolbar_location=None, name=name,
        background_fill_color=None, border_fill_color=None, outline_line_color=None, min_border_right=12, **more,
    )  # fmt: skip
    plot.toolbar.active_drag = zoom
    plot.xaxis.formatter = NumeralTickFormatter(format="0.[00]a")
    plot.yaxis.formatter = NumeralTickFormatter(format=form)
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "13px"
    plot.axis.major_label_text_font_size = "12px"
    if common is not None:
        plot.xaxis.ticker = BasicTicker(desired_num_ticks=5)
    return plot


def name_axis(plots: Sequence[Any], axis: str) -> None:
    """Say what the common axis counts."""
    for plot in plots:
        plot.xaxis.axis_label = AXES[axis]


def scale(plots: Sequence[Any], log: bool) -> None:
    """Make the axis of values logarithmic, or linear."""
    for plot in plots:
        new: Scale = LogScale() if log else LinearScale()
        ticker: Ticker = LogTicker(desired_num_ticks=5) if log else BasicTicker(desired_num_ticks=5)
        plot.y_scale = new
        plot.yaxis.ticker = ticker
        plot.ygrid.ticker = ticker


def paint(plots: Sequence[Any], dark: bool) -> None:
    """Text and lines in the colours of a light or a dark page."""
    for plot in plots:
        plot.grid.grid_line_color = LINE[dark]
        plot.axis.major_label_text_color = SOFT[dark]
        plot.axis.axis_label_text_color = INK[dark]
        for part in ("axis_line_color", "major_tick_line_color", "minor_tick_line_color"):
            setattr(plot.axis, part, SOFT[dark])
        for bar in plot.select(ColorBar):
            bar.major_label_text_color, bar.title_text_color = SOFT[dark], INK[dark]


@dataclass(frozen=True)
class Map:
    """The map of a search: size x rate, coloured by the mean of the metric."""

    plot: Any
    source: ColumnDataSource
    rings: ColumnDataSource
    mapper: LinearColorMapper

    def show(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Draw these candidates; those that failed or diverged are crosses."""
        placed = [one for one in rows if (one["size"] or 0) > 0 and (one["lr"] or 0) > 0]
        means = [np.nan if one["mean"] is None else one["mean"] for one in placed]
        broke = [one["state"] in ("failed", "diverged") for one in placed]
        sound = [mean for mean, bad in zip(means, broke, strict=True) if not bad and mean == mean]
        if sound:
            low, high = min(sound), max(sound)
            self.mapper.low, self.mapper.high = low, high if high > low else low + 1e-9
        for axis, name in ((self.plot.xaxis, "size"), (self.plot.yaxis, "lr")):
            axis.ticker = FixedTicker(ticks=sorted({one[name] for one in placed}))
        self.source.data = {
            "size": [one["size"] for one in placed],
            "lr": [one["lr"] for one in placed],
            "mean": means,
            "marker": ["x" if bad else "square" for bad in broke],
            "text": [one["why"] or one["state"] or "trained to the end" for one in placed],
        }
        best = [one for one in placed if one["best"] or one["chosen"]]
        self.rings.data = {
            "size": [one["size"] for one in best],
            "lr": [one["lr"] for one in best],
            "mark": [
                " ".join([*(["best"] if one["best"] else []), *(["chosen"] if one["chosen"] else [])]) for one in best
            ],
        }


def search_map() -> Map:
    """An empty map."""
    plot = _empty("map", "0.[000000]", None, x_axis_type="log", y_axis_type="log")
    plot.height = 340
    mapper = LinearColorMapper(palette=VIRIDIS, low=0, high=1, nan_color="#8a8f98")
    source = ColumnDataSource({name: [] for name in ("size", "lr", "mean", "marker", "text")})
    rings = ColumnDataSource({name: [] for name in ("size", "lr", "mark")})
    found = plot.scatter(
        "size", "lr", source=source, marker="marker", size=26, line_color=None, line_width=3,
        fill_color={"field": "mean", "transform": mapper},
    )  # fmt: skip
    found.glyph.line_color = {"field": "mean", "transform": mapper}
    plot.scatter(
        "size", "lr", source=rings, marker="square", size=34, fill_color=None, line_color="#d55e00", line_width=3
    )
    plot.text(
        "size",
        "lr",
        text="mark",
        source=rings,
        text_color="#c04f00",
        text_font_size="13px",
        y_offset=-20,
        text_align="center",
    )
    tips = [("size", "@size{0,0}"), ("rate", "@lr{0.[000000]}"), ("mean", "@mean{0.0000}"), ("", "@text")]
    plot.add_tools(HoverTool(renderers=[found], tooltips=tips))
    plot.add_layout(ColorBar(color_mapper=mapper, width=10, background_fill_color=None), "right")
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.xaxis.axis_label, plot.yaxis.axis_label = "batch size", "learning rate"
    plot.x_range.range_padding = plot.y_range.range_padding = 0.3
    return Map(plot, source, rings, mapper)
