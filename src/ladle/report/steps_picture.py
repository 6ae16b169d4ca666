"""Steps to a target: steps against examples with the hyperbola and its band, and steps against the batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ladle.report import numbers
from ladle.report.canvas import (
    ACCENT,
    FAINT,
    GUIDE,
    HALO,
    INK,
    WARN,
    Axes,
    Line2D,
    Patch,
    dashed_key,
    head,
    log_ticks,
    plain,
    point_key,
    side,
    verbatim,
)
from ladle.report.curve_row import CROWDED

BAND = 2.0
"""The band around the hyperbola is so many standard errors of log S wide on each side: about 95 %."""

ROOM = 0.1
"""Parts of an axis left free at both ends."""

Place = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From steps at the sizes of a curve to where it is drawn."""


def draw_tradeoff(axes: Axes, found: Mapping[str, Any]) -> None:
    """Draw steps against examples: a point a size, the hyperbola (S/S_min - 1)(E/E_min - 1) = 1 through them."""
    fit, rows, one = found["fit"], reached_rows(found), first_definition(found)
    sizes = _sizes(rows)
    steps, error = _fitted(fit, sizes)
    fewest = fit["min_steps"], fit["min_examples"]
    spans = [end for row in rows for end in (row["steps"], row.get("low"), row.get("high"))]
    shown = [end * row["size"] for row in rows for end in (row["steps"], row.get("low"), row.get("high")) if end]
    _limits(axes, [*spans, *steps, fewest[0]], [*shown, *(steps * sizes), fewest[1]])
    _band(axes, steps, error, lambda values: (values, values * sizes))
    axes.plot(steps, steps * sizes, color=ACCENT, linewidth=2, gid="hyperbola")
    for draw, value in ((axes.axvline, fewest[0]), (axes.axhline, fewest[1])):
        if value:
            draw(value, color=FAINT, linewidth=1, linestyle=GUIDE)
    for row in rows:
        draw_span(axes, [row.get("low"), row.get("high")], lambda s, size=row["size"]: (s, s * size))
        axes.plot(row["steps"], row["steps"] * row["size"], "o", color=ACCENT, markersize=7, gid=f"size {row['size']}")
        name_size(axes, row["size"], row["steps"], row["steps"] * row["size"])
    if numbers.finite(one["value"]) and one["value"] > 0:
        at = 2 * fewest[0], 2 * fewest[1]
        axes.plot(*at, "D", color=WARN, markersize=9, markeredgecolor="white", zorder=5, gid="critical")
    label_axes(axes, f"steps to {found['target']}", "examples")
    head(axes, "The trade-off", f"{_critical_words(one)}; sizes beside the points")


def draw_by_size(axes: Axes, found: Mapping[str, Any]) -> None:
    """Draw steps against the batch size, with the hyperbola, the power law, and the interval of Bc."""
    fit, law, rows, one = found["fit"], found["power_law"], reached_rows(found), first_definition(found)
    sizes = _sizes(rows)
    steps, error = _fitted(fit, sizes)
    law_steps = law["factor"] * sizes ** law["exponent"]
    spans = [end for row in rows for end in (row["steps"], row.get("low"), row.get("high"))]
    _limits(axes, [*sizes], [*spans, *steps, *law_steps])
    _band(axes, steps, error, lambda values: (sizes, values))
    axes.plot(sizes, steps, color=ACCENT, linewidth=2)
    axes.plot(sizes, law_steps, color=INK, linewidth=1.2, linestyle=(0, (6, 2, 1, 2)), gid="power law")
    for row in rows:
        draw_span(axes, [row.get("low"), row.get("high")], lambda s, size=row["size"]: (size, s))
        axes.plot(row["size"], row["steps"], "o", color=ACCENT, markersize=7)
    if numbers.finite(one["value"]):
        ends = [end if numbers.finite(end) and end > 0 else sizes[i] for i, end in ((0, one["low"]), (-1, one["high"]))]
        # A strip at the foot: an interval that is not bounded would fill the panel.
        axes.axvspan(*np.clip(ends, sizes[0], sizes[-1]), ymax=0.03, color=WARN, alpha=0.5, linewidth=0, gid="interval")
        if sizes[0] <= one["value"] <= sizes[-1]:
            axes.axvline(one["value"], color=WARN, linewidth=1.5, gid="critical")
    label_axes(axes, "batch size", "steps")
    head(axes, "Steps by batch size", _critical_words(one))


def steps_keys(found: Mapping[str, Any], *, by_size: bool) -> list[Any]:
    """What the lines and marks mean. `by_size`: of both panels, else of the trade-off alone."""
    weight = found.get("weight")
    name = f"hyperbola, weight {weight:.3f}" if numbers.finite(weight) else "hyperbola"
    keys: list[Any] = [
        point_key("measured", filled=True),
        Line2D([], [], color=ACCENT, linewidth=2, label=name),
        Line2D([], [], color=ACCENT, alpha=0.25, linewidth=9, label="its band (or dots), 2 standard errors"),
        dashed_key("fewest steps, fewest examples"),
        Line2D([], [], color=WARN, marker="D", markersize=8, linestyle="none", label="Bc"),
    ]
    if by_size:
        keys.append(Line2D([], [], color=INK, linewidth=1.2, linestyle=(0, (6, 2, 1, 2)), label="power law"))
        keys.append(Patch(color=WARN, alpha=0.5, linewidth=0, label="Bc, 95 %"))
    return keys


def reached_rows(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sizes that met the target."""
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


def draw_span(axes: Axes, bounds: Sequence[Any], place: Callable[[Any], tuple[Any, Any]], color: str = ACCENT) -> None:
    """A bar from one bound to the other, where both are known."""
    if all(map(numbers.finite, bounds)):
        x, y = zip(*map(place, bounds), strict=True)
        axes.plot(x, y, color=color, linewidth=2.5, alpha=0.6, solid_capstyle="butt")


def name_size(axes: Axes, size: float, x: float, y: float) -> None:
    """Write a size beside its point, on the side where the panel has room."""
    low, high = np.log(axes.get_xlim())
    way = side((np.log(x) - low) / (high - low))
    axes.annotate(
        numbers.count(size), (x, y), xytext=(-7 if way == "right" else 7, 6), textcoords="offset points",
        ha="right" if way == "right" else "left", fontsize=10, color=INK, bbox=HALO,
    )  # fmt: skip


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Name both axes of a logarithmic panel and label them."""
    axes.set_xlabel(verbatim(x), fontsize=13)
    axes.set_ylabel(verbatim(y), fontsize=13)
    for axis in (axes.xaxis, axes.yaxis):
        log_ticks(axis)
    plain(axes)


def _critical_words(one: Mapping[str, Any]) -> str:
    known = numbers.finite(one["value"]) and one["value"] > 0
    return f"Bc {numbers.short(one['value'])} ({interval(one)})" if known else "Bc not resolved"


def _limits(axes: Axes, x: Sequence[Any], y: Sequence[Any]) -> None:
    """Logarithmic axes that hold what was measured and fitted; bands are cut there."""
    for values, scale, limit in ((x, axes.set_xscale, axes.set_xlim), (y, axes.set_yscale, axes.set_ylim)):
        known = [value for value in values if numbers.finite(value) and value > 0]
        scale("log")
        if known:
            room = (max(known) / min(known)) ** ROOM * 1.1
            limit(min(known) / room, max(known) * room)


def _band(axes: Axes, steps: np.ndarray, error: np.ndarray, place: Place) -> None:
    """`BAND` standard errors around the fit: filled, or its two edges where it would fill the panel."""
    (x0, y0), (x1, y1) = (place(steps * np.exp(sign * BAND * error)) for sign in (-1, 1))
    x, y = np.concatenate([x0, x1[::-1]]), np.concatenate([y0, y1[::-1]])
    if _area(axes, x, y) <= CROWDED:
        axes.fill(x, y, color=ACCENT, alpha=0.16, linewidth=0, gid="band")
        return
    for edge in ((x0, y0), (x1, y1)):
        axes.plot(*edge, color=ACCENT, linewidth=1, linestyle=(0, (1, 2)), gid="band")


def _area(axes: Axes, x: np.ndarray, y: np.ndarray) -> float:
    """The part of a logarithmic panel that a closed outline covers: |sum x_i y_(i+1) - x_(i+1) y_i| / 2."""
    ends = (np.log(axes.get_xlim()), np.log(axes.get_ylim()))
    u, v = (
        np.clip((np.log(values) - low) / (high - low), 0, 1) for values, (low, high) in zip((x, y), ends, strict=True)
    )
    return float(abs(u @ np.roll(v, -1) - np.roll(u, -1) @ v) / 2)


def _sizes(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
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
