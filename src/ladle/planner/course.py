"""The noise scale in the course of a run: it moves on while the loss falls, so each reading is for one part of it.

    S(B) = sum over parts i of w_i (1 + N_i / B)  =  W (1 + N / B),    W = sum w_i,    N = sum w_i N_i / W

S: updates to the target at size B; N_i: noise scale in part i of the run; w_i: updates that the part would take without
noise. A part that took u_i updates at size B0 has w_i = u_i / (1 + N_i / B0). So one size for the whole run is planned
with N, the mean weighted by w, and a size for each part with its own N_i. (McCandlish et al. 2018, arXiv 1812.06162,
appendix D, writes the sum as an integral.)

Near the best rate the parameters are thrown about, and with them |G|^2: readings a few updates apart differ by factors
of two to five, each with a small error of its own. So a part is read at several places, and what is averaged is the
share that the noise has in the square of a batch gradient, which no single |G|^2 near zero can carry away:

    f = tr Sigma / (tr Sigma + B0 |G|^2),    N = B0 f / (1 - f),    f: mean over the places of a part

The spread of log N between places is part of the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ladle.core.moments import Moments
from ladle.core.noise import WIDEST, NoiseScale
from ladle.core.spec import BatchSpec
from ladle.planner.measure import Pilot
from ladle.planner.tryout import Glance

PARTS = (1 / 9, 1 / 3, 1.0)
"""Where the parts end in which the noise is measured, in shares of the run."""

PLACES = 3
"""In a part, at which it is read, where the seconds pay for them."""

SCATTER = 0.7
"""Standard deviation of log N from place to place, where too few places were read to tell: 0.5 on digits, 0.8 on a
table of electricity prices."""

ENOUGH = 4
"""Differences between places that tell how far they scatter."""

Z = 1.96
"""Standard errors in half of a 95 % interval."""


@dataclass(frozen=True)
class Reading:
    """The noise scale in the part of a run at `size` that ends after so many `updates`."""

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


def readings(seen: Glance, measure: Callable[[At], Pilot], *, places: int = 1) -> tuple[Reading, ...]:
    """The noise scale in each of `PARTS` of the way to the loss at which the rates were compared.

    One run at the best rate so far. `measure` takes the pilot at its parameters, at so many `places` of each part.
    """
    end, size = max(round(seen.reached), 1), seen.spec.size
    run, _ = seen.track.start(seen.rate, 0)
    found, done, before = [], 0, 0
    for last in sorted({max(round(share * end), 1) for share in PARTS}):
        pilots = []
        for at in sorted({max(round(before + (last - before) * (i + 0.5) / places), 1) for i in range(places)}):
            run, _ = seen.track.advance(run, at - done) if at > done else (run, 0.0)
            done = max(at, done)
            pilots.append(measure(At(seen, run)))
        found.append((last, pilots))
        before = last
    scatter = _scatter([pilots for _, pilots in found])
    return tuple(Reading(last, size, pooled(pilots, size=size, scatter=scatter)) for last, pilots in found)


def pooled(pilots: Sequence[Pilot], *, size: int, scatter: float) -> Pilot:
    """One pilot of those at several places of a run: N = B0 f / (1 - f) of the mean share f of the noise.

    `size`: B0. `scatter`: standard deviation of log N between places. Where no more than half of them are resolved, the
    last that is, or the last.
    """
    known = [pilot for pilot in pilots if _counts(pilot.noise)]
    if 2 * sum(pilot.noise.verdict == "resolved" for pilot in known) <= len(pilots):
        return next((pilot for pilot in reversed(pilots) if pilot.noise.verdict == "resolved"), pilots[-1])
    shares = np.array([_share(pilot.noise, size) for pilot in known])
    share = float(shares.mean())
    value = size * share / (1 - share)
    own = np.array([min(pilot.noise.log_sd, math.log(WIDEST) / Z) for pilot in known])
    errors = shares * (1 - shares) * np.hypot(own, scatter) / (share * (1 - share)) / len(known)
    factor = math.exp(Z * math.sqrt(float((errors**2).sum())))
    trace = float(np.mean([pilot.noise.trace for pilot in known]))
    noise = replace(
        known[-1].noise,
        value=value,
        low=value / factor,
        high=value * factor,
        verdict="resolved",
        gradient_sq=trace / value,
        trace=trace,
        updates=sum(pilot.noise.updates for pilot in known),
        examples=sum(pilot.noise.examples for pilot in known),
    )
    return Pilot(noise, f"{known[-1].method}, at {len(known)} places" if len(known) > 1 else known[-1].method)


def _counts(noise: NoiseScale) -> bool:
    """Whether a reading says how much of a batch gradient is noise, if only that nearly all of it is."""
    return noise.verdict in ("resolved", "lower bound only") and 0 < noise.trace < math.inf


def _share(noise: NoiseScale, size: int) -> float:
    """f = tr Sigma / (tr Sigma + B0 |G|^2); |G|^2 that is not known from zero counts as what it may be at most."""
    at = noise.value if noise.verdict == "resolved" else max(noise.low, min(noise.value, WIDEST * noise.low))
    return at / (at + size)


def _scatter(parts: Sequence[Sequence[Pilot]]) -> float:
    """Standard deviation of log N from place to place, beyond the errors of the readings: `SCATTER` for too few."""
    groups = [[pilot.noise for pilot in part if pilot.noise.verdict == "resolved"] for part in parts]
    groups = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    if freedom < ENOUGH:
        return SCATTER
    spread = sum(float(np.var([math.log(noise.value) for noise in group])) * len(group) for group in groups) / freedom
    own = float(np.mean([noise.log_sd**2 for group in groups for noise in group]))
    return math.sqrt(max(spread - own, 0.0))


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
        trace=middle.noise.gradient_sq * value,
    )
    told = ", ".join(f"{reading.noise.value:.3g} up to {reading.updates}" for reading in course)
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
