"""What the planner measures through a probe: the speed of a few sizes, and the gradient noise in a short pilot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ladle.core.noise import NoiseScale, estimate
from ladle.core.protocols import Probe
from ladle.core.spec import BatchSpec, rung_for
from ladle.core.speed import Speed
from ladle.planner.throughput import ThroughputLine, fit_throughput

LARGEST_TIMED = 8192
SLOW_SECONDS = 0.85
"""A size whose update would take longer is not timed, once two are."""

FAR_TOO_SLOW = 5.0
"""Seconds of an update that is timed once: more than smaller ones foretold, and more than a disturbance explains."""

TURNS = 4
"""Times that all sizes are timed one after the other: a disturbance then meets all of them, not one."""

REPEATS, MORE_REPEATS = 2, 6
"""Timings of a size in its turn, and where they are short: the least of many is one that nothing interrupted."""

SHORT_SECONDS = 0.001
"""An update that takes less is timed more often: several of its windows cost less than one of a long update."""

MICRO_STEPS = 16
"""Micro-batches per pilot update, at least: the trace then has 2/15 relative variance per effective dimension."""

PILOT_MICRO = 16
"""Rows per micro-batch of the pilot, at most: few, so that an update has many; the same, so that one program serves."""

PILOT_SIZE = 512
FEWEST_ROWS = 32
"""Below, the same few rows would be measured over and over: a narrow interval around a number that means nothing."""

FEWEST_UPDATES = 8
FIRST_UPDATES = 32
PILOT_EPOCHS = 32
GOOD_SPREAD = 0.15
"""Standard deviation of log(noise scale) at which the pilot stops. B* takes its square root, so 8 % of size."""


def speed_sizes(top: int) -> tuple[int, ...]:
    """1, 64 and `top` (at most `LARGEST_TIMED`): a line, and one point to see whether it is one.

    Each size costs a compilation. 1 and 64 are sizes that people compare, so theirs are rarely for the plan alone. None
    is closer than a factor of eight to the next.

    >>> speed_sizes(2048), speed_sizes(128), speed_sizes(4)
    ((1, 64, 2048), (1, 128), (1, 4))
    """
    last = min(top, LARGEST_TIMED)
    return tuple(sorted({1, *(size for size in (64,) if 8 * size <= last), last}))


def measure_speed(probe: Probe, *, rows: int, top: int, sizes: Sequence[int] | None = None) -> ThroughputLine | None:
    """The throughput line, from small to large until an update would be slow. `None` where only one size exists.

    A size that is no rung is timed at the rung that holds it, because that is the work done. Times that are far from
    a line are taken once more, and the least of both counts; where it is still none, the line is not `straight`, and
    sizes between are timed too: a size is then chosen by times, and one that was never timed could not be.
    """
    wanted = sorted({rung_for(size, top) for size in sizes}) if sizes else speed_sizes(top)
    samples: dict[int, np.ndarray] = {}
    for micro in wanted:
        if len(samples) > 1 and fit_throughput(samples).line.seconds(micro) > SLOW_SECONDS:
            break
        samples[micro] = probe.seconds(_whole(micro, rows), REPEATS)
    if len(samples) < 2:
        return None
    if not sizes and len(samples) < len(wanted):  # Stopped at two: any two times lie on a line.
        samples = {micro: probe.seconds(_whole(micro, rows), REPEATS) for micro in sorted(_with_middles(samples))}
    samples = _timed_again(probe, samples, rows=rows, turns=TURNS - 1)
    if not fit_throughput(samples).straight:
        samples = _timed_again(probe, samples, rows=rows, turns=TURNS)
    if not sizes and not fit_throughput(samples).straight:
        more = sorted(_with_middles(samples) - samples.keys())
        new = in_turns(probe, [_whole(micro, rows) for micro in more], TURNS) if more else []
        samples |= dict(zip(more, new, strict=True))
    return fit_throughput(samples)


def _with_middles(samples: dict[int, np.ndarray]) -> set[int]:
    return {*samples, *middles(tuple(sorted(samples)))}


def middles(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The powers of two halfway, by factors, between neighbours that are more than a factor of eight apart.

    >>> middles((1, 64, 8192)), middles((1, 64)), middles((1, 4))
    ((8, 512), (8,), ())
    """
    pairs = pairwise(sizes)
    return tuple(1 << int(math.log2(low * high) / 2) for low, high in pairs if high > 8 * low)


def _timed_again(probe: Probe, samples: dict[int, np.ndarray], *, rows: int, turns: int) -> dict[int, np.ndarray]:
    """`samples` and `turns` more of each size that is not far too slow."""
    again = [micro for micro, seconds in samples.items() if seconds.min() <= FAR_TOO_SLOW]
    more = in_turns(probe, [_whole(micro, rows) for micro in again], turns)
    return samples | {micro: np.concatenate((samples[micro], new)) for micro, new in zip(again, more, strict=True)}


def _whole(micro: int, rows: int) -> BatchSpec:
    return BatchSpec(size=min(micro, rows), micro_size=micro)


def in_turns(probe: Probe, specs: Sequence[BatchSpec], turns: int = TURNS) -> list[np.ndarray]:
    """Seconds of updates at `specs`, `f64[timings]` each: all in a turn, short ones more, far too slow ones once."""
    found = [probe.seconds(spec, REPEATS) for spec in specs]
    for _ in range(turns - 1):
        for place, spec in enumerate(specs):
            if found[place].min() <= FAR_TOO_SLOW:
                found[place] = np.concatenate((found[place], probe.seconds(spec, _repeats(found[place]))))
    return found


def timed(probe: Probe, micros: Sequence[int], *, rows: int) -> list[float]:
    """Seconds of these sizes, the least of timings in turns: those to choose between may lie off the line of all."""
    return [float(seconds.min()) for seconds in in_turns(probe, [_whole(micro, rows) for micro in micros])]


def _repeats(seconds: np.ndarray) -> int:
    return MORE_REPEATS if seconds.min() < SHORT_SECONDS else REPEATS


@dataclass(frozen=True)
class Accumulation:
    """Seconds of an update of k micro-batches of `micro_size`: `fixed_seconds + k * micro_seconds`."""

    micro_size: int
    fixed_seconds: float
    micro_seconds: float

    def seconds(self, size: float) -> float:
        return self.fixed_seconds + math.ceil(size / self.micro_size) * self.micro_seconds


def measure_accumulation(probe: Probe, micro_size: int, *, rows: int) -> Accumulation:
    """Time one and several (up to 4) micro-batches per update: what the first costs more is saved by accumulating.

    `rows` > `micro_size`; the last micro-batch may be partly empty, which costs as much as a full one.
    """
    size = min(4 * micro_size, rows)
    one, many = (
        float(seconds.min()) for seconds in in_turns(probe, [BatchSpec(s, micro_size) for s in (micro_size, size)])
    )
    micro = max((many - one) / (-(-size // micro_size) - 1), 0.0)
    return Accumulation(micro_size, max(one - micro, 0.0), micro)


@dataclass(frozen=True)
class Pilot:
    """The noise scale as the pilot saw it, and how: `method` in words."""

    noise: NoiseScale
    method: str


def pilot_spec(rows: int, top: int) -> BatchSpec | None:
    """The spec of the pilot: a power of two near a quarter of the data, in 16 micro-batches or more. None for one row.

    Large, because the error of |G|^2 falls faster with the size of an update than with their number; never the whole
    data, so that updates differ.

    >>> pilot_spec(1437, 4096)
    BatchSpec(size=256, micro_size=16, length=None, updates=1)
    """
    if rows < 2:
        return None
    size = 1 << (max(min(PILOT_SIZE, rows // 4), 2).bit_length() - 1)
    return BatchSpec(size=size, micro_size=min(max(size // MICRO_STEPS, 1), PILOT_MICRO, top))


def measure_noise(
    probe: Probe,
    *,
    rows: int,
    top: int,
    budget_seconds: float = 3.0,
    line: Speed | None = None,
    spread: float = GOOD_SPREAD,
) -> Pilot:
    """Pilots of growing length, until log(noise scale) is known to `spread` or the budget is spent.

    A pilot starts afresh each time, so the next one is made as long as the last one says is needed. The budget:
    `PILOT_EPOCHS` passes over the data, and `budget_seconds` by the throughput `line`; 8 updates are always run.
    """
    spec = pilot_spec(rows, top)
    if spec is None or rows < FEWEST_ROWS:
        why = "one row has no spread" if rows < 2 else f"{rows} rows are too few to tell their spread from their mean"
        return Pilot(NoiseScale.unknown(), f"not measured: {why}")
    seconds = line.seconds(spec.micro_size) * spec.micro_steps if line else 0.0
    affordable = min(PILOT_EPOCHS * rows / spec.size, budget_seconds / seconds if seconds > 0 else math.inf)
    updates = max(int(min(FIRST_UPDATES, affordable)), FEWEST_UPDATES)
    while True:
        noise = estimate(probe.moments(spec, updates), population=rows)
        if noise.updates < 1:
            return Pilot(noise, "not measured: the loss is no sum over examples, or no update was finite")
        wanted = updates * min((noise.log_sd / spread) ** 2, 4.0)
        longer = int(min(max(wanted, 1.5 * updates), affordable))
        if noise.log_sd <= spread or longer < 1.5 * updates:
            break
        updates = longer
    cut = f"{updates} updates of {spec.size} in {spec.micro_steps} micro-batches"
    return Pilot(noise, f"pilot of {cut}; tr(Sigma)/{rows} added to |G|^2 for finite data")


def pilots_in(seconds: float, *, rows: int, top: int, line: Speed | None = None) -> int:
    """Pilots of `FEWEST_UPDATES` that so many seconds pay for by the throughput `line`, at least one."""
    spec = pilot_spec(rows, top)
    each = 0.0 if spec is None or line is None else line.seconds(spec.micro_size) * spec.micro_steps * FEWEST_UPDATES
    return max(int(min(seconds / each, rows)), 1) if each > 0 else rows
