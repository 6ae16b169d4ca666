"""`critical.png`: what a critical batch size rests on. Plain data in (critical.json), a picture out.

Steps to a target: steps against examples with the hyperbola and its band, and steps against size. Branches: the loss of
each size above that of the run's own, with its one-sided 95 % bounds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.figures import (
    ACCENT,
    FAINT,
    INK,
    WARN,
    Axes,
    Figure,
    FigureCanvasSVG,
    FuncFormatter,
    Line2D,
    NullFormatter,
    Patch,
    _plain,
    _short_ticks,
    _size_ticks,
    _write,
)

_VERDICTS = {"undecided": (ACCENT, "white"), "not": (ACCENT, "white"), "worse": (WARN, WARN)}
"""Line and face by the first word of a verdict."""

BAND = 2.0
"""The band around the hyperbola is so many standard errors of log S wide on each side: about 95 %."""


def critical_figure(found: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Draw a critical.json into `path`. Raises `RunError` where it cannot be written."""
    return _write(draw_critical(found), path)


def critical_svg(found: Mapping[str, Any]) -> bytes:
    """The same picture as SVG, for a page."""
    out = BytesIO()
    FigureCanvasSVG(draw_critical(found)).print_svg(out, metadata={"Date": None, "Creator": None})
    return out.getvalue()


def draw_critical(found: Mapping[str, Any]) -> Figure:
    """The figure, not yet written."""
    if found["kind"] == "branches":
        figure = Figure(figsize=(9, 5.2), layout="constrained", facecolor="white")
        _branches(figure.subplots(), found)
        return figure
    figure = Figure(figsize=(14, 5.4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    _tradeoff(left, found)
    _by_size(right, found)
    return figure


def _tradeoff(axes: Axes, found: Mapping[str, Any]) -> None:
    """Steps against examples: each size a point, the hyperbola (S/S_min - 1)(E/E_min - 1) = 1 through them."""
    fit, rows = found["fit"], _reached(found)
    sizes = _grid(rows)
    steps, error = _fitted(fit, sizes)
    low, high = steps * np.exp(-BAND * error), steps * np.exp(BAND * error)
    axes.fill(
        np.concatenate([low, high[::-1]]),
        np.concatenate([low * sizes, (high * sizes)[::-1]]),
        color=ACCENT, alpha=0.16, linewidth=0, gid="band",
    )  # fmt: skip
    axes.plot(steps, steps * sizes, color=ACCENT, linewidth=2, gid="hyperbola")
    if fit["min_steps"]:
        axes.axvline(fit["min_steps"], color=FAINT, linewidth=1, linestyle=(0, (3, 2)))
    if fit["min_examples"]:
        axes.axhline(fit["min_examples"], color=FAINT, linewidth=1, linestyle=(0, (3, 2)))
        _label(axes, "fewest examples", (0.99, fit["min_examples"]), axes.get_yaxis_transform(), (0, 3), "right", 0)
    if fit["min_steps"]:
        _label(axes, "fewest steps", (fit["min_steps"], 0.02), axes.get_xaxis_transform(), (-15, 0), "left", 90)
    for row in rows:
        _span(axes, [row.get("low"), row.get("high")], lambda s, size=row["size"]: (s, s * size))
        axes.plot(row["steps"], row["steps"] * row["size"], "o", color=ACCENT, markersize=7, gid=f"size {row['size']}")
        axes.annotate(
            numbers.count(row["size"]), (row["steps"], row["steps"] * row["size"]), xytext=(7, 6),
            textcoords="offset points", fontsize=10, color=INK,
        )  # fmt: skip
    one = _definition(found)
    if numbers.finite(one["value"]) and one["value"] > 0:
        at = 2 * fit["min_steps"], 2 * fit["min_examples"]
        axes.plot(*at, "D", color=WARN, markersize=9, markeredgecolor="white", zorder=5, gid="critical")
        axes.annotate(
            f"Bc {numbers.short(one['value'])} ({_ends(one)})", at, xytext=(10, 6), textcoords="offset points",
            color=WARN, fontsize=12, ha="left", fontweight="bold",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    _words(axes, f"steps to {found['target']}", "examples", "the trade-off (sizes beside the points)")
    _ticks(axes)


def _by_size(axes: Axes, found: Mapping[str, Any]) -> None:
    """Steps against the batch size, with the hyperbola, the power law, and the interval of Bc."""
    fit, law, rows = found["fit"], found["power_law"], _reached(found)
    sizes = _grid(rows)
    steps, error = _fitted(fit, sizes)
    axes.fill_between(
        sizes, steps * np.exp(-BAND * error), steps * np.exp(BAND * error), color=ACCENT, alpha=0.16, linewidth=0
    )
    name = f"hyperbola, weight {found['weight']:.3f}" if numbers.finite(found["weight"]) else "hyperbola"
    axes.plot(sizes, steps, color=ACCENT, linewidth=2, label=name)
    law_steps = law["factor"] * sizes ** law["exponent"]
    axes.plot(sizes, law_steps, color=FAINT, linewidth=1.5, linestyle=(0, (4, 2)), label="power law")
    for row in rows:
        _span(axes, [row.get("low"), row.get("high")], lambda s, size=row["size"]: (size, s))
        axes.plot(row["size"], row["steps"], "o", color=ACCENT, markersize=7)
    one = _definition(found)
    ends = [end if numbers.finite(end) and end > 0 else sizes[i] for i, end in ((0, one["low"]), (-1, one["high"]))]
    if numbers.finite(one["value"]):
        inside = np.clip(ends, sizes[0], sizes[-1])
        axes.axvspan(*inside, color=WARN, alpha=0.13, linewidth=0, label="Bc, 95 %", gid="interval")
        if sizes[0] <= one["value"] <= sizes[-1]:
            axes.axvline(one["value"], color=WARN, linewidth=2, gid="critical")
    axes.set_xscale("log")
    axes.set_yscale("log")
    _words(axes, "batch size", "steps", "steps by batch size")
    axes.legend(frameon=False, fontsize=11)
    _size_ticks(axes)
    _ticks(axes)


def _branches(axes: Axes, found: Mapping[str, Any]) -> None:
    """Loss of each branch above the first one's, with bounds, and the critical size. Large losses on a log axis."""
    rows, margin, one = found["table"], found["margin"], _definition(found)
    sizes = [row["size"] for row in rows]
    shown = [(row, 0.0 if i == 0 else row["difference"]) for i, row in enumerate(rows)]
    shown = [(row, value) for row, value in shown if numbers.finite(value)]
    axes.axhspan(-margin, margin, color=FAINT, alpha=0.13, linewidth=0, gid="margin")
    axes.axhline(0, color=INK, linewidth=1)
    axes.plot([row["size"] for row, _ in shown], [value for _, value in shown], color=FAINT, linewidth=1, zorder=1)
    for row, value in shown:
        color, face = _VERDICTS.get(str(row["verdict"]).split()[0], (ACCENT, ACCENT))
        _span(axes, [row["low"], row["high"]], lambda bound, size=row["size"]: (size, bound), color)
        axes.plot(
            row["size"], value, "o", markersize=10, markeredgecolor=color, markerfacecolor=face, markeredgewidth=2,
            gid=f"size {row['size']}",
        )  # fmt: skip
    for row in rows:
        if row["verdict"] == "diverged":
            axes.axvline(row["size"], color=WARN, linewidth=1.5, linestyle=(0, (1, 2)), gid=f"diverged {row['size']}")
    axes.axvline(one["value"], color=ACCENT, alpha=0.2, linewidth=14, zorder=0, gid="critical")
    axes.set_xscale("log", base=2)
    bounds = [one for row, value in shown for one in (row["low"], row["high"], value) if numbers.finite(one)]
    if max(bounds) > 5 * margin:
        axes.set_yscale("symlog", linthresh=margin, linscale=0.6)
    axes.set_ylim(min(-2 * margin, 1.6 * min(bounds)), max(2 * margin, 1.6 * max(bounds)))
    axes.set_xticks(sizes, [numbers.count(size) for size in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ends = f" ({_ends(one)})" if numbers.finite(one["low"]) else ""
    name = f"{one['name'].partition(':')[0]}: {numbers.count(one['value'])}{ends}"
    title = f"{name} at {numbers.count(found['position'])} examples"
    what = f"validation loss above that of size {numbers.count(sizes[0])}"
    _words(axes, "batch size", what, f"{title}; branches of {numbers.count(found['trained'])}")
    marks = {
        "no worse": (ACCENT, ACCENT),
        "undecided or not tested": (ACCENT, "white"),
        "worse than a smaller one": (WARN, WARN),
    }
    handles = [
        Line2D(
            [], [], marker="o", linestyle="none", markersize=9, markeredgecolor=edge, markerfacecolor=face,
            markeredgewidth=2, label=name,
        )
        for name, (edge, face) in marks.items()
    ]  # fmt: skip
    axes.legend(
        handles=[*handles, Patch(color=FAINT, alpha=0.25, label=f"margin {margin:g}")], frameon=False, fontsize=11
    )


def _reached(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in found["table"] if numbers.finite(row.get("steps"))]


def _definition(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first: Bc of the hyperbola, that of the paired test, or the fixed margin where nothing was tested."""
    return found["definitions"][0]


def _ends(one: Mapping[str, Any]) -> str:
    """The interval of a definition in words.

    >>> _ends({"low": 32, "high": 128}), _ends({"low": 32, "high": None})
    ('32 to 128', '32 or more')
    """
    low, high = (
        numbers.short(one[end]) if numbers.finite(one[end]) and one[end] > 0 else "" for end in ("low", "high")
    )
    if low and high:
        return f"{low} to {high}"
    return f"{low} or more" if low else f"up to {high}" if high else "not bounded"


def _grid(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    sizes = [row["size"] for row in rows]
    return np.geomspace(min(sizes) / 1.5, max(sizes) * 1.5, 200)


def _fitted(fit: Mapping[str, Any], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the hyperbola and the standard error of their logarithm, by the delta method; 0 where not known."""
    parts = np.stack([np.full_like(sizes, fit["min_steps"] or 0.0), fit["min_examples"] / sizes])
    steps = parts.sum(0)
    share = parts / steps
    sd, cov = fit["log_sd"], fit["log_cov"]
    if not all(map(numbers.finite, (*sd, cov))):
        return steps, np.zeros_like(steps)
    variance = share[0] ** 2 * sd[0] ** 2 + share[1] ** 2 * sd[1] ** 2 + 2 * share[0] * share[1] * cov
    return steps, np.sqrt(np.maximum(variance, 0.0))


def _span(axes: Axes, bounds: Sequence[Any], place: Any, color: str = ACCENT) -> None:
    """A bar from one bound to the other, where both are known."""
    if all(map(numbers.finite, bounds)):
        x, y = zip(*map(place, bounds), strict=True)
        axes.plot(x, y, color=color, linewidth=2.5, alpha=0.6, solid_capstyle="butt")


def _label(axes: Axes, text: str, at: Any, within: Any, shift: tuple[int, int], side: str, rotation: int) -> None:
    axes.annotate(
        text, at, xycoords=within, xytext=shift, textcoords="offset points", ha=side, va="bottom", color=FAINT,
        fontsize=10, rotation=rotation,
    )  # fmt: skip


def _words(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x, fontsize=13)
    axes.set_ylabel(y, fontsize=13)
    axes.set_title(title, fontsize=12, color=INK, loc="left")
    _plain(axes)


def _ticks(axes: Axes) -> None:
    """Plain numbers on both logarithmic axes, also where they span less than a decade."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        narrow = math.log10(max(high, 1e-300) / max(low, 1e-300)) < 1.3
        axis.set_major_formatter(_short_ticks())
        axis.set_minor_formatter(_short_ticks() if narrow else NullFormatter())
        axis.set_tick_params(which="minor", labelsize=9)
