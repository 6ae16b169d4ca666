"""`Speed`: the seconds of an update as a line in the batch size."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Speed:
    """Says how many seconds an update takes at any batch size: a cost of its own, and one for each example.

        seconds(size) = fixed_seconds + per_example_seconds * size

    Numbers of a machine and a model, fitted to a few times (`ladle.planner.throughput`, `ladle.policy.times`) or given.

    >>> Speed(0.02, 1e-4).seconds(100), Speed(0.02, 1e-4).knee
    (0.03, 200.0)
    """

    fixed_seconds: float
    per_example_seconds: float

    def seconds(self, size: float) -> float:
        """Of an update of `size` examples."""
        return self.fixed_seconds + self.per_example_seconds * size

    def throughput(self, size: float) -> float:
        """Examples per second at `size`."""
        return size / self.seconds(size)

    @property
    def knee(self) -> float:
        """fixed / per example: the size with half of the largest throughput. `inf` where time does not grow."""
        return self.fixed_seconds / self.per_example_seconds if self.per_example_seconds > 0 else math.inf
