"""What an update costs in joules, or in a mix of joules and seconds: measured at the sizes that were timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ladle.core.errors import ArgumentError, must
from ladle.core.protocols import Probe
from ladle.core.spec import BatchSpec
from ladle.planner.measure import Accumulation, measure_accumulation
from ladle.planner.target import mixed
from ladle.planner.throughput import ThroughputLine, fit_throughput

REPEATS = 3


@dataclass(frozen=True)
class EnergyPrice:
    """What is minimised, see `ladle.planner.target.mixed`.

    - `joules`: e0 + e1 B per update; `fit`: the price per update, in joules as well. Share 1: the same.
    - `power_watts`: what a second is worth; given, or the highest mean power that was measured (`power_given`).

    `ThroughputLine` and `Accumulation` hold joules here where they say seconds.
    """

    joules: ThroughputLine
    fit: ThroughputLine
    share: float
    power_watts: float
    power_given: bool

    def accumulation(self, probe: Probe, micro_size: int, *, rows: int) -> Accumulation:
        """The price of an update in one and in several micro-batches, see `measure_accumulation`."""
        one, many = BatchSpec(micro_size, micro_size), BatchSpec(min(4 * micro_size, rows), micro_size)
        energy = [float(np.median(measured(probe, spec))) for spec in (one, many)]
        each = max((energy[1] - energy[0]) / (many.micro_steps - 1), 0.0)
        time = measure_accumulation(probe, micro_size, rows=rows)
        return Accumulation(
            micro_size,
            mixed(max(energy[0] - each, 0.0), time.fixed_seconds, share=self.share, power_watts=self.power_watts),
            mixed(each, time.micro_seconds, share=self.share, power_watts=self.power_watts),
        )


def measure_price(
    probe: Probe, speed: ThroughputLine, *, rows: int, share: float = 1.0, power_watts: float | None = None
) -> EnergyPrice:
    """Joules of an update at the sizes of `speed`, and the price that follows from them.

    Raises `ArgumentError` where no meter measures: sizes are never ranked by a model of energy.
    """
    if not 0 < share <= 1:
        why = "it is the part of the cost that is energy; the goal time has none of it"
        raise ArgumentError(must("energy_share", "be above 0 and at most 1", share, why, "0.5"))
    if power_watts is not None and not 0 < power_watts < float("inf"):
        raise ArgumentError(must("power_watts", "be positive", power_watts, "it prices a second", "300"))
    samples = {size: measured(probe, BatchSpec(min(size, rows), size)) for size, *_ in speed.points}
    seconds = {size: each for size, each, *_ in speed.points}
    watts = power_watts or max(float(np.median(samples[size])) / seconds[size] for size in samples)
    prices = {
        size: np.array([mixed(one, seconds[size], share=share, power_watts=watts) for one in joules])
        for size, joules in samples.items()
    }
    return EnergyPrice(fit_throughput(samples), fit_throughput(prices), share, watts, power_watts is not None)


def measured(probe: Probe, spec: BatchSpec, repeats: int = REPEATS) -> np.ndarray:
    """`f64[repeats]` joules of an update at `spec`."""
    return np.array(require_measured([probe.joules(spec) for _ in range(repeats)]))


def require_measured(joules: Sequence[float | None]) -> list[float]:
    """`joules`, none of them missing."""
    if any(one is None for one in joules):
        why = "no energy counter of this machine can be read, and a size chosen by a model would be a guess"
        remedy = "minimize='time', or pip install 'ladle[energy]' where there is NVML or RAPL"
        raise ArgumentError(must("energy", "be measured to be minimised", "no measurement", why, remedy))
    return [one for one in joules if one is not None]
