from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from ladle.report.curves import Curve
from ladle.report.plots import places


def ending(seconds: float) -> Curve:
    """A curve of two points that ends at so many seconds, begun a twentieth of the way."""
    x = np.array([seconds / 20, seconds])
    return Curve(x, x, x, x, x, x, 1, x > 0)


@pytest.mark.parametrize("longest", [1.0, 10.0, 1000.0])
def test_a_log_axis_of_seconds_has_labels_throughout_with_room_between(longest: float) -> None:
    ticks = [tick for tick in places([ending(0.1), ending(longest)], "seconds") if 0.005 <= tick <= longest]
    assert ticks[0] <= 0.01 and ticks[-1] >= longest / 2
    assert len(ticks) <= 9 and min(b / a for a, b in pairwise(ticks)) >= 2


def test_an_axis_of_like_runs_is_linear() -> None:
    assert places([ending(1.0), ending(2.0)], "seconds") == [] and places([ending(0.1), ending(9.0)], "examples") == []
