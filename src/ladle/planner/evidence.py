"""What was found, written down: the numbers of a plan with their sources, the points of its picture, its notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ladle.core.explain import bytes_text
from ladle.core.noise import NoiseScale
from ladle.core.plan import Evidence
from ladle.planner.course import Reading, moved
from ladle.planner.decide import Choice
from ladle.planner.energy import EnergyPrice
from ladle.planner.measure import Pilot
from ladle.planner.memory import MemoryLine
from ladle.planner.rate import Rate
from ladle.planner.throughput import CROOKED, ThroughputLine

MISSED = 0.2
"""Share of the predicted memory that a child process may use beyond it without a note."""


NOT_MEASURED = Pilot(NoiseScale.unknown(), "not measured")


@dataclass(frozen=True)
class Findings:
    """All that was asked of the probe before a size was chosen.

    - `top`: the largest micro-batch predicted to fit. `pilot`: the noise scale that the size is planned with;
      `course`: what it was in the course of a run, where that was looked at.
    """

    rows: int
    limit_bytes: int
    limit_method: str
    limit_given: bool
    top: int
    memory: MemoryLine | None
    speed: ThroughputLine | None
    pilot: Pilot = NOT_MEASURED
    price: EnergyPrice | None = None
    course: tuple[Reading, ...] = ()


@dataclass(frozen=True)
class Confirmed:
    """Memory of the chosen spec: as predicted, and as measured in the child process; None where it was not run."""

    predicted_bytes: int
    measured_bytes: int | None


def evidence(
    found: Findings, choice: Choice, memory: Confirmed, rate: Rate, *, joules: float | None
) -> tuple[Evidence, ...]:
    """Every number behind the choice."""
    return (
        *_memory(found, choice, memory),
        *_speed(found.speed, found.rows),
        *_energy(found.price),
        *_noise(found.pilot, found.course, choice),
        *_size(found, choice),
        *rate.evidence(choice.spec.size),
        *([] if joules is None else [Evidence("joules", joules, "J/update", "measured", "energy meter, chosen size")]),
    )


def _memory(found: Findings, choice: Choice, memory: Confirmed) -> list[Evidence]:
    source = "given" if found.limit_given else "measured"
    numbers = [Evidence("memory_limit_bytes", found.limit_bytes, "bytes", source, found.limit_method)]
    if found.memory:
        at = ", ".join(str(size) for size, _ in found.memory.points)
        how = f"line through predictions at micro-batches {at}"
        numbers += [
            Evidence("memory_fixed_bytes", found.memory.fixed_bytes, "bytes", "predicted", how),
            Evidence("memory_per_example_bytes", found.memory.per_example_bytes, "bytes/example", "predicted", how),
        ]
    everything = found.top >= found.rows
    largest = "all rows" if everything else "largest power of two"
    largest += ", predicted to be within the limit"
    used, how, ran = memory.measured_bytes, "shapes alone, chosen micro-batch", "peak of a child process, chosen size"
    return [
        *numbers,
        Evidence("largest_micro_size", min(found.top, found.rows), "examples", "predicted", largest),
        Evidence("memory_predicted_bytes", memory.predicted_bytes, "bytes", "predicted", how),
        *([] if used is None else [Evidence("memory_measured_bytes", used, "bytes", "measured", ran)]),
    ]


def _speed(speed: ThroughputLine | None, rows: int) -> list[Evidence]:
    if speed is None:
        return []
    at = ", ".join(str(point[0]) for point in speed.points)
    how = f"t = alpha + beta B through the least times at {at}"
    alpha, beta, knee = speed.line.fixed_seconds, speed.line.per_example_seconds, speed.line.knee
    numbers = [
        _spread("fixed_seconds", alpha, "s/update", how, 1.96 * speed.fixed_sd),
        _spread("per_example_seconds", beta, "s/example", how, 1.96 * speed.per_example_sd),
    ]
    if 0 < knee < math.inf:
        factor = math.exp(min(1.96 * speed.log_knee_sd, 700.0))
        ends = (knee / factor, knee * factor) if math.isfinite(speed.log_knee_sd) else (math.nan, math.nan)
        how = "alpha / beta: half of the largest throughput"
        numbers.append(Evidence("knee", knee, "examples", "measured", how, *_sizes(knee, *ends, rows)))
    return numbers


def _sizes(value: float, low: float, high: float, rows: int) -> tuple[float | None, float | None]:
    """The interval of a size, within the sizes that exist (or up to `value` itself); None for an end not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return None, None
    return max(low, min(1.0, value)), min(high, max(float(rows), value))


def _energy(price: EnergyPrice | None) -> list[Evidence]:
    if price is None:
        return []
    fit, at = price.joules, ", ".join(str(point[0]) for point in price.joules.points)
    how = f"e = e0 + e1 B through the least joules at {at}"
    numbers = [
        _spread("fixed_joules", fit.line.fixed_seconds, "J/update", how, 1.96 * fit.fixed_sd),
        _spread("per_example_joules", fit.line.per_example_seconds, "J/example", how, 1.96 * fit.per_example_sd),
    ]
    if price.share < 1:
        how = "the highest mean power at the timed sizes"
        source, how = ("given", "given") if price.power_given else ("measured", how)
        numbers.append(Evidence("power_watts", price.power_watts, "W", source, how))
        numbers.append(Evidence("energy_share", price.share, "", "given", "energy against time"))
    if 0 < price.fit.line.knee < math.inf:
        how = "fixed part over part per example of what is minimised"
        numbers.append(Evidence("energy_knee", price.fit.line.knee, "examples", "measured", how))
    return numbers


def _spread(name: str, value: float, unit: str, method: str, gap: float) -> Evidence:
    return Evidence(name, value, unit, "measured", method, max(value - gap, 0.0), value + gap)


def _noise(pilot: Pilot, course: Sequence[Reading], choice: Choice) -> list[Evidence]:
    noise, numbers = pilot.noise, []
    if math.isfinite(noise.gradient_sq):
        numbers.append(Evidence("gradient_sq", noise.gradient_sq, "", "measured", pilot.method))
        numbers.append(Evidence("gradient_variance", noise.trace, "", "measured", pilot.method))
    if math.isfinite(noise.value):
        high = noise.high if math.isfinite(noise.high) else None
        numbers.append(Evidence("noise_scale", noise.value, "examples", "measured", pilot.method, noise.low, high))
    elif noise.low > 0:
        numbers.append(Evidence("noise_scale_low", noise.low, "examples", "measured", pilot.method))
    if len(course) > 1:
        for name, reading in (("noise_scale_early", course[0]), ("noise_scale_late", course[-1])):
            if reading.noise.verdict == "resolved":
                how = f"up to {reading.updates} updates of {reading.size}; {reading.pilot.method}"
                ends = reading.noise.low, reading.noise.high
                numbers.append(Evidence(name, reading.noise.value, "examples", "measured", how, *ends))
    if choice.assumed:
        how = "not resolved, so the one that fits the size"
        numbers.append(Evidence("noise_scale_assumed", choice.noise, "examples", "assumed", how))
    return numbers


def _size(found: Findings, choice: Choice) -> list[Evidence]:
    numbers = []
    if math.isfinite(choice.target):
        ends = _sizes(choice.target, choice.target_low, choice.target_high, found.rows)
        how = "the ideal size before limits and rungs"
        numbers.append(Evidence("target_size", choice.target, "examples", "predicted", how, *ends))
    if math.isfinite(choice.confidence):
        sure = choice.confidence
        numbers.append(Evidence("within_confidence", sure, "probability", "predicted", choice.how))
    if found.speed and choice.seconds > 0:
        how, speed = "size / predicted seconds of an update", choice.spec.size / choice.seconds
        numbers.append(Evidence("examples_per_second", speed, "examples/s", "predicted", how))
    return numbers


def curves(found: Findings, choice: Choice) -> dict[str, Any]:
    """Points for the picture, as lists, so that a plan read back from JSON equals the plan written."""
    return {
        "memory": [list(point) for point in found.memory.points] if found.memory else [],
        "throughput": [list(point) for point in found.speed.points] if found.speed else [],
        "target": [list(point) for point in choice.curve],
    }


def notes(found: Findings, choice: Choice, memory: Confirmed, rate: Rate) -> tuple[str, ...]:
    """What a careful reader would want to be told, one sentence each."""
    noise, said = found.pilot.noise, []
    if noise.verdict == "resolved" and choice.bound == "data":
        said.append("The best size is larger than the data: every update uses all rows.")
    if choice.bound == "memory":
        said.append("Cutting a larger batch into micro-batches would not reach the target sooner.")
    if choice.spec.micro_steps > 1:
        said.append("Each update has a fixed cost, so several micro-batches per update are worth it.")
    if found.speed and not found.speed.straight:
        said.append(
            f"Time per update is no line in the size, even measured again: {found.speed.fault}. "
            "Where other programs run, plan again without them."
        )
    if found.price and found.price.joules.worst > CROOKED:
        worst = found.price.joules.worst
        said.append(f"Energy per update is not quite a line in the size: off by {worst:.0%} at worst.")
    if found.memory and found.memory.worst > CROOKED:
        said.append(f"Memory is not quite a line in the micro-batch: off by {found.memory.worst:.0%} at worst.")
    if (used := memory.measured_bytes) is not None and used > (1 + MISSED) * memory.predicted_bytes:
        more = bytes_text(used - memory.predicted_bytes)
        said.append(f"The child process used {more} more than predicted: some memory is the runtime's own.")
    if moved(found.course):
        first, last = found.course[0], found.course[-1]
        said.append(
            f"The noise scale moves: {first.noise.value:.3g} in the first {first.updates} updates of {first.size}, "
            f"{last.noise.value:.3g} in the last of {last.updates}. The size is the best single one for a run of that "
            "length."
        )
    if noise.verdict == "heavy tails":
        said.append(
            "A few updates hold most of the measured variance of the gradient: its tails are heavy, or the updates too "
            "few. Such a mean is mostly too small, so the noise scale has no upper end that could be relied on."
        )
    return (*said, *rate.notes(choice.spec.size, noise))
