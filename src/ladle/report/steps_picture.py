"""Steps to a target: steps against examples with the hyperbola and its band, and steps against the batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.canvas import ACCENT, FAINT, INK, WARN, Axes, NullFormatter, plain, short_ticks, size_ticks

BAND = 2.0
"""The band around the hyperbola is so many standard errors of log S wide on each side: about 95 %."""


def draw_tradeoff(axes: Axes, found: Mapping[str, Any]) -> None:
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
        draw_span(axes, [row.get("low"), row.get("high")], lambda s, size=row["size"]: (s, s * size))
        axes.plot(row["steps"], row["steps"] * row["size"], "o", color=ACCENT, markersize=7, gid=f"size {row['size']}")
        axes.annotate(
            numbers.count(row["size"]), (row["steps"], row["steps"] * row["size"]), xytext=(7, 6),
            textcoords="offset points", fontsize=10, color=INK,
        )  # fmt: skip
    one = first_definition(found)
    if numbers.finite(one["value"]) and one["value"] > 0:
        at = 2 * fit["min_steps"], 2 * fit["min_examples"]
        axes.plot(*at, "D", color=WARN, markersize=9, markeredgecolor="white", zorder=5, gid="critical")
        axes.annotate(
            f"Bc {numbers.short(one['value'])} ({interval(one)})", at, xytext=(10, 6), textcoords="offset points",
            color=WARN, fontsize=12, ha="left", fontweight="bold",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    label_axes(axes, f"steps to {found['target']}", "examples", "the trade-off (sizes beside the points)")
    log_ticks(axes)


def draw_by_size(axes: Axes, found: Mapping[str, Any]) -> None:
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
        draw_span(axes, [row.get("low"), row.get("high")], lambda s, size=row["size"]: (size, s))
        axes.plot(row["size"], row["steps"], "o", color=ACCENT, markersize=7)
    one = first_definition(found)
    ends = [end if numbers.finite(end) and end > 0 else sizes[i] for i, end in ((0, one["low"]), (-1, one["high"]))]
    if numbers.finite(one["value"]):
        inside = np.clip(ends, sizes[0], sizes[-1])
        axes.axvspan(*inside, color=WARN, alpha=0.13, linewidth=0, label="Bc, 95 %", gid="interval")
        if sizes[0] <= one["value"] <= sizes[-1]:
            axes.axvline(one["value"], color=WARN, linewidth=2, gid="critical")
    axes.set_xscale("log")
    axes.set_yscale("log")
    label_axes(axes, "batch size", "steps", "steps by batch size")
    axes.legend(frameon=False, fontsize=11)
    size_ticks(axes)
    log_ticks(axes)


def _reached(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in found["table"] if numbers.finite(row.get("steps"))]


def first_definition(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first: Bc of the hyperbola, that of the paired test, or the fixed margin where nothing was tested."""
    return found["definitions"][0]


def interval(one: Mapping[str, Any]) -> str:
    """The interval of a definition in words.

    >>> interval({"low": 32, "high": 128}), interval({"low": 32, "high": None})
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


def draw_span(axes: Axes, bounds: Sequence[Any], place: Any, color: str = ACCENT) -> None:
    """A bar from one bound to the other, where both are known."""
    if all(map(numbers.finite, bounds)):
        x, y = zip(*map(place, bounds), strict=True)
        axes.plot(x, y, color=color, linewidth=2.5, alpha=0.6, solid_capstyle="butt")


def _label(axes: Axes, text: str, at: Any, within: Any, shift: tuple[int, int], side: str, rotation: int) -> None:
    axes.annotate(
        text, at, xycoords=within, xytext=shift, textcoords="offset points", ha=side, va="bottom", color=FAINT,
        fontsize=10, rotation=rotation,
    )  # fmt: skip


def label_axes(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x, fontsize=13)
    axes.set_ylabel(y, fontsize=13)
    axes.set_title(title, fontsize=12, color=INK, loc="left")
    plain(axes)


def log_ticks(axes: Axes) -> None:
    """Plain numbers on both logarithmic axes, also where they span less than a decade."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        narrow = math.log10(max(high, 1e-300) / max(low, 1e-300)) < 1.3
        axis.set_major_formatter(short_ticks())
        axis.set_minor_formatter(short_ticks() if narrow else NullFormatter())
        axis.set_tick_params(which="minor", labelsize=9)
