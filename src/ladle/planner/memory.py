"""Memory of an update as a line in the micro-batch size: bytes = fixed + per_example * micro_size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ladle.core.errors import ArgumentError, must


@dataclass(frozen=True)
class MemoryLine:
    """`fixed_bytes + per_example_bytes * micro_size`, and the predicted `points` it was drawn through.

    `worst`: the largest relative gap between the line and a point. Activations grow with the micro-batch; parameters,
    optimiser state and resident data do not: that is why memory is a line, and why one point is never enough.
    """

    fixed_bytes: float
    per_example_bytes: float
    points: tuple[tuple[int, int], ...]
    worst: float

    def at(self, micro_size: int) -> float:
        """Bytes at `micro_size`."""
        return self.fixed_bytes + self.per_example_bytes * micro_size

    def largest(self, limit_bytes: float) -> float:
        """Largest micro-batch within `limit_bytes` by the line alone: 0 if none, inf if memory does not grow."""
        room = limit_bytes - self.fixed_bytes
        if room < self.per_example_bytes:
            return 0.0
        return math.inf if self.per_example_bytes <= 0 else room / self.per_example_bytes


def fit_memory(points: Mapping[int, int]) -> MemoryLine:
    """The line through predicted `{micro_size: bytes}`; least squares of relative gaps, with no negative part.

    Raises `ArgumentError` for fewer than two points.

    >>> line = fit_memory({64: 1640, 256: 3560})
    >>> round(line.fixed_bytes), round(line.per_example_bytes)
    (1000, 10)
    """
    if len(points) < 2:
        raise ArgumentError(must("points", "hold two sizes", len(points), "a line needs two", "another micro_size"))
    sizes = np.array(sorted(points), np.float64)
    values = np.array([points[int(size)] for size in sizes], np.float64)
    weights = 1 / np.maximum(values, 1.0)
    columns = np.stack([np.ones_like(sizes), sizes], axis=1) * weights[:, None]
    fixed, slope = np.linalg.lstsq(columns, values * weights, rcond=None)[0]
    if slope < 0:
        fixed, slope = values.max(), 0.0
    if fixed < 0:
        fixed, slope = 0.0, float((values / sizes).max())
    worst = float(np.abs((fixed + slope * sizes) * weights - 1).max())
    return MemoryLine(float(fixed), float(slope), tuple(sorted(points.items())), worst)


SMALL = 64
"""The smaller of the two sizes that the memory line goes through; its program is also timed."""


def largest_fitting(limit_bytes: float, predict: Callable[[int], int], *, most: int) -> tuple[int, MemoryLine | None]:
    """The largest power of two, at most `most`, whose predicted memory is within `limit_bytes`, and the line.

    Asks `predict` at a few rungs only: the line proposes, a prediction at the proposed rung decides. The line is
    `None` where a single rung was asked. Raises `ArgumentError` where one example alone does not fit, with the bytes.

    >>> largest_fitting(5000, lambda micro: 1000 + 10 * micro, most=4096)[0]
    256
    """
    top = 1 << (most.bit_length() - 1)
    points = {rung: predict(rung) for rung in sorted({min(SMALL, max(top // 8, 1)), top})}
    too_large = 2 * top
    while points[top] > limit_bytes:
        if top == 1:
            raise too_small(limit_bytes, points[1])
        too_large = top
        top = 1 << int(math.log2(min(max(fit_memory(points).largest(limit_bytes), 1.0), top / 2)))
        points[top] = points.get(top) or predict(top)
    while 2 * top < too_large:
        points[2 * top] = points.get(2 * top) or predict(2 * top)
        if points[2 * top] > limit_bytes:
            break
        top *= 2
    return top, fit_memory(points) if len(points) > 1 else None


def too_small(limit_bytes: float, needed_bytes: float) -> ArgumentError:
    """The error for a memory limit that one example exceeds."""
    return ArgumentError(
        must(
            "memory",
            f"be at least {int(needed_bytes):,} bytes",
            f"{int(limit_bytes):,} bytes",
            "that is what an update with a micro-batch of one example needs",
            "a larger memory, or a smaller model",
        )
    )
