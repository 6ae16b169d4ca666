"""What the planner measures through a probe: the speed of a few sizes, and the gradient noise in a short pilot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ladle.noise import Moments, NoiseScale, estimate
from ladle.planner.throughput import ThroughputLine, fit_throughput
from ladle.protocols import Probe
from ladle.spec import BatchSpec, rung_for

SPEED_SIZES = 5
"""Sizes that are timed. Each costs a compilation; two would do for a line, five show whether it is one."""

LARGEST_TIMED = 8192
SLOW_SECONDS = 1.0
"""No larger size is timed once an update takes this long: the slope is known by then."""

MICRO_STEPS = 16
"""Micro-batches per pilot update: the trace then has 2/15 relative variance per effective dimension and update."""

PILOT_SIZE = 512
FEWEST_UPDATES = 16
PILOT_EPOCHS = 16
GOOD_SPREAD = 0.15
"""Standard deviation of log(noise scale) at which the pilot stops. B* takes its square root, so 8 % of size."""


def speed_sizes(top: int) -> tuple[int, ...]:
    """Powers of two from 1 to `top` (at most `LARGEST_TIMED`), evenly spread on a logarithmic scale.

    >>> speed_sizes(2048)
    (1, 8, 64, 256, 2048)
    """
    last = min(top, LARGEST_TIMED).bit_length() - 1
    return tuple(sorted({1 << round(power) for power in np.linspace(0, last, SPEED_SIZES)}))


def measure_speed(
    probe: Probe, *, rows: int, top: int, sizes: Sequence[int] | None = None, repeats: int = 7
) -> ThroughputLine | None:
    """The throughput line, from small to large until an update is slow. `None` where only one size exists.

    A size that is no rung is timed at the rung that holds it, because that is the work done.
    """
    wanted = sorted({rung_for(size, top) for size in sizes}) if sizes else speed_sizes(top)
    samples: dict[int, np.ndarray] = {}
    for micro in wanted:
        samples[micro] = probe.seconds(BatchSpec(size=min(micro, rows), micro_size=micro), repeats)
        if len(samples) > 1 and np.median(samples[micro]) > SLOW_SECONDS:
            break
    return fit_throughput(samples) if len(samples) > 1 else None


@dataclass(frozen=True)
class Accumulation:
    """Seconds of an update of k micro-batches of `micro_size`: `fixed_seconds + k * micro_seconds`."""

    micro_size: int
    fixed_seconds: float
    micro_seconds: float

    def seconds(self, size: float) -> float:
        return self.fixed_seconds + math.ceil(size / self.micro_size) * self.micro_seconds


def measure_accumulation(probe: Probe, micro_size: int, *, rows: int, repeats: int = 7) -> Accumulation:
    """Time one and several (up to 4) micro-batches per update: what the first costs more is saved by accumulating.

    `rows` > `micro_size`; the last micro-batch may be partly empty, which costs as much as a full one.
    """
    size = min(4 * micro_size, rows)
    one, many = (
        float(np.median(probe.seconds(BatchSpec(size=s, micro_size=micro_size), repeats))) for s in (micro_size, size)
    )
    micro = max((many - one) / (-(-size // micro_size) - 1), 0.0)
    return Accumulation(micro_size, max(one - micro, 0.0), micro)


@dataclass(frozen=True)
class Pilot:
    """The noise scale as the pilot saw it, and how: `method` in words."""

    noise: NoiseScale
    method: str


def pilot_spec(rows: int, top: int) -> BatchSpec | None:
    """The spec of the pilot: a power of two near a quarter of the data, in up to 16 micro-batches. None for one row.

    Large, because the error of |G|^2 falls faster with the size of an update than with their number; never the whole
    data, so that updates differ.

    >>> pilot_spec(1437, 4096)
    BatchSpec(size=256, micro_size=16, length=None, updates=1)
    """
    if rows < 2:
        return None
    size = 1 << (max(min(PILOT_SIZE, rows // 4), 2).bit_length() - 1)
    return BatchSpec(size=size, micro_size=min(max(size // MICRO_STEPS, 1), top))


def measure_noise(
    probe: Probe, *, rows: int, top: int, budget_seconds: float = 3.0, line: ThroughputLine | None = None
) -> Pilot:
    """Run pilots of doubling length until the noise scale of their second half is known well enough.

    The second half, because |G|^2 falls fastest in the first updates, which say little about the rest of a run. A
    pilot starts afresh each time, so a longer one begins with the shorter one and their difference is the later part;
    where a probe does not repeat itself, the whole pilot is used. Stops at `GOOD_SPREAD`, after `PILOT_EPOCHS`
    passes over the data, or when the next pilot would by the `line` outlast `budget_seconds`.
    """
    spec = pilot_spec(rows, top)
    if spec is None:
        return Pilot(NoiseScale.unknown(), "not measured: one row has no spread")
    seconds = line.seconds(spec.micro_size) * spec.micro_steps if line else 0.0
    affordable = min(PILOT_EPOCHS * rows / spec.size, budget_seconds / seconds if seconds > 0 else math.inf)
    updates, first = FEWEST_UPDATES, probe.moments(spec, FEWEST_UPDATES)
    while True:
        updates *= 2
        whole = probe.moments(spec, updates)
        later = _later(first, whole)
        noise = estimate(later or whole, population=rows)
        if noise.log_sd <= GOOD_SPREAD or 2 * updates > affordable:
            break
        first = whole
    part = f"updates {updates // 2 + 1} to {updates}" if later else f"{updates} updates"
    if later and noise.verdict != "resolved" and estimate(whole, population=rows).verdict == "resolved":
        noise, part = estimate(whole, population=rows), f"all {updates} updates"
    cut = f"{spec.size} examples in {spec.micro_steps} micro-batches"
    return Pilot(noise, f"{part} of a pilot, {cut}; tr(Sigma)/{rows} added to |G|^2 for finite data")


def _later(first: Moments, whole: Moments) -> Moments | None:
    """What `whole` adds to `first`, or None if it cannot have begun with it (a sum of squares must not shrink)."""
    names = Moments.__dataclass_fields__
    rest = Moments(**{name: getattr(whole, name) - getattr(first, name) for name in names})
    slack = 1 + 1e-5
    possible = (
        rest.count >= 2
        and rest.trace_sq * rest.count * slack >= rest.trace**2
        and rest.square_sq * rest.count * slack >= rest.square**2
    )
    return rest if possible else None
