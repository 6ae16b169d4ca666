"""The value axis of a row of pictures: as high as the curves need, not as a band or a diverged run would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ladle.report.curves import Curve

BAND_ROOM = 0.5
"""Bands may lengthen the axis by so much of what the means span, at each end; beyond that they are cut."""

MARGIN, EDGE = 0.06, 0.03
"""Parts of the height: left free above and below the curves; between the axis' end and what is moved inside."""


@dataclass(frozen=True)
class Frame:
    """Lowest and highest value of an axis, and whether it is logarithmic."""

    low: float
    high: float
    log: bool = False

    def height(self, values: np.ndarray | float) -> np.ndarray:
        """Tell where `values` stand: 0 at the low end, 1 at the high end; -inf below zero of a log axis.

        >>> Frame(1.0, 100.0, log=True).height(10.0).item()
        0.5
        """
        low, high = self._scaled(np.array([self.low, self.high]))
        return (self._scaled(np.asarray(values, dtype=float)) - low) / (high - low)

    def at(self, height: float) -> float:
        """Give the value at a height.

        >>> round(Frame(1.0, 100.0, log=True).at(0.5), 9)
        10.0
        """
        low, high = self._scaled(np.array([self.low, self.high]))
        place = float(low + height * (high - low))
        return 10.0**place if self.log else place

    def inside(self, value: float) -> float:
        """Move `value` to the nearest place a little inside the frame; nan to the top.

        >>> Frame(0.0, 1.0).inside(0.5), Frame(0.0, 1.0).inside(7.0)
        (0.5, 0.97)
        """
        height = float(self.height(value))
        if np.isnan(height) or height > 1 - EDGE:
            return self.at(1 - EDGE)
        return value if height >= EDGE else self.at(EDGE)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        if not self.log:
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(np.maximum(values, 0.0))


def frame_of(curves: Sequence[Curve], log: bool = False) -> Frame | None:
    """Fit a frame around the means of `curves`, with room for their bands; None where there is no value.

    Curves of runs that diverged leave the frame, unless all did.
    """
    sound = [one for one in curves if not one.diverged] or list(curves)
    whole = Frame(1.0, 10.0, log)  # Its ends do not matter: only its scale is used.
    mean, low, high = (
        _finite(whole.height(np.concatenate([getattr(one, name) for one in sound] or [np.empty(0)])))
        for name in ("mean", "low", "high")
    )
    if not mean.size:
        return None
    room = BAND_ROOM * np.ptp(mean) if np.ptp(mean) > 0 else np.inf
    bottom, top = max(mean.min() - room, min(low.min(initial=np.inf), mean.min())), mean.max() + room
    top = min(top, max(high.max(initial=-np.inf), mean.max()))
    margin = MARGIN * (top - bottom) or 0.05 * max(abs(top), 0.01)
    return Frame(whole.at(bottom - margin), whole.at(top + margin), log)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
