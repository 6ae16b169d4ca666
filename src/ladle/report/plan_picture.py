"""`plan.png`: memory, throughput, time to target and the rates that were tried: what a plan rests on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.canvas import (
    ACCENT,
    GUIDE,
    INK,
    WARN,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    NullFormatter,
    Patch,
    few_ticks,
    head,
    legend,
    log_ticks,
    missing,
    plain,
    point_key,
    sheet,
    side,
    svg,
    write,
)
from ladle.report.curves import logarithmic
from ladle.report.plan_numbers import curve_points, evidence, evidence_values, interpolated, speed_at, within_5_percent

MOST_TIMES = 30.0
"""A rate so many times slower is drawn no higher: how much slower it is, nobody measured."""

FAR = 20
"""A memory limit so many times above all that is drawn is told in words alone."""


def plan_figure(plan: Mapping[str, Any], path: str | os.PathLike[str], caption: str = "") -> Path:
    """Draw what the plan (as JSON) rests on into `path`: memory, throughput, time to target, rates where some raced.

    Filled points were measured, hollow ones predicted; a diamond around a point is the choice. A part the plan has no
    points for is said to be missing. `caption`: what the plan is for, written above.
    """
    return write(draw_plan(plan, caption), path)


def plan_svg(plan: Mapping[str, Any]) -> bytes:
    """The same picture as SVG, for a page."""
    return svg(draw_plan(plan))


def draw_plan(plan: Mapping[str, Any], caption: str = "") -> Figure:
    """The figure of `plan_figure`, not yet written."""
    raced = curve_points(plan, "rates", 3).size > 0
    figure = sheet(20 if raced else 15, 5.4)
    memory, speed, target, *rates = figure.subplots(1, 4 if raced else 3)
    for axes in rates:
        _rate_panel(axes, plan)
    _memory_panel(memory, plan)
    _speed_panel(speed, plan)
    _target_panel(target, plan)
    handles = [
        point_key("measured", filled=True),
        point_key("predicted", filled=False),
        Line2D([], [], color=ACCENT, linewidth=1.5, label="line through them"),
        Line2D([], [], color=ACCENT, marker="|", markersize=12, linestyle="none", label="down to the median time"),
        Line2D([], [], linestyle="none", label="chosen", **_DIAMOND),
        Patch(color=ACCENT, alpha=0.4, linewidth=0, label="within 5 % of the best"),
    ]
    legend(figure, handles, caption)
    return figure


_DIAMOND: Mapping[str, Any] = {
    "marker": "D", "markersize": 13, "markerfacecolor": "none", "markeredgecolor": WARN, "markeredgewidth": 2.5,
}  # fmt: skip
"""The choice: around the point that it is, which stays to be seen."""


def _memory_panel(axes: Axes, plan: Mapping[str, Any]) -> None:
    points = curve_points(plan, "memory", 2)
    if not points.size:
        head(axes, "Memory")
        return missing(axes, "no memory figures in this plan")
    micro, used, own = points[:, 0], points[:, 1], plan.get("micro_size")
    (limit,) = evidence_values(plan, "memory_limit_bytes") or (None,)
    (confirmed,) = evidence_values(plan, "memory_measured_bytes") or (None,)
    seen = [*used, *([] if confirmed is None else [confirmed])]
    near = limit is not None and limit < FAR * max(seen)
    _size_axis(axes, [*micro, own], "micro-batch")
    _value_axis(axes, [*seen, *([limit] if near else [])], ratio=30, form=numbers.data_bytes)
    if line := evidence_values(plan, "memory_fixed_bytes", "memory_per_example_bytes"):
        grid = _grid(axes)
        axes.plot(grid, line[0] + line[1] * grid, color=ACCENT, linewidth=1.5, gid="memory line")
    axes.plot(micro, used, "o", markersize=8, markeredgecolor=ACCENT, markerfacecolor="white", gid="memory predicted")
    if near:
        axes.axhline(limit, color=INK, linewidth=1.2, linestyle=GUIDE, gid="memory limit")  # type: ignore[arg-type]
    if numbers.finite(own) and confirmed is not None:
        axes.plot([own], [confirmed], "o", color=ACCENT, markersize=8, gid="memory measured")
    _choose(axes, own, confirmed if confirmed is not None else interpolated(points, own))
    words = f"limit {numbers.data_bytes(limit)}" if limit is not None else ""
    head(axes, "Memory", f"dashed: {words}" if near else f"{words}, far above" if words else "")
    plain(axes)


def _speed_panel(axes: Axes, plan: Mapping[str, Any]) -> None:
    points = curve_points(plan, "throughput", 2)
    if not points.size:
        head(axes, "Throughput")
        return missing(axes, "no throughput figures in this plan")
    size, seconds = points[:, 0], points[:, 1]
    speed, own = size / seconds, plan.get("size")
    line = evidence_values(plan, "fixed_seconds", "per_example_seconds")
    chosen = speed_at(own, *line) if line else None
    _size_axis(axes, [*size, own], "batch size")
    _value_axis(axes, [*speed, chosen], ratio=30, form=numbers.short)
    if points.shape[1] >= 4:
        with np.errstate(divide="ignore"):
            errors = np.stack([speed - size / points[:, 3], size / points[:, 2] - speed])
        errors = np.where(np.isfinite(errors), np.clip(errors, 0, None), 0)
        axes.errorbar(size, speed, yerr=errors, fmt="none", ecolor=ACCENT, elinewidth=1.5, capsize=4)
    axes.plot(size, speed, "o", color=ACCENT, markersize=8, gid="throughput measured")
    note = ""
    if line:
        grid = _grid(axes)
        note = f"t = {numbers.duration(line[0])} + {numbers.duration(line[1])} x size"
        axes.plot(grid, grid / (line[0] + line[1] * grid), color=ACCENT, linewidth=1.5, gid="throughput line")
        _choose(axes, own, chosen)
    head(axes, "Throughput", note)
    axes.set_ylabel("examples per second", fontsize=13)
    plain(axes)


def _target_panel(axes: Axes, plan: Mapping[str, Any]) -> None:
    what = {"examples": "Examples", "energy": "Energy", "cost": "Cost"}.get(str(plan.get("minimize")), "Time")
    title, points = f"{what} to target (predicted)", curve_points(plan, "target", 2)
    if not points.size:
        verdict = (plan.get("noise") or {}).get("verdict")
        head(axes, title)
        return missing(axes, "no prediction: gradient noise " + (str(verdict) if verdict else "not measured"))
    size, relative, own = points[:, 0], points[:, 1], plan.get("size")
    low, high = within_5_percent(plan)
    _size_axis(axes, [*size, own], "batch size")
    _value_axis(axes, [*relative], ratio=8, form=lambda value: f"{value:g}", room=0.15)
    note = ""
    if numbers.finite(low) and numbers.finite(high):
        # A strip at the foot: where all sizes are as good, a band would fill the panel.
        axes.axvspan(low, high, ymax=0.03, color=ACCENT, alpha=0.4, linewidth=0, gid="within 5 %")
        note = f"within 5 %: {numbers.count(low)} to {numbers.count(high)}"
    axes.plot(size, relative, color=ACCENT, linewidth=1.5, gid="target curve")
    axes.plot(
        size, relative, "o", markersize=5, markeredgecolor=ACCENT, markerfacecolor="white", gid="target predicted"
    )
    _choose(axes, own, interpolated(points, own, log=True), f"size {numbers.count(own)}")
    head(axes, title, note)
    axes.set_ylabel(f"{what.lower()} relative to the best", fontsize=13)
    plain(axes)


def _rate_panel(axes: Axes, plan: Mapping[str, Any]) -> None:
    """Updates to the loss that was reached, over the best rate's: filled with all seeds, hollow for early leavers."""
    points, own = curve_points(plan, "rates", 3), plan.get("lr")
    rate, times, seeds = points[:, 0], np.minimum(points[:, 1], MOST_TIMES), points[:, 2]
    _size_axis(axes, [*rate, own], "learning rate")
    _value_axis(axes, [*times], ratio=4, form=lambda value: f"{value:g}", room=0.15)
    axes.plot(rate, times, color=ACCENT, linewidth=1.5, gid="rate curve")
    for several, face in ((True, ACCENT), (False, "white")):
        of = (seeds > 1) == several
        axes.plot(
            rate[of], times[of], "o", markersize=8, markeredgecolor=ACCENT, markerfacecolor=face,
            gid=f"rates {'measured' if several else 'that left'}",
        )  # fmt: skip
    lr, note = evidence(plan, "lr"), ""
    if lr.get("source") == "measured" and numbers.finite(lr.get("low")) and numbers.finite(lr.get("high")):
        axes.axvspan(lr["low"], lr["high"], ymax=0.03, color=ACCENT, alpha=0.4, linewidth=0, gid="rate interval")
        note = f"hollow: one seed; interval {numbers.short(lr['low'])} to {numbers.short(lr['high'])}"
    _choose(axes, own, interpolated(np.stack([rate, times], 1), own, log=True))
    head(axes, "Learning rate (measured)", note)
    axes.set_ylabel("updates to a loss, over the best rate's", fontsize=13)
    plain(axes)


def _size_axis(axes: Axes, sizes: Sequence[Any], words: str) -> None:
    """A logarithmic axis of sizes with room at both ends: the smallest and the largest may be the choice."""
    known = [float(size) for size in sizes if numbers.finite(size) and size > 0] or [1.0]
    axes.set_xscale("log")
    axes.set_xlim(min(known) / 1.6, max(known) * 1.6)
    log_ticks(axes.xaxis)
    axes.set_xlabel(words, fontsize=13)


def _value_axis(axes: Axes, values: Sequence[Any], *, ratio: float, form: Any, room: float = 0.1) -> None:
    """Values from 0 on, or on a logarithmic axis where they spread over more than `ratio`; `room`: left free below."""
    known = np.array([value for value in values if numbers.finite(value) and value > 0] or [1.0])
    low, high = float(known.min()), float(known.max())
    if logarithmic([known], ratio):
        axes.set_yscale("log")
        axes.set_ylim(low / (high / low) ** (room / (1 - room - 0.1)), high * (high / low) ** 0.1)
        log_ticks(axes.yaxis)
    else:
        axes.set_ylim(0, 1.12 * high)
        few_ticks(axes.yaxis, 7)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _grid(axes: Axes) -> np.ndarray:
    return np.geomspace(*axes.get_xlim(), 100)


def _choose(axes: Axes, x: Any, y: float | None, text: str = "") -> None:
    """The diamond of the choice; its words below it, inside the panel."""
    if not numbers.finite(x) or y is None or x <= 0:
        return
    axes.plot([x], [y], linestyle="none", zorder=5, gid="chosen", **_DIAMOND)
    if text:
        low, high = np.log(axes.get_xlim())
        axes.annotate(
            text, (x, y), xytext=(0, -14), textcoords="offset points", ha=side((np.log(x) - low) / (high - low)),
            va="top", color=WARN, fontsize=12, fontweight="bold",
        )  # fmt: skip
