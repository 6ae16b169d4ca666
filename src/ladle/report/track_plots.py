"""The last row of plots: noise scale with its band, batch size as steps, on one log axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ladle.core.colours import colors
from ladle.report import numbers
from ladle.report.curves import AXES, all_curves, panels
from ladle.report.plots import (
    INK,
    ColumnDataSource,
    GlyphRenderer,
    HoverTool,
    Range1d,
    Renderers,
    blank,
    figure,
    places,
)
from ladle.report.study import Group, RunRecord
from ladle.report.tracks import NoiseTrack, Tracks, corners, crowded, limits, middles, shown


def track_row(groups: Sequence[Group], keys: Renderers) -> list[figure]:
    """A plot per axis; none where no run measured its noise scale or changed its size. `keys` as for the curves."""
    found = shown(groups)
    if not found:
        return []
    bottom, top = limits(list(found.values()))
    bars = crowded(list(found.values()), bottom, top)
    ticks = [2.0**power for power in range(int(np.floor(np.log2(bottom))), int(np.ceil(np.log2(top))) + 1)]
    made = list(all_curves(groups, panels(groups)[0][1:]).values())
    known = any(noise is not None for noise, _ in found.values())
    title, common, plots = "noise scale, batch size" if known else "batch size", Range1d(start=bottom, end=top), []
    for axis in AXES:
        x_ticks = places(made, axis)
        name = title if axis == AXES[0] else ""
        plot = blank(name, axis, x_ticks=x_ticks, ticks=ticks if len(ticks) < 16 else ticks[::2], common=common)
        _tracks(plot, groups, found, keys, axis=axis, log_x=bool(x_ticks), bars=bars)
        plots.append(plot)
    return plots


def _tracks(
    plot: figure, groups: Sequence[Group], found: Tracks, keys: Renderers, *, axis: str, log_x: bool, bars: bool
) -> None:
    bands, steps = [], []
    for (i, k), (noise, size) in found.items():
        run, color = groups[i].runs[k], colors(len(groups))[i]
        own = keys.setdefault(f"group {i}", [])
        if noise is not None:
            drawn = _noise(plot, run, noise, axis=axis, color=color, log_x=log_x, bars=bars)
            own += drawn
            keys.setdefault("noise", []).extend(drawn)
            bands += drawn[:1]
        x, y = corners(run, axis, size.start, size.end, size.size, log=log_x)
        tone = INK if len(groups) == 1 else color
        line = plot.line("x", "y", source=ColumnDataSource({"x": x, "y": y}), color=tone, line_width=2.5)
        own.append(line)
        keys.setdefault("size", []).append(line)
        steps.append(line)
    plot.add_tools(HoverTool(renderers=steps, tooltips=[("batch size", "@y{0,0}")]))
    if bands:
        tips = [("noise scale", "@told"), ("examples", "@start{0,0} to @end{0,0}"), ("record lines", "@windows")]
        plot.add_tools(HoverTool(renderers=bands, tooltips=tips))


def _noise(
    plot: figure, run: RunRecord, noise: NoiseTrack, *, axis: str, color: str, log_x: bool, bars: bool
) -> list[GlyphRenderer]:
    """Everything drawn; first the rectangles that say what they are when pointed at, which are seen where closed."""
    (x,) = corners(run, axis, noise.start, noise.end, log=log_x)
    closed, opened = noise.resolved, noise.bounded_below
    data = {
        "left": x[::2],
        "right": x[1::2],
        "middle": middles(run, axis, noise),
        "low": noise.low,
        "high": np.where(closed, noise.high, 2 * noise.low),
        "value": noise.value,
        "alpha": np.where(closed & (not bars), 0.28, 0.0),
        "start": noise.start,
        "end": noise.end,
        "told": told(noise),
        "windows": np.full(len(x) // 2, noise.windows),
    }
    known, resolved, low_only = (
        ColumnDataSource({name: np.asarray(column)[which] for name, column in data.items()})
        for which in (closed | opened, closed, opened)
    )
    band = plot.quad("left", "right", "high", "low", source=known, color=color, fill_alpha="alpha", line_color=None)
    ends = plot.segment("left", "low", "right", "low", source=low_only, color=color, line_width=1.2, line_alpha=0.8)
    points = plot.scatter("middle", "value", source=resolved, size=8, color=color)
    arrows = plot.scatter("middle", "low", source=low_only, marker="triangle", size=9, color=color, alpha=0.8)
    made = [band, ends, points, arrows]
    if bars:
        made += [
            plot.segment("middle", "low", "middle", "high", source=resolved, color=color, line_width=3, line_alpha=0.45)
        ]
    return made


def told(noise: NoiseTrack) -> list[str]:
    """Each piece in words.

    >>> told(NoiseTrack(*(np.array([x]) for x in (0.0, 64.0, 310.0, 240.0, np.inf))))
    ['at least 240 (estimate 310)']
    """
    words = []
    for value, low, high in zip(noise.value, noise.low, noise.high, strict=True):
        known = numbers.short(float(value))
        if np.isfinite(high) and low > 0:
            words.append(f"{known} ({numbers.short(float(low))} to {numbers.short(float(high))})")
        elif low > 0:
            estimate = f" (estimate {known})" if np.isfinite(value) else ""
            words.append(f"at least {numbers.short(float(low))}{estimate}")
        else:
            words.append("not resolved")
    return words
