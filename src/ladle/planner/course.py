"""The noise scale in the course of a run: it moves on while the loss falls, so one reading is for one part of it.

    S(B) = sum over parts i of w_i (1 + N_i / B)  =  W (1 + N / B),    W = sum w_i,    N = sum w_i N_i / W

S: updates to the target at size B; N_i: noise scale in part i of the run; w_i: updates that the part would take without
noise. A part that took u_i updates at size B0 has w_i = u_i / (1 + N_i / B0). So one size for the whole run is planned
with N, the mean weighted by w, and a size for each part with its own N_i. (McCandlish et al. 2018, arXiv 1812.06162,
appendix D, writes the sum as an integral.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ladle.core.moments import Moments
from ladle.core.noise import NoiseScale
from ladle.core.spec import BatchSpec
from ladle.planner.measure import Pilot
from ladle.planner.tryout import Glance

PARTS = (1 / 9, 1 / 3, 1.0)
"""Where the noise is measured, in shares of the run."""

Z = 1.96
"""Standard errors in half of a 95 % interval."""


@dataclass(frozen=True)
class Reading:
    """The noise scale after so many `updates` of a run at `size`."""

    updates: int
    size: int
    pilot: Pilot

    @property
    def noise(self) -> NoiseScale:
        return self.pilot.noise

    @property
    def examples(self) -> int:
        return self.updates * self.size


@dataclass(frozen=True)
class At:
    """The part of a probe that a pilot asks, at the parameters of a run."""

    seen: Glance
    run: object

    def moments(self, spec: BatchSpec, updates: int) -> Moments:
        return self.seen.track.moments(self.run, spec, updates)


def readings(seen: Glance, measure: Callable[[At], Pilot]) -> tuple[Reading, ...]:
    """The noise scale at each of `PARTS` of the way to the loss at which the rates were compared.

    One run at the best rate so far. `measure` takes the pilot at its parameters.
    """
    end, size = max(round(seen.reached), 1), seen.spec.size
    run, _ = seen.track.start(seen.rate, 0)
    found, done = [], 0
    for updates in sorted({max(round(share * end), 1) for share in PARTS}):
        run, _ = seen.track.advance(run, updates - done)
        done = updates
        found.append(Reading(updates, size, measure(At(seen, run))))
    return tuple(found)


def weights(course: Sequence[Reading]) -> list[float]:
    """Updates that each part would take without noise: w_i = u_i / (1 + N_i / B0)."""
    before = [0, *(reading.updates for reading in course)]
    return [
        (reading.updates - start) / (1 + reading.noise.value / reading.size)
        for reading, start in zip(course, before, strict=False)
    ]


def whole(course: Sequence[Reading]) -> Pilot:
    """The noise scale that one size for the whole run is planned with: the mean weighted by `weights`.

    Where not all readings are resolved, the last one that is; where none is, the first reading.
    """
    known = [reading for reading in course if reading.noise.verdict == "resolved"]
    if len(known) < len(course) or len(known) < 2:
        return known[-1].pilot if known else course[0].pilot
    shares = [weight / sum(weights(known)) for weight in weights(known)]
    value = sum(share * reading.noise.value for share, reading in zip(shares, known, strict=True))
    errors = [share * reading.noise.value * reading.noise.log_sd for share, reading in zip(shares, known, strict=True)]
    factor = math.exp(Z * math.sqrt(sum(error**2 for error in errors)) / value)
    middle = known[len(known) // 2]
    noise = replace(
        middle.noise,
        value=value,
        low=value / factor,
        high=value * factor,
        gradient_sq=middle.noise.gradient_sq,
        trace=middle.noise.gradient_sq * value,
    )
    told = ", ".join(f"{reading.noise.value:.3g} after {reading.updates}" for reading in course)
    method = f"mean over a run of updates of {middle.size}: {told} ({middle.pilot.method})"
    return Pilot(noise, method)


def moved(course: Sequence[Reading]) -> bool:
    """Whether the noise scale at the end was shown to be another than at the start: no overlap of their intervals."""
    if len(course) < 2 or any(reading.noise.verdict != "resolved" for reading in (course[0], course[-1])):
        return False
    first, last = course[0].noise, course[-1].noise
    return last.low > first.high or last.high < first.low


def size_of_parts(course: Sequence[Reading], best: Callable[[float], int]) -> list[tuple[int, int]]:
    """`(examples at which it begins, size)` for each part whose own best size is another: a schedule of sizes.

    - `best`: the size for a noise scale. Sizes never fall: a warmup of the batch is what the noise of most runs asks.
    """
    found, begins = [], 0
    for reading in course:
        size = best(reading.noise.value)
        if not found or size > found[-1][1]:
            found.append((begins, size))
        begins = reading.examples
    return found


def time_of_parts(
    course: Sequence[Reading], sizes: Sequence[tuple[int, int]], seconds: Callable[[int], float]
) -> float:
    """Seconds of the whole run with the schedule `sizes`: sum of w_i (1 + N_i / B_i) t(B_i)."""
    total, begins = 0.0, 0
    for reading, weight in zip(course, weights(course), strict=True):
        size = [size for start, size in sizes if start <= begins][-1]
        total += weight * (1 + reading.noise.value / size) * seconds(size)
        begins = reading.examples
    return total
