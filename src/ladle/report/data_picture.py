"""What there is to learn: rows of each class or the spread of amounts, and of images the first few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ladle.report.canvas import ACCENT, Axes, Figure, few_ticks, missing, plain, sheet, svg, verbatim
from ladle.report.facts import shortened

MOST_CLASSES = 30
"""Classes that have a bar, at most: the most frequent."""


def data_svg(
    classes: Sequence[str], values: np.ndarray, *, images: np.ndarray | None = None, unit: str = "target"
) -> bytes:
    """The figure of `draw_data` as SVG."""
    return svg(draw_data(classes, values, images=images, unit=unit))


def draw_data(
    classes: Sequence[str], values: np.ndarray, *, images: np.ndarray | None = None, unit: str = "target"
) -> Figure:
    """Bars of `values` (training rows of each of `classes`), or a histogram of `values` where there are no classes.

    - `images`: `f32[n, height, width]` or `f32[n, height, width, channels]`, drawn beside it.
    """
    figure = sheet(11 if images is not None else 6.5, 2.8)
    left, *right = figure.subplots(1, 1 if images is None else 2, squeeze=False)[0]
    if len(classes):
        order = np.argsort(-values, kind="stable")[:MOST_CLASSES]
        kept = np.sort(order) if len(classes) <= MOST_CLASSES else order
        left.bar(range(len(kept)), values[kept], color=ACCENT, alpha=0.8)
        names = [verbatim(shortened(str(classes[name]), 12)) for name in kept]
        left.set_xticks(range(len(kept)), names, rotation=90 if sum(map(len, names)) > 60 else 0)
        left.set_ylabel("rows to train on")
    else:
        left.hist(values[np.isfinite(values)], bins=40, color=ACCENT, alpha=0.8)
        left.set(xlabel=verbatim(unit), ylabel="rows to train on")
        few_ticks(left.xaxis)
    few_ticks(left.yaxis)
    plain(left)
    for axes in right:
        _images(axes, images)
    return figure


def _images(axes: Axes, images: np.ndarray | None) -> None:
    """Two rows of images as one."""
    if images is None or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        missing(axes, "channels that are no colours")
        return
    images = images if images.ndim == 4 else images[..., None]
    half = -(-len(images) // 2)
    full = np.concatenate([images, np.repeat(images[:1] * 0, 2 * half - len(images), 0)])
    edge = ((0, 0), (1, 1), (1, 1), (0, 0))  # White between them.
    full = np.pad(full, edge, constant_values=float(full.max()))
    rows = [np.concatenate(list(part), axis=1) for part in (full[:half], full[half:])]
    sheet_ = np.concatenate(rows, axis=0)
    low, high = float(sheet_.min()), float(sheet_.max())
    grey = (sheet_ - low) / (high - low if high > low else 1)
    axes.imshow(grey[..., 0] if grey.shape[-1] == 1 else grey, cmap="gray", gid="images")
    axes.set_axis_off()
