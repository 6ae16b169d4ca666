"""When the size of a policy that measures moves, and where to.

    want    each policy's own formula: a size, with the interval that the measurement leaves it
    move    only where the interval says that the present size is wrong, by more than `band`, or by band^2 to go
            back the way it came; to a size on the grid

So a size does not flap: measurement noise alone stays inside the interval, and a wanted size between two of the grid
stays inside the band. Where |G|^2 cannot be told from zero, the wanted size is known from below only, and the batch
grows up to that bound and no further.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ladle.core.noise import NoiseScale
from ladle.policy.range import Range


@dataclass(frozen=True)
class Wanted:
    """Holds the size that a formula asks for, with the interval of its measurement.

    - `value`: nan where nothing is known. `low`, `high`: an infinite `high` means "at least `low`".

    >>> Wanted.of(NoiseScale(300.0, 200.0, 450.0, "resolved"), 0.5)
    Wanted(value=150.0, low=100.0, high=225.0)
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, noise: NoiseScale, factor: float = 1.0, plus: float = 0.0) -> Wanted:
        """factor (B_noise + plus)."""
        return cls(*(factor * (end + plus) for end in (noise.value, noise.low, noise.high)))

    @property
    def one_sided(self) -> bool:
        return math.isinf(self.high)


def next_size(sizes: Range, present: int, wanted: Wanted, *, at_least: bool = False, went: int = 0) -> int:
    """Finds where to go from `present`: stay, unless the interval and the band both say that it is the wrong size.

    `went`: direction of the last change, 1 or -1; back again takes the square of the band. Without that, a size wanted
    half way between two of the grid would go to and fro with one part in ten of noise.

    `at_least`: the formula is a test that the batch must pass: the batch only grows, as soon as the whole interval is
    above it, to the next size that passes. Without an upper end it grows to the lower one at most.

    >>> sizes = Range(16, 1024, micro_size=64)
    >>> next_size(sizes, 64, Wanted(310, 240, 420)), next_size(sizes, 64, Wanted(310, 60, 900))
    (128, 64)
    >>> next_size(sizes, 64, Wanted(math.inf, 100, math.inf)), next_size(sizes, 64, Wanted(math.inf, 200, math.inf))
    (64, 128)
    """
    if wanted.one_sided:
        return sizes.below(present, wanted.low)
    if at_least:
        return sizes.toward(present, wanted.value, up=True) if wanted.low > present else present
    up, down = (sizes.band ** (2 if went == back else 1) for back in (-1, 1))
    grows = wanted.value > up * present and wanted.low > present
    shrinks = wanted.value * down < present and wanted.high < present
    if grows:  # Beyond one doubling, only as far as the whole interval is.
        return sizes.toward(present, min(wanted.value, max(wanted.low, 2 * present)))
    return sizes.toward(present, max(wanted.value, min(wanted.high, present / 2))) if shrinks else present
