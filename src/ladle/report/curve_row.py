"""A row of pictures: curves of loss, a metric or joules against examples, updates and seconds. Plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ladle.report.curves import Curve, all_curves, logarithmic, panels
from ladle.report.frame import Frame, frame_of
from ladle.report.study import Group

CROWDED = 1 / 3
"""Bands that would cover more than this part of a panel are drawn as bars instead."""

Place = tuple[int, str]
"""Group number and column of a curve."""


@dataclass(frozen=True)
class CurveRow:
    """What is drawn in a row.

    - `title`: of the number. `solid`, `dashed`: its columns, validation and training.
    - `curves`: of every group that has one. `frame`: the value axis, common to the row.
    """

    title: str
    solid: str
    dashed: str
    curves: Mapping[Place, Curve]
    frame: Frame

    @property
    def evaluated(self) -> bool:
        """Whether the solid column is of evaluations, each of which is a point; joules are a sum that grows."""
        return self.solid.startswith("valid_")

    @property
    def shaded(self) -> set[Place]:
        """Curves that show their seeds' range: validation, or training of a group without it."""
        return {(i, self.solid) if (i, self.solid) in self.curves else (i, name) for i, name in self.curves}

    @property
    def crowded(self) -> bool:
        """Whether the ranges as bands would cover more than `CROWDED` of a panel, side by side: then they are bars."""
        shown = [self.curves[place] for place in self.shaded]
        return sum(covered(one, self.frame) for one in shown if one.seeds > 1) > CROWDED

    def main(self, group: int) -> Curve | None:
        """The curve that marks stand on."""
        return self.curves.get((group, self.solid)) or self.curves.get((group, self.dashed))


def curve_rows(groups: Sequence[Group]) -> list[CurveRow]:
    """Loss, the metric and joules where there are such; none where nothing was measured."""
    made = []
    for title, solid, dashed in panels(groups):
        curves = all_curves(groups, (dashed, solid))
        values = [value for one in curves.values() if not one.diverged for value in (one.mean, one.low)]
        frame = frame_of(list(curves.values()), log=title == "loss" and logarithmic(values, 8))
        if frame is not None:
            made.append(CurveRow(title, solid, dashed, curves, frame))
    return made


def bar_width(group: int, count: int) -> float:
    """Points: bars of several groups at one place are seen behind each other.

    >>> bar_width(0, 3), bar_width(2, 3)
    (6.0, 1.5)
    """
    return 6.0 - 4.5 * group / max(count - 1, 1)


def covered(one: Curve, frame: Frame) -> float:
    """Tell the part of the panel that the band covers over its own length."""
    low, high = (np.clip(frame.height(values), 0, 1) for values in (one.low, one.high))
    length = one.examples[-1] - one.examples[0]
    return float(np.trapezoid(high - low, one.examples) / length) if length > 0 else 0.0
