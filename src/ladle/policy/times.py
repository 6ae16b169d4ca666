"""Seconds of an update as a line in the batch size, learned while training: seconds = fixed + per_example * size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ladle.core.decision import Progress
from ladle.core.speed import Speed

FADE = 0.5
"""What an older window of the same size counts in the mean of its seconds."""


def timed(memory: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """`memory` with the last window's seconds and updates, under the size that it ran at.

    Seconds of a run hold training alone: neither compiling nor evaluating.
    """
    kept = dict(memory)
    updates = progress.updates - kept.get("updates", 0)
    seconds = progress.seconds - kept.get("seconds", 0.0)
    if "size" in kept and updates > 0 and seconds > 0:
        name = str(kept["size"])
        old = kept.get("times", {}).get(name, (0.0, 0.0))
        times = [FADE * before + now for before, now in zip(old, (updates, seconds), strict=True)]
        kept["times"] = {**kept.get("times", {}), name: times}
    return {**kept, "updates": progress.updates, "seconds": progress.seconds}


def line_of(memory: Mapping[str, Any]) -> Speed | None:
    """The line through the mean seconds of all sizes seen, least squares of the relative error; None below two sizes.

    Neither part is allowed below zero.

    >>> line = line_of({"times": {"10": [4.0, 0.084], "100": [2.0, 0.06]}})
    >>> round(line.fixed_seconds, 6), round(line.per_example_seconds, 6)
    (0.02, 0.0001)
    """
    times = [(float(size), seconds / updates) for size, (updates, seconds) in memory.get("times", {}).items()]
    if len(times) < 2:
        return None
    # Minimises sum of (fixed x + per_example y - 1)^2, x = 1/seconds, y = size/seconds.
    pairs = [(1 / seconds, size / seconds) for size, seconds in times]
    xx, xy, yy = (math.fsum(a[i] * a[j] for a in pairs) for i, j in ((0, 0), (0, 1), (1, 1)))
    x, y = (math.fsum(a[i] for a in pairs) for i in (0, 1))
    det = xx * yy - xy * xy
    fixed, per_example = (x * yy - y * xy) / det, (y * xx - x * xy) / det
    if fixed < 0:
        return Speed(0.0, y / yy)
    return Speed(fixed, per_example) if per_example >= 0 else Speed(x / xx, 0.0)
