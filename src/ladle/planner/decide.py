"""From what was measured to a size: pure functions, no probe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

from ladle.core.noise import NoiseScale
from ladle.core.spec import BatchSpec, rung_for
from ladle.core.speed import Speed
from ladle.planner.measure import Accumulation
from ladle.planner.sure import SURE, surely_within
from ladle.planner.target import Cost, best_log_sd, frugal_size
from ladle.planner.throughput import ThroughputLine

Minimize = Literal["time", "examples", "energy", "cost"]

SHARE = 0.05
"""What "as good as the best" means: 5 % more time, or 5 % more examples."""

FULL_SPEED = 0.8
"""Without a noise scale: the smallest size with this share of the largest throughput, which is 4 knees."""

FEWEST_UPDATES_A_PASS = 20
"""Without a noise scale no speed is worth fewer updates a pass than this."""


@dataclass(frozen=True)
class Choice:
    """A size with its reasons, before it was confirmed.

    - `target`: the ideal size, not rounded, with its 95 % interval `target_low`, `target_high` (nan where unknown).
    - `noise`: the noise scale that was used, measured or (`assumed`) the one for which the size is best.
    - `within`: the sizes that are as good as the best with probability `confidence`; the chosen one alone where that
      is below `SURE` (nan: not known); `how`: from which errors.
    - `seconds`: predicted seconds of an update. `curve`: `(size, cost relative to the best)`; empty where assumed.
    """

    spec: BatchSpec
    bound: str
    within: tuple[int, int]
    target: float
    target_low: float
    target_high: float
    noise: float
    assumed: bool
    seconds: float
    curve: tuple[tuple[int, float], ...]
    confidence: float = math.nan
    how: str = "the errors of knee and noise scale, as log-normal"


def decide(
    noise: NoiseScale,
    line: ThroughputLine | None,
    *,
    rows: int,
    top: int,
    minimize: Minimize,
    accumulation: Callable[[], Accumulation],
    price: ThroughputLine | None = None,
) -> Choice:
    """The size that reaches a target soonest, or with hardly more examples than the fewest, within the limits.

    - `top`: the largest micro-batch that fits. `line` is None where only one size exists.
    - `price`: what an update costs in joules or another unit, minimised in place of its seconds.
    - `accumulation` is asked only where the ideal size is above `top`; in the unit of what is minimised.

    Sizes are powers of two, or all rows, which are one micro-batch of their own number where they fit. Where the times
    lie on no line the size with the least predicted time between the measured ones is taken, and no ideal size is told.
    """
    speed = line or ThroughputLine(Speed(1.0, 0.0), 0.0, 0.0, math.inf, (), 0.0)
    if minimize == "examples":
        return _frugal(noise, speed.line, rows=rows, top=top)
    if noise.verdict != "resolved":
        choice = _by_speed(noise, (price or speed).line, rows=rows, top=top)
    else:
        choice = _soonest(noise, price or speed, rows=rows, top=top, accumulation=accumulation)
    return choice if price is None else replace(choice, seconds=_seconds(speed.line, choice.spec))


def _seconds(speed: Speed, spec: BatchSpec) -> float:
    """Of an update, where what was minimised is not time."""
    return speed.seconds(spec.micro_size) * spec.micro_steps


def _soonest(
    noise: NoiseScale, speed: ThroughputLine, *, rows: int, top: int, accumulation: Callable[[], Accumulation]
) -> Choice:
    """The smallest predicted time to target.

    Above `top` an update is cut into micro-batches. That pays only if an update has a cost of its own apart from its
    micro-batches, so that share is measured, and larger sizes are considered only if the best one then is above `top`.
    """
    cost = Cost(speed.line.fixed_seconds, speed.line.per_example_seconds, noise=noise.value)
    straight, own = speed.straight or len(speed.points) < 2, speed.log_knee_sd
    more = accumulation() if (cost.best > top or not straight) and top < rows else None
    reach = min(rows, top)
    if more:
        cut = Cost(more.fixed_seconds, more.micro_seconds / top, noise=noise.value)
        cost, reach = (cut, rows) if cut.best > top else (cost, top)

    def seconds(size: int) -> float:
        return more.seconds(size) if more and size >= top else speed.seconds(size)

    curve = {size: (1 + noise.value / size) * seconds(size) for size in _sizes(reach)}
    size = min(curve, key=lambda candidate: (curve[candidate], candidate))
    if straight:
        within, confidence = surely_within(cost, own, noise.log_sd, size, share=SHARE, largest=reach)
    else:
        within, confidence = (size, size), math.nan
    spread, best = 1.96 * best_log_sd(own, noise.log_sd), cost.best if straight else math.nan
    return Choice(
        spec=BatchSpec(size=size, micro_size=_micro(size, rows, top)),
        bound=_bound(best, reach=reach, rows=rows) if straight else "unresolved speed",
        within=within,
        confidence=confidence,
        target=best,
        target_low=best * math.exp(-spread),
        target_high=best * math.exp(spread) if spread < 100 else math.inf,
        noise=noise.value,
        assumed=False,
        seconds=seconds(size),
        curve=tuple((at, value / curve[size]) for at, value in curve.items()),
    )


def taken(
    choice: Choice,
    size: int,
    speed: ThroughputLine,
    *,
    within: tuple[int, int],
    confidence: float,
    rows: int,
    top: int,
) -> Choice:
    """`choice` with the `size` that trials preferred, and with what they say of sizes around it."""
    base = dict(choice.curve).get(size, 1.0)
    return replace(
        choice,
        spec=BatchSpec(size=size, micro_size=_micro(size, rows, top)),
        within=(within[0], min(within[1], top)),
        confidence=confidence,
        how="the errors of trials and of the forecast; the best is that of the sizes that were run",
        seconds=speed.seconds(size),
        curve=tuple((at, value / base) for at, value in choice.curve),
    )


def _by_speed(noise: NoiseScale, speed: Speed, *, rows: int, top: int) -> Choice:
    """Without a resolved noise scale: the rung nearest to `fallback`, in one micro-batch.

    Which other sizes are as good is not known, and not said.
    """
    fixed, each = speed.fixed_seconds, speed.per_example_seconds
    target = fallback(noise, speed.knee, rows=rows)
    size = min(1 << round(math.log2(target)), top, 1 << (rows.bit_length() - 1))
    if each <= 0:
        fixed, each = 1.0, 1 / size
    implied = size**2 * each / fixed if fixed > 0 else 0.0
    return Choice(
        spec=BatchSpec(size=size, micro_size=rung_for(size, top)),
        bound="unresolved noise",
        within=(size, size),
        target=target,
        target_low=math.nan,
        target_high=math.nan,
        noise=implied,
        assumed=True,
        seconds=speed.seconds(size),
        curve=(),
    )


def fallback(noise: NoiseScale, knee: float, *, rows: int) -> float:
    """A sensible size where the noise scale is not resolved, from speed alone.

    4 knees, where throughput is 80 % of its largest: below it the machine idles, above it there is little speed to
    gain and the unknown price in examples only rises. Not above a twentieth of the rows, so that a pass still has 20
    updates; not below sqrt(knee * low), which the best size exceeds if the noise scale exceeds its lower bound.

    >>> round(fallback(NoiseScale.unknown(), 50.0, rows=100_000))
    200
    """
    fast = min(knee * FULL_SPEED / (1 - FULL_SPEED), rows / FEWEST_UPDATES_A_PASS)
    proven = math.sqrt(knee * noise.low) if noise.low > 0 else 0.0
    return min(max(fast, proven, 1.0), float(rows))


def _frugal(noise: NoiseScale, speed: Speed, *, rows: int, top: int) -> Choice:
    """The largest power of two that needs at most 5 % more examples than the fewest: noise scale / 20 or less.

    Where only a lower bound of the noise scale is known, from that bound; where nothing is known, 1.
    """
    resolved = noise.verdict == "resolved"
    scale = noise.value if resolved else noise.low
    target = frugal_size(SHARE, noise=scale)
    limit = min(max(int(target), 1), rows)
    size = rows if limit == rows else 1 << (limit.bit_length() - 1)
    spec = BatchSpec(size=size, micro_size=_micro(size, rows, top))
    within, sure = (1, limit), math.nan
    if resolved and noise.log_sd > 0 and size > 1:  # A batch of one wastes nothing that another size would save.
        wanted = target * math.exp(-NormalDist().inv_cdf(SURE) * noise.log_sd)
        sure = SURE if size <= wanted else NormalDist().cdf(math.log(target / size) / noise.log_sd)
        within = (1, max(min(int(wanted), rows), size))
    measured = "smallest" if target < 1 else "data" if target >= rows else "optimum"
    return Choice(
        spec=spec,
        bound=measured if resolved else "unresolved noise",
        within=within,
        confidence=sure,
        target=target,
        target_low=frugal_size(SHARE, noise=noise.low) if resolved else math.nan,
        target_high=frugal_size(SHARE, noise=noise.high) if resolved else math.nan,
        noise=scale,
        assumed=not resolved,
        seconds=_seconds(speed, spec),
        curve=tuple((at, 1 + at / scale) for at in _sizes(rows)) if resolved and scale > 0 else (),
    )


def _micro(size: int, rows: int, top: int) -> int:
    """Rows of a micro-batch: all rows are one of their own number, any other size shares the program of its rung."""
    return size if size == rows <= top else rung_for(size, top)


def _bound(best: float, *, reach: int, rows: int) -> str:
    """Which limit kept the size from being `best`."""
    if best >= reach:
        return "data" if reach >= rows else "memory"
    return "smallest" if best <= 1 else "optimum"


def _sizes(largest: int) -> tuple[int, ...]:
    """Powers of two below `largest`, and `largest`."""
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)
