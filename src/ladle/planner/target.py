"""The batch size that reaches a target soonest, in closed form.

Steps to a target:   S(B) = S_min (1 + B_noise / B)      McCandlish et al. 2018, arXiv 1812.06162, eq. 2.11
Time of a step:      t(B) = alpha + beta B
Time to the target:  T(B) = S(B) t(B), smallest at  B* = sqrt(B_noise alpha / beta) = sqrt(B_noise * knee)

The optimum is flat: at 2 B* or B*/2 the time is at most 12.5 % longer. The same formulas minimise energy, or a mix of
both, with coefficients that are `mixed`. B* is also the batch with the largest goodput (Qiao et al. 2021, Pollux).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Cost of a run up to a factor: (1 + noise/B) (fixed + per_example B), in the unit of the two coefficients.

    - `fixed`, `per_example`: alpha and beta, seconds (or joules, or a mix) per update and per example.
    - `noise`: gradient noise scale, examples.

    >>> Cost(0.02, 1e-4, noise=800).best
    400.0
    """

    fixed: float
    per_example: float
    noise: float

    def __call__(self, size: float) -> float:
        return (1 + self.noise / size) * (self.fixed + self.per_example * size)

    @property
    def best(self) -> float:
        """B* = sqrt(noise fixed / per_example), not rounded; `inf` where an example costs nothing."""
        return math.sqrt(self.noise * self.fixed / self.per_example) if self.per_example > 0 else math.inf

    def clipped(self, largest: float) -> float:
        """`best` brought into [1, largest]: the cost has one minimum, so the nearest size is the cheapest."""
        return min(max(self.best, 1.0), largest)

    def within(self, share: float, *, largest: float) -> tuple[float, float]:
        """All sizes in [1, largest] that cost at most 1 + share times the cheapest there: the exact roots.

        cost(B) = c  <=>  beta B^2 - p B + alpha B_noise = 0  with  p = c - alpha - beta B_noise

        >>> [round(x) for x in Cost(0.02, 1e-4, noise=800).within(0.05, largest=10_000)]
        [250, 640]
        """
        best = (1 + share) * self(self.clipped(largest))
        p = best - self.fixed - self.per_example * self.noise
        root = p + math.sqrt(max(p * p - 4 * self.per_example * self.fixed * self.noise, 0.0))
        low = 2 * self.fixed * self.noise / root if root > 0 else 0.0
        high = root / (2 * self.per_example) if self.per_example > 0 else math.inf
        return min(max(low, 1.0), largest), min(max(high, 1.0), largest)


def mixed(joules: float, seconds: float, *, share: float, power_watts: float) -> float:
    """The cost, in joules, of an update (or an example) that takes so many joules and seconds (Zeus, You et al. 2023).

    share * joules + (1 - share) * power_watts * seconds

    It is linear, so the mix of two lines e0 + e1 B and alpha + beta B is the line of the mixed coefficients.

    >>> round(mixed(4.0, 0.02, share=0.5, power_watts=300.0), 3)
    5.0
    """
    return share * joules + (1 - share) * power_watts * seconds


def best_log_sd(log_knee_sd: float, log_noise_sd: float) -> float:
    """Standard deviation of log(B*): half of the two logs' together, because B* is the square root of their product.

    >>> best_log_sd(0.3, 0.4)
    0.25
    """
    return math.hypot(log_knee_sd, log_noise_sd) / 2


def efficiency(size: float, *, noise: float, reference: float = 0.0) -> float:
    """Progress per example at `size`, relative to `reference`: (noise + reference) / (noise + size).

    Statistical efficiency of Pollux (Qiao et al. 2021); with reference 0 it is E_min / E(B). Nothing is planned by it:
    it ties `Cost` to the goodput that Pollux maximises, and to AdaScale's gain over the scale.

    >>> round(efficiency(1024, noise=800, reference=128), 6)
    0.508772
    """
    return (noise + reference) / (noise + size)


def frugal_size(share: float, *, noise: float) -> float:
    """The largest size that wastes at most `share` of the examples: E(B)/E_min = 1 + B/noise = 1 + share."""
    return share * noise
