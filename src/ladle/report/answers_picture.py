"""`answers.png`: what a model said of rows whose truth is known: confusion, ROC and calibration, or residuals.

One row of panels for each part: validation, test.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ladle.core.colours import colors
from ladle.core.scores import absolute_error, accuracy, rmse
from ladle.report.canvas import (
    ACCENT,
    FAINT,
    GUIDE,
    INK,
    Axes,
    Figure,
    few_ticks,
    head,
    missing,
    plain,
    sheet,
    svg,
    verbatim,
    write,
)
from ladle.report.facts import shortened
from ladle.report.judged import Judged
from ladle.report.judging import BINS, calibration, confusion, roc
from ladle.report.numbers import amount, count

WRITTEN_CLASSES, NAMED_CLASSES = 12, 40
"""Classes whose cells have numbers written in them, and whose names stand beside the matrix, at most."""
ROC_CLASSES = 10
"""Curves that one panel holds; of more classes those with the smallest areas."""
POINTS = 4000
"""Rows drawn as points, at most."""


def answers_figure(parts: Sequence[Judged], path: str | os.PathLike[str], caption: str = "", unit: str = "") -> Path:
    """Write the figure of `draw_answers` into `path`. Raises `RunError` where it cannot be written."""
    return write(draw_answers(parts, caption, unit), path)


def answers_svg(parts: Sequence[Judged], unit: str = "") -> bytes:
    """The figure of `draw_answers` as SVG, for a page."""
    return svg(draw_answers(parts, "", unit))


def draw_answers(parts: Sequence[Judged], caption: str = "", unit: str = "") -> Figure:
    """Three panels for each part. `unit`: the name of a target of amounts."""
    figure = sheet(15, (0.5 if caption else 0.2) + 5.2 * len(parts))
    figure.get_layout_engine().set(w_pad=0.12, wspace=0.02)  # type: ignore[union-attr]
    grid = figure.subplots(len(parts), 3, squeeze=False, width_ratios=(1.15, 1, 1))
    for line, part in zip(grid, parts, strict=True):
        _classes(line, part) if part.classes else _amounts(line, part, unit)
    if caption:
        figure.suptitle(verbatim(shortened(caption, 140)), fontsize=13)
    return figure


def _classes(line: Sequence[Axes], part: Judged) -> None:
    _confusion(line[0], part)
    if part.chances is None:
        for axes in line[1:]:
            missing(axes, "this loss gives no chances of classes")
        return
    _roc(line[1], part, part.chances)
    _calibration(line[2], part)


def _confusion(axes: Axes, part: Judged) -> None:
    """Rows by true and answered class; the colour is the share of the true class."""
    number = len(part.classes)
    cells = confusion(part.truth, part.answers, number)
    shares = cells / np.maximum(cells.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto", gid=f"confusion {part.part}")
    right = accuracy(part.truth, part.answers)
    written = "rows, share of the true class" if number <= WRITTEN_CLASSES else "colour: share of the true class"
    head(axes, f"{part.part}: confusion", f"{written}; {right:.1%} right of {len(part.truth):,}")
    if number <= WRITTEN_CLASSES:
        for i, j in np.ndindex(cells.shape):
            color = "white" if shares[i, j] > 0.6 else INK if cells[i, j] else FAINT
            said = f"{count(int(cells[i, j]))}\n{shares[i, j]:.0%}" if cells[i, j] else "0"
            axes.text(j, i, said, ha="center", va="center", color=color, fontsize=10 if number <= 6 else 8)
    named = number <= NAMED_CLASSES
    names = [verbatim(shortened(name, 14)) for name in part.classes] if named else []
    small = 10 if number <= WRITTEN_CLASSES else 7
    steep = 90 if max(map(len, names), default=0) * number > 60 else 0
    axes.set_xticks(range(len(names)), names, rotation=steep, fontsize=small)
    axes.set_yticks(range(len(names)), names, fontsize=small)
    axes.set_xlabel("answered" if named else f"answered, of {number} classes", fontsize=13)
    axes.set_ylabel("true", fontsize=13)


def _roc(axes: Axes, part: Judged, chances: np.ndarray) -> None:
    """The one curve of two classes; of more, one for each class against the rest."""
    number = len(part.classes)
    which = [1] if number == 2 else range(number)
    found = [(name, roc(part.truth == name, chances[:, name])) for name in which]
    told = sorted(
        ((curve.area, name, curve) for name, curve in found if curve.area is not None), key=lambda one: one[0]
    )
    if not told:
        missing(axes, "a single class: no threshold tells anything")
        return
    shown = sorted(told[:ROC_CLASSES], key=lambda one: one[1])
    palette = colors(len(shown))
    for at, (area, name, curve) in enumerate(shown):
        again = palette[at] in palette[:at]  # There are fewer colours than curves.
        label = verbatim(f"{shortened(part.classes[name], 16)}  {area:.3f}")
        axes.plot(
            curve.false,
            curve.true,
            color=palette[at],
            linewidth=1.8,
            linestyle="--" if again else "-",
            label=label,
            gid=f"roc {part.classes[name]}",
        )
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=GUIDE)
    mean = float(np.mean([area for area, _, _ in told]))
    note = f"area {mean:.4f}" if number == 2 else f"each class against the rest; mean area {mean:.4f}"
    note += "" if len(told) <= ROC_CLASSES else f"; the {ROC_CLASSES} smallest of {len(told)}"
    head(axes, f"{part.part}: ROC", note)
    axes.legend(loc="lower right", fontsize=9, frameon=False, title="area", title_fontsize=9)
    _unit_square(axes, "false positives, share", "true positives, share")


def _calibration(axes: Axes, part: Judged) -> None:
    """Share that was right against the chance that was given; bars are two standard errors of the share."""
    assert part.chances is not None
    chance, right, said = judged_chances(part)
    found = calibration(chance, right)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=GUIDE)
    error = 2 * np.sqrt(found.share * (1 - found.share) / found.rows)
    axes.vlines(found.chance, np.maximum(found.share - error, 0), np.minimum(found.share + error, 1), color=ACCENT,
                alpha=0.4, linewidth=2)  # fmt: skip
    axes.plot(found.chance, found.share, "o-", color=ACCENT, linewidth=1.2, markersize=6, gid="calibration")
    shares = found.rows / found.rows.max()
    axes.bar(found.chance, 0.12 * shares, width=0.03, color=FAINT, alpha=0.35, linewidth=0)
    head(axes, f"{part.part}: calibration", f"expected calibration error {found.error:.4f}, {BINS} bins; grey: rows")
    _unit_square(axes, said, "share that was right" if len(part.classes) > 2 else "share of that class")


def judged_chances(part: Judged) -> tuple[np.ndarray, np.ndarray, str]:
    """Chances and what came true: of two classes those of the second, of more those of the class that was answered."""
    assert part.chances is not None
    if len(part.classes) == 2:
        return part.chances[:, 1], part.truth == 1, f"chance of {shortened(part.classes[1], 24)}"
    return part.chances.max(1), part.answers == part.truth, "chance of the answered class"


def _amounts(line: Sequence[Axes], part: Judged, unit: str) -> None:
    """Predicted against true, residuals against predicted, and how residuals are spread."""
    off, drawn = part.truth - part.answers, _drawn(len(part.truth))
    dots: dict[str, Any] = {
        "color": ACCENT, "markersize": 3.5, "alpha": 0.5, "markeredgewidth": 0, "rasterized": True,
    }  # fmt: skip
    named = shortened(unit, 24) or "target"
    line[0].plot(part.truth[drawn], part.answers[drawn], "o", gid=f"predicted {part.part}", **dots)
    low, high = (float(f([f(part.truth), f(part.answers)])) for f in (np.min, np.max))
    line[0].plot([low, high], [low, high], color=INK, linewidth=1, linestyle=GUIDE)
    error, spread = rmse(part.truth, part.answers), float(np.var(part.truth))
    explained = f"; R2 {1 - error**2 / spread:.3f}" if spread > 0 else ""
    few = "" if len(drawn) == len(off) else f"; {len(drawn):,} points of {len(off):,}"
    head(line[0], f"{part.part}: predicted against true", f"root mean squared error {amount(error)}{explained}{few}")
    line[0].set(xlabel=verbatim(f"true {named}"), ylabel=verbatim(f"predicted {named}"))
    line[1].plot(part.answers[drawn], off[drawn], "o", gid=f"residuals {part.part}", **dots)
    line[1].axhline(0, color=INK, linewidth=1, linestyle=GUIDE)
    head(line[1], f"{part.part}: residuals", "true minus predicted")
    line[1].set(xlabel=verbatim(f"predicted {named}"), ylabel="residual")
    line[2].hist(off, bins=min(60, max(10, int(np.sqrt(len(off))))), color=ACCENT, alpha=0.7, gid="spread")
    line[2].axvline(0, color=INK, linewidth=1, linestyle=GUIDE)
    size = absolute_error(part.truth, part.answers)
    head(line[2], f"{part.part}: spread of residuals", f"mean {amount(float(off.mean()))}, mean size {amount(size)}")
    line[2].set(xlabel="residual", ylabel="rows")
    for axes in line:
        plain(axes)
        few_ticks(axes.xaxis)
        few_ticks(axes.yaxis)
        axes.xaxis.label.set_fontsize(13)
        axes.yaxis.label.set_fontsize(13)


def _drawn(rows: int) -> np.ndarray:
    """Which rows are points: all, or some at random, always the same."""
    return np.arange(rows) if rows <= POINTS else np.random.default_rng(0).choice(rows, POINTS, replace=False)


def _unit_square(axes: Axes, x: str, y: str) -> None:
    plain(axes)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xlabel(verbatim(x), fontsize=13)
    axes.set_ylabel(verbatim(y), fontsize=13)
