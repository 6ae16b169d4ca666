"""Pictures of the recipes for docs/uses.md: what the batch size did to each, and what two of them find.

    python recipes/pictures.py [--numbers recipes/results/sizes.json] [--out docs/uses-sizes.png]

The numbers are those that `python recipes/NAME.py --sizes recipes/results/sizes.json` keeps; where an entry has a
`source`, they were copied from there. `--picture FILE` of nuclei.py and cells.py draws the others.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from ladle.report.canvas import (
    ACCENT,
    FAINT,
    GUIDE,
    INK,
    WARN,
    Axes,
    Figure,
    Line2D,
    few_ticks,
    head,
    legend,
    plain,
    sheet,
    write,
)

HERE = Path(__file__).parent
GREEN = "#009e73"
KEPT = (ACCENT, WARN, GREEN, INK, FAINT, "#000000", "#ffffff")
COLUMNS, ROOM, LEAST = 4, 1.6, 0.06
"""Panels in a row; how many times an axis goes beyond the least and the largest size; the least share of its figures
that it spans upwards."""

TITLES = {
    "nuclei": "Segmentation: nuclei",
    "cells": "Detection: cells",
    "vae": "Autoencoder: digits",
    "gan": "Two players: digits",
    "flowers, tuned": "Flowers, from a trunk",
    "flowers, scratch": "Flowers, from nothing",
    "cifar10_augmented": "Photographs, moved",
    "topics": "Text: topics of news",
    "translate": "Translation",
    "recommend": "Recommendation: films",
    "forecast --net gru": "Forecast, GRU: dust",
    "forecast --net tcn": "Forecast, TCN: dust",
    "molecules": "Graphs: molecules",
    "two_targets": "Two tasks: a building",
    "quantum": "Quantum circuit",
    "spiking": "Spiking network",
    "online_elec2": "Stream: electricity",
    "online_weather": "Stream: weather",
    "cartpole_dqn": "Q-learning: CartPole",
    "cartpole_ppo": "Policy gradient: CartPole",
}


def draw_sizes(kept: Mapping[str, Any]) -> Figure:
    """A panel for each recipe of `kept` that has a title: its figure against the batch size."""
    names = [name for name in TITLES if name in kept]
    rows = -(-len(names) // COLUMNS)
    figure = sheet(15, 2.75 * rows + 0.6)
    panels = np.asarray(figure.subplots(rows, COLUMNS, squeeze=False)).ravel()
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, TITLES[name], kept[name])
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[max(len(names) - COLUMNS, 0) : len(names)]:
        axes.set_xlabel("batch size", fontsize=12)
    legend(figure, [
        Line2D([], [], color=ACCENT, marker="o", label="figure, at the best of a few rates"),
        Line2D([], [], color=ACCENT, marker="o", markersize=12, markerfacecolor="none", linestyle="none",
               label="soonest to a loss all sizes reached"),
        Line2D([], [], color=INK, linewidth=1.4, linestyle=GUIDE, label="planned size"),
        Line2D([], [], color=WARN, linewidth=1.4, label="noise scale at the start"),
        Line2D([], [], color=WARN, linewidth=1.4, linestyle="dotted", label="noise scale later in the run"),
    ])  # fmt: skip
    return figure


def _panel(axes: Axes, title: str, of: Mapping[str, Any]) -> None:
    rows, planned = [row for row in of["rows"] if row["figure"] is not None], of.get("plan") or {}
    x, y = (np.array([row[name] for row in rows], float) for name in ("size", "figure"))
    head(axes, title, f"{of['figure']}, {'more' if of['higher'] else 'less'} is better")
    axes.set_xscale("log")
    marks = [*x, *(planned[name] for name in ("size", "noise") if planned.get(name)), *of.get("later", ())]
    axes.set_xlim(min(marks) / ROOM, max(marks) * ROOM)
    if planned.get("size"):
        axes.axvline(planned["size"], color=INK, linewidth=1.4, linestyle=GUIDE, zorder=1)
    if planned.get("noise"):
        axes.axvline(planned["noise"], color=WARN, linewidth=1.4, zorder=1)
    if of.get("later"):
        axes.axvline(math.exp(np.mean(np.log(of["later"]))), color=WARN, linewidth=1.4, linestyle="dotted", zorder=1)
    axes.plot(x, y, "o-", color=ACCENT, linewidth=1.6, markersize=5, clip_on=False)
    for row in rows:
        each = [one for one in row.get("figures", ()) if one is not None]
        axes.plot([row["size"]] * len(each), each, "_", color=ACCENT, markersize=7, alpha=0.6)
    timed = [row for row in rows if row.get("seconds_to") is not None]
    if timed:
        soonest = min(timed, key=lambda row: row["seconds_to"])
        axes.plot(soonest["size"], soonest["figure"], "o", color=ACCENT, markersize=12, markerfacecolor="none")
    plain(axes)
    ticks = [4**power for power in range(8) if axes.get_xlim()[0] <= 4**power <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{at:,}" for at in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    few_ticks(axes.yaxis, 4)
    low, high = axes.get_ylim()
    room = max(0.1 * (high - low), (LEAST * abs(y).mean() - (high - low)) / 2)  # Small differences stay small.
    axes.set_ylim(low - room, high + room)


def draw_nuclei(images: np.ndarray, true: np.ndarray, found: np.ndarray, iou: Sequence[float]) -> Figure:
    """Pictures, what is marked in them, and what was found: white where both say nucleus. `[n, height, width]` each.

    The first 128 rows and columns of each are drawn, brighter than they are; `iou`: of the whole image.
    """
    images, true, found = (of[:, :128, :128] for of in (images, true, found))
    figure = sheet(2.1 * len(images) + 0.6, 6.6)
    grid = np.asarray(figure.subplots(3, len(images), squeeze=False))
    colours = np.array([[0, 0, 0], _rgb(ACCENT), _rgb(WARN), [1, 1, 1]])
    for column, image, there, said, share in zip(grid.T, images, true, found, iou, strict=True):
        shown = [(image / max(image.max(), 1)) ** 0.5, there > 0, colours[(there > 0) + 2 * (said > 0)]]
        for axes, one in zip(column, shown, strict=True):
            axes.imshow(one, cmap="gray", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        column[2].set_xlabel(f"IoU of the image {share:.2f}", fontsize=11)
    for axes, word in zip(grid[:, 0], ("picture", "marked", "found"), strict=True):
        axes.set_ylabel(word, fontsize=13)
    keys = [Line2D([], [], color=color, marker="s", linestyle="none", label=label)
            for color, label in ((ACCENT, "missed"), (WARN, "too much"))]  # fmt: skip
    legend(figure, keys)
    return figure


def draw_cells(pictures: np.ndarray, true: Sequence[Any], found: Sequence[Any], kinds: Sequence[str]) -> Figure:
    """Pictures `u8[n, height, width, 3]` with boxes: dashed as they are marked, and as they were found.

    - `true`, `found`: of each picture `(number of the kind, centre x, y, width, height)`. `kinds`: their names.
    """
    figure = sheet(4.2 * len(pictures), 3.9)
    colours = (WARN, ACCENT, GREEN)
    for axes, picture, marked, said in zip(
        np.asarray(figure.subplots(1, len(pictures), squeeze=False))[0], pictures, true, found, strict=True
    ):
        axes.imshow(picture, interpolation="nearest")
        styles: list[tuple[Any, dict[str, Any]]] = [
            (marked, {"linestyle": GUIDE, "linewidth": 1.2}),
            (said, {"linewidth": 1.8}),
        ]
        for boxes, style in styles:
            for kind, x, y, w, h in boxes:
                color = "white" if boxes is marked else colours[int(kind)]
                axes.add_patch(Rectangle((x - w / 2, y - h / 2), w, h, fill=False, edgecolor=color, **style))
        axes.set_axis_off()
    keys = [Line2D([], [], color=color, linewidth=2, label=name) for name, color in zip(kinds, colours, strict=True)]
    legend(figure, [*keys, Line2D([], [], color=FAINT, linestyle=GUIDE, label="marked by hand (white)")])
    return figure


def _rgb(color: str) -> list[float]:
    return [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def save(figure: Figure, path: str | Path, colors: int = 64) -> Path:
    """Write a PNG of few colours, which is small: those of lines as they are, and as many more as the rest needs."""
    from PIL import Image

    made, known = write(figure, path), [int(255 * part + 0.5) for color in KEPT for part in _rgb(color)]
    with Image.open(made) as image:
        whole = image.convert("RGB")
    rest = (whole.quantize(colors - len(KEPT)).getpalette() or [])[: 3 * (colors - len(KEPT))]
    palette = Image.new("P", (1, 1))
    palette.putpalette(known + rest)
    whole.quantize(palette=palette, dither=Image.Dither.NONE).save(made, optimize=True)
    return made


def main(args: Sequence[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--numbers", default=str(HERE / "results" / "sizes.json"))
    parser.add_argument("--out", default=str(HERE.parent / "docs" / "uses-sizes.png"))
    given = parser.parse_args(args)
    numbers = Path(given.numbers)
    if not numbers.is_file():
        remedy = "try python recipes/topics.py --sizes FILE, which writes one"
        parser.exit(2, f"pictures.py: numbers must be a file; got {given.numbers!r}; {remedy}\n")
    return save(draw_sizes(json.loads(numbers.read_text())), given.out)


if __name__ == "__main__":
    main()
