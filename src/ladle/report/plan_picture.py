"""`plan.png`: memory, throughput and time to target behind a plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.canvas import (
    ACCENT,
    INK,
    WARN,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    NullFormatter,
    missing,
    plain,
    point_key,
    short_ticks,
    size_ticks,
    svg,
    write,
)
from ladle.report.curves import logarithmic
from ladle.report.plan_numbers import within_5_percent


def plan_figure(plan: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Draw what the plan (as JSON) rests on into `path`: memory, throughput, time to target.

    Filled points were measured, hollow ones predicted. A part the plan has no points for is said to be missing.
    """
    return write(draw_plan(plan), path)


def plan_svg(plan: Mapping[str, Any]) -> bytes:
    """The same picture as SVG, for a page."""
    return svg(draw_plan(plan))


def draw_plan(plan: Mapping[str, Any]) -> Figure:
    """The figure of `plan_figure`, not yet written."""
    figure = Figure(figsize=(15, 5.0), layout="constrained", facecolor="white")
    memory, speed, target = figure.subplots(1, 3)
    _memory_panel(memory, plan)
    _speed_panel(speed, plan)
    _target_panel(target, plan)
    figure.legend(
        handles=[
            point_key("measured", filled=True),
            point_key("predicted", filled=False),
            Line2D([], [], color=WARN, marker="D", markersize=8, linestyle="none", label="chosen"),
        ],
        loc="outside upper center",
        ncols=3,
        frameon=False,
        fontsize=12,
    )
    return figure


def _memory_panel(axes: Axes, plan: Mapping[str, Any]) -> None:
    axes.set_title("Memory", fontsize=13, loc="left", fontweight="bold")
    points = _points(plan, "memory", 2)
    if not points.size:
        return missing(axes, "no memory figures in this plan")
    micro, used = points[:, 0], points[:, 1]
    if line := _evidence(plan, "memory_fixed_bytes", "memory_per_example_bytes"):
        ends = np.array([0, micro.max() * 1.05])
        axes.plot(ends, line[0] + line[1] * ends, color=ACCENT, linewidth=1.5, gid="memory line")
    axes.plot(micro, used, "o", markersize=8, markeredgecolor=ACCENT, markerfacecolor="white", gid="memory predicted")
    (limit,) = _evidence(plan, "memory_limit_bytes") or (None,)
    (confirmed,) = _evidence(plan, "memory_measured_bytes") or (None,)
    if limit is not None and limit < 20 * used.max():
        axes.axhline(limit, color=INK, linewidth=1.2, linestyle="--", gid="memory limit")
        note = f"limit {numbers.data_bytes(limit)}"
        place, side = (0.98, "right") if limit < 0.7 * used.max() else (0.02, "left")  # Away from the line.
        axes.annotate(note, (place, limit), xycoords=("axes fraction", "data"), ha=side, va="bottom", fontsize=11)
    elif limit is not None:
        axes.text(
            0.02, 0.97, f"limit {numbers.data_bytes(limit)}, far above", transform=axes.transAxes, va="top", fontsize=11
        )
    _measured(axes, plan.get("micro_size"), confirmed)
    chosen = _at(points, plan.get("micro_size"))
    _choose(axes, plan.get("micro_size"), confirmed if confirmed is not None else chosen)
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
    axes.set_xlim(left=0)
    axes.set_xlabel("micro-batch", fontsize=13)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.data_bytes(value)))
    axes.xaxis.set_major_formatter(short_ticks())
    plain(axes)


def _speed_panel(axes: Axes, plan: Mapping[str, Any]) -> None:
    axes.set_title("Throughput", fontsize=13, loc="left", fontweight="bold")
    points = _points(plan, "throughput", 2)
    if not points.size:
        return missing(axes, "no throughput figures in this plan")
    size, seconds = points[:, 0], points[:, 1]
    speed = size / seconds
    if points.shape[1] >= 4:
        with np.errstate(divide="ignore"):
            errors = np.stack([speed - size / points[:, 3], size / points[:, 2] - speed])
        errors = np.where(np.isfinite(errors), np.clip(errors, 0, None), 0)
        axes.errorbar(size, speed, yerr=errors, fmt="none", ecolor=ACCENT, elinewidth=1.5, capsize=4)
    axes.plot(size, speed, "o", color=ACCENT, markersize=8, gid="throughput measured")
    if line := _evidence(plan, "fixed_seconds", "per_example_seconds"):
        fixed, each = line
        grid = np.geomspace(size.min(), size.max(), 100)
        label = f"t = {numbers.duration(fixed)} + {numbers.duration(each)} x size"
        axes.plot(grid, grid / (fixed + each * grid), color=ACCENT, linewidth=1.5, gid="throughput line", label=label)
        axes.legend(loc="lower right", frameon=False, fontsize=11)
        _choose(axes, plan.get("size"), _speed_at(plan.get("size"), fixed, each))
    axes.set_xscale("log")
    axes.set_yscale("log") if logarithmic([speed], 30) else axes.set_ylim(bottom=0)
    axes.set_xlabel("batch size", fontsize=13)
    axes.set_ylabel("examples per second", fontsize=13)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: numbers.short(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    size_ticks(axes)
    plain(axes)


def _target_panel(axes: Axes, plan: Mapping[str, Any]) -> None:
    what = "Examples" if plan.get("minimize") == "examples" else "Time"
    axes.set_title(f"{what} to target (predicted)", fontsize=13, loc="left", fontweight="bold")
    points = _points(plan, "target", 2)
    if not points.size:
        noise = plan.get("noise") or {}
        verdict = noise.get("verdict")
        return missing(axes, "no prediction: gradient noise " + (str(verdict) if verdict else "not measured"))
    low, high = within_5_percent(plan)
    if numbers.finite(low) and numbers.finite(high):
        axes.axvspan(float(low), float(high), color=ACCENT, alpha=0.12, linewidth=0, gid="within 5 %")  # type: ignore[arg-type]
        axes.text(
            0.98,
            0.02,
            f"within 5 %: {numbers.count(low)} to {numbers.count(high)}",
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=11,
        )
    axes.plot(points[:, 0], points[:, 1], color=ACCENT, linewidth=2, gid="target curve")
    axes.plot(
        points[:, 0],
        points[:, 1],
        "o",
        markersize=5,
        markeredgecolor=ACCENT,
        markerfacecolor="white",
        gid="target predicted",
    )
    _choose(axes, plan.get("size"), _at(points, plan.get("size"), log=True), f"size {numbers.count(plan.get('size'))}")
    axes.set_xscale("log")
    log = logarithmic([points[:, 1]], 8)
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(bottom=0.6 if log else 0)  # The best is 1: there is room for words below it.
    axes.set_xlabel("batch size", fontsize=13)
    axes.set_ylabel(f"{what.lower()} relative to the best", fontsize=13)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    size_ticks(axes)
    plain(axes)


def _evidence(plan: Mapping[str, Any], *names: str) -> list[float] | None:
    """The values of these numbers among the evidence, or None where one of them is not there."""
    known = {one.get("name"): one.get("value") for one in plan.get("evidence") or ()}
    values = [known.get(name) for name in names]
    return [float(value) for value in values] if all(map(numbers.finite, values)) else None  # type: ignore[arg-type]


def _points(plan: Mapping[str, Any], name: str, width: int) -> np.ndarray:
    """Points of a curve as `f64[points, columns]`, those with a missing number among the first `width` left out."""
    rows = (plan.get("curves") or {}).get(name) or []
    table = np.array([[np.nan if v is None else float(v) for v in row] for row in rows], dtype=float)
    if table.ndim != 2 or table.shape[1] < width:
        return np.empty((0, width))
    table = table[np.isfinite(table[:, :width]).all(axis=1)]
    return table[np.argsort(table[:, 0])]


def _at(points: np.ndarray, x: Any, log: bool = False) -> float | None:
    if not numbers.finite(x):
        return None
    places = np.log(points[:, 0]) if log else points[:, 0]
    return float(np.interp(np.log(x) if log else x, places, points[:, 1]))


def _speed_at(size: Any, fixed: float, each: float) -> float | None:
    seconds = fixed + each * size if numbers.finite(size) else 0.0
    return size / seconds if seconds > 0 else None


def _choose(axes: Axes, x: Any, y: float | None, text: str = "") -> None:
    if numbers.finite(x) and y is not None:
        axes.plot([x], [y], "D", color=WARN, markersize=10, markeredgecolor="white", zorder=5, gid="chosen")
        if text:
            axes.annotate(
                text,
                (x, y),
                xytext=(0, 14),
                textcoords="offset points",
                ha="center",
                color=WARN,
                fontsize=12,
                fontweight="bold",
            )


def _measured(axes: Axes, x: Any, y: float | None) -> None:
    if numbers.finite(x) and y is not None:
        axes.plot([x], [y], "o", color=ACCENT, markersize=8, gid="memory measured")
