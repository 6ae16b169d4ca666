"""`devices.png`: what more devices bring, by number: time to a target, seconds of an update, cost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.core.scaling.devices import Entry
from ladle.report import numbers
from ladle.report.canvas import (
    ACCENT,
    FAINT,
    GUIDE,
    WARN,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    NullFormatter,
    dashed_key,
    head,
    legend,
    plain,
    point_key,
    sheet,
    write,
)
from ladle.report.plan_numbers import evidence

MOST_TICKS = 8


def devices_figure(plan: Mapping[str, Any], path: str | os.PathLike[str], caption: str = "") -> Path:
    """Draw what the plan (as JSON) says of numbers of devices into `path`.

    Filled points are of updates that were measured, hollow ones of predicted ones; a diamond is around the knee. Raises
    `ArgumentError` for a plan without such numbers.
    """
    return write(draw_devices(plan, caption), path)


def draw_devices(plan: Mapping[str, Any], caption: str = "") -> Figure:
    """The figure of `devices_figure`, not yet written."""
    entries = [Entry(**one) for one in (plan.get("curves") or {}).get("devices") or ()]
    if not entries:
        why = "the picture is of numbers of devices"
        raise ArgumentError(must("plan", "say what devices bring", None, why, "ladle.plan(task, devices=[1, 2, 4])"))
    figure = sheet(15, 5.4)
    time, seconds, cost = figure.subplots(1, 3)
    knee = evidence(plan, "devices_knee").get("value")
    _time_panel(time, entries, knee)
    _seconds_panel(seconds, entries)
    _cost_panel(cost, entries, knee)
    handles = [
        point_key("update measured", filled=True),
        point_key("update predicted", filled=False),
        dashed_key("ideal: n times as fast, at the same cost"),
        Line2D([], [], color=WARN, linewidth=1.5, label="all-reduce"),
        *([Line2D([], [], linestyle="none", label="knee", **_DIAMOND)] if knee is not None else []),
    ]
    legend(figure, handles, caption)
    return figure


_DIAMOND: Mapping[str, Any] = {
    "marker": "D", "markersize": 13, "markerfacecolor": "none", "markeredgecolor": WARN, "markeredgewidth": 2.5,
}  # fmt: skip


def _time_panel(axes: Axes, entries: Sequence[Entry], knee: float | None) -> None:
    counts, times = [one.devices for one in entries], [one.time for one in entries]
    _axes(axes, counts, log=True)
    axes.plot(counts, [1 / count for count in counts], color=FAINT, linestyle=GUIDE, gid="ideal time")  # type: ignore[arg-type]
    _points(axes, entries, times, "time")
    _around(axes, entries, times, knee)
    low = min(*times, 1 / counts[-1])
    axes.set_ylim(low / 1.4, 1.4 * max(times))
    _labels(axes, lambda value: f"{value:.2g}")
    head(axes, "Time to target (predicted)", "batches beside the points" if len(entries) <= MOST_TICKS else "")
    for one in entries if len(entries) <= MOST_TICKS else ():
        axes.annotate(
            numbers.short(one.size), (one.devices, one.time), xytext=(0, 13), textcoords="offset points", ha="center",
            fontsize=10, color=FAINT,
        )  # fmt: skip
    axes.set_ylabel("relative to one device", fontsize=13)
    plain(axes)


def _seconds_panel(axes: Axes, entries: Sequence[Entry]) -> None:
    counts, seconds = [one.devices for one in entries], [one.seconds for one in entries]
    sums = [one.allreduce_seconds for one in entries]
    _axes(axes, counts)
    axes.plot(counts, sums, color=WARN, linewidth=1.5, gid="allreduce")
    axes.fill_between(counts, sums, color=WARN, alpha=0.15, linewidth=0)
    _points(axes, entries, seconds, "update")
    axes.set_ylim(0, 1.15 * max(*seconds, *sums))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.duration(value)))
    head(axes, "Seconds of an update")
    plain(axes)


def _cost_panel(axes: Axes, entries: Sequence[Entry], knee: float | None) -> None:
    counts, costs = [one.devices for one in entries], [one.cost for one in entries]
    _axes(axes, counts)
    axes.axhline(1, color=FAINT, linestyle=GUIDE, gid="ideal cost")  # type: ignore[arg-type]
    _points(axes, entries, costs, "cost")
    _around(axes, entries, costs, knee)
    axes.set_ylim(0, 1.15 * max(*costs, 1.0))
    last = entries[-1]
    head(axes, "Device-seconds to target (predicted)", f"efficiency of {last.devices}: {last.efficiency:.0%}")
    axes.set_ylabel("relative to one device", fontsize=13)
    plain(axes)


def _axes(axes: Axes, counts: Sequence[int], log: bool = False) -> None:
    """Numbers of devices on a logarithmic axis, each of them a tick where they are few."""
    axes.set_xscale("log")
    if log:
        axes.set_yscale("log")
    axes.set_xlim(counts[0] / 1.3, counts[-1] * 1.3)
    shown = list(counts) if len(counts) <= MOST_TICKS else [counts[0], counts[len(counts) // 2], counts[-1]]
    axes.set_xticks(shown, [f"{count:,}" for count in shown])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("devices", fontsize=13)


def _labels(axes: Axes, form: Any) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _points(axes: Axes, entries: Sequence[Entry], values: Sequence[float], what: str) -> None:
    counts = [one.devices for one in entries]
    axes.plot(counts, values, color=ACCENT, linewidth=1.5, gid=f"{what} line")
    for source, face in (("measured", ACCENT), ("predicted", "white")):
        at = [place for place, one in enumerate(entries) if one.source == source]
        axes.plot(
            [counts[place] for place in at], [values[place] for place in at], "o", markersize=8,
            markeredgecolor=ACCENT, markerfacecolor=face, gid=f"{what} {source}",
        )  # fmt: skip


def _around(axes: Axes, entries: Sequence[Entry], values: Sequence[float], knee: float | None) -> None:
    for one, value in zip(entries, values, strict=True):
        if one.devices == knee:
            axes.plot([one.devices], [value], linestyle="none", zorder=5, gid="knee", **_DIAMOND)
