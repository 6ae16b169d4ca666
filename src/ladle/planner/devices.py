"""How many devices: what a plan made on one device and the line of an all-reduce say of any number of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Evidence, Plan, Source
from ladle.core.reducer import Reducer
from ladle.core.scaling.devices import (
    Compute,
    Entry,
    Link,
    best_size,
    fit_link,
    knee,
    relative_time,
    require_divides,
    require_share,
    update_seconds,
)
from ladle.core.spec import require_count
from ladle.core.speed import Speed
from ladle.planner.throughput import between

REPEATS = 7
"""Timings of a sum. The least counts, for a busy machine only adds time."""

SMALL_BYTES, FEWEST_BYTES, MOST_BYTES = 1 << 10, 1 << 20, 1 << 26
"""Sums are timed at the first, for the delay, and at eight times the gradient within the other two."""

FORECAST = (
    "Numbers of devices that are not here are a forecast: sums over a ring, nothing at the same time as the gradient, "
    "every device as fast as the one that was measured."
)

UNRESOLVED = (
    "The gradient noise is not resolved, so every number of devices keeps the batch of one, to the next multiple: "
    "their times compare the seconds of an update."
)


@dataclass(frozen=True)
class MeasuredLink:
    """A link with where it comes from: "measured", with `method` in words, or "given"."""

    link: Link
    source: Source
    method: str


def require_devices(devices: Sequence[int], rows: int, size: int | None) -> tuple[int, ...]:
    """Numbers of devices, ascending, each once.

    Raises `ArgumentError` for what is no such list, more devices than rows, and numbers that do not divide a `size`.

    >>> require_devices([4, 1, 2, 2], 1000, 64)
    (1, 2, 4)
    """
    if isinstance(devices, str | int) or not devices:
        why = "each is planned for"
        raise ArgumentError(must("devices", "be a list of numbers", devices, why, "devices=[1, 2, 4, 8]"))
    if size is not None and require_count("size", size) > rows:
        raise ArgumentError(
            must("size", f"be at most the {rows:,} rows", size, "a batch holds each row once", f"size={rows}")
        )
    for count in devices:
        require_share(count, rows)
        if size is not None:
            require_divides(count, size)
    return tuple(sorted({int(count) for count in devices}))


def measure_link(reducer: Reducer, gradient_bytes: int) -> MeasuredLink:
    """The line of an all-reduce over the devices that are there: two sizes, on 2 of them and on all."""
    large = min(max(8 * gradient_bytes, FEWEST_BYTES), MOST_BYTES)
    counts = sorted({2, reducer.devices})
    points = [(size, count, reducer.seconds(size, count, REPEATS)) for count in counts for size in (SMALL_BYTES, large)]
    over = " and ".join(str(count) for count in counts)
    return MeasuredLink(
        fit_link(points), "measured", f"line through sums of {SMALL_BYTES:,} and {large:,} bytes over {over} devices"
    )


def forecast_devices(
    plan: Plan, counts: Sequence[int], link: Link, gradient_bytes: int, *, rows: int, size: int | None = None
) -> tuple[Entry, ...]:
    """What one device and each of `counts` would do, by number; every entry predicted.

    The batch of one device is the plan's; that of n has the least time to a target by the noise scale. Where the noise
    is not resolved it is the multiple of n next to the plan's size, and the noise scale the one that the plan assumed;
    where `size` is given, all have it.

    Raises `ArgumentError` where the plan has no throughput line.

    >>> from ladle.planner.choose import choose
    >>> from ladle.planner.fakes_test import FakeProbe
    >>> plan = choose(FakeProbe(), rows=2**20, pilot_seconds=1e9)
    >>> one, four = forecast_devices(plan, [4], Link(0.0, 0.0), 1000, rows=2**20)
    >>> one.size == plan.size, one.time, four.size > one.size, 0.25 < four.time < 1
    (True, 1.0, True, True)
    """
    compute, noise = compute_of(plan), noise_of(plan)

    def parts(batch: int, devices: int) -> tuple[float, float]:
        return update_seconds(compute, link, gradient_bytes, batch, devices)

    def batch_of(devices: int) -> int:
        if size is not None or devices == 1:
            return size or plan.size
        if plan.noise.verdict != "resolved":
            return devices * min(max(round(plan.size / devices), 1), rows // devices)
        return best_size(lambda batch: sum(parts(batch, devices)), devices, noise=noise, rows=rows)

    base = batch_of(1)
    whole = sum(parts(base, 1))
    entries = []
    for count in sorted({1, *counts}):
        batch = batch_of(count)
        own, shared = parts(batch, count)
        time = relative_time(batch, own + shared, base_size=base, base_seconds=whole, noise=noise)
        entries.append(Entry(count, batch, own + shared, own, shared, "predicted", time))
    return tuple(entries)


def with_measured(plan: Plan, entries: Sequence[Entry], seconds: Mapping[int, float]) -> tuple[Entry, ...]:
    """`entries` with the measured seconds of an update by number of devices in the place of the predicted ones.

    What was measured is compared with what one device was measured to take, what was predicted with what it was
    predicted to; without a measured one device, nothing is measured.
    """
    if 1 not in seconds:
        return tuple(entries)
    one, noise = next(entry for entry in entries if entry.devices == 1), noise_of(plan)

    def measured(entry: Entry) -> Entry:
        took = seconds.get(entry.devices)
        if took is None:
            return entry
        time = relative_time(entry.size, took, base_size=one.size, base_seconds=seconds[1], noise=noise)
        return replace(entry, seconds=took, source="measured", time=time)

    return tuple(measured(entry) for entry in entries)


def with_devices(plan: Plan, entries: Sequence[Entry], link: MeasuredLink | None, gradient_bytes: int) -> Plan:
    """`plan` with the entries in its curves, and the numbers behind them in its evidence."""
    numbers = [Evidence("gradient_bytes", gradient_bytes, "bytes", "predicted", "four bytes for each weight")]
    if link is not None:
        delay, each = link.link.latency_seconds, link.link.byte_seconds
        numbers.append(Evidence("allreduce_latency_seconds", delay, "s/step", link.source, link.method))
        numbers.append(Evidence("allreduce_byte_seconds", each, "s/byte", link.source, link.method))
    if (found := knee(entries)) is not None:
        how = "the last number before an added device brings less than half of the first"
        numbers.append(Evidence("devices_knee", found, "devices", "predicted", how))
    told = [] if plan.noise.verdict == "resolved" else [UNRESOLVED]
    told += [FORECAST] if any(entry.source == "predicted" and entry.devices > 1 for entry in entries) else []
    return replace(
        plan,
        evidence=(*plan.evidence, *numbers),
        curves={**plan.curves, "devices": [asdict(entry) for entry in entries]},
        notes=(*plan.notes, *told),
    )


def noise_of(plan: Plan) -> float:
    """The noise scale by which a plan compares sizes: measured, or the one it assumed."""
    if plan.noise.verdict == "resolved":
        return plan.noise.value
    assumed = plan.number("noise_scale_assumed")
    return assumed.value if assumed else 0.0


def compute_of(plan: Plan) -> Compute:
    """Seconds of one device by examples, from the plan's numbers. At the plan's own size they are the plan's.

    A plan whose batches are cut knows two times of an update, of one micro-batch and of all of its: the rest of the
    first, apart from its micro-batch, is what an update costs of its own.

    Raises `ArgumentError` where the plan has no throughput line.
    """
    fixed, each, largest = (
        plan.number(name) for name in ("fixed_seconds", "per_example_seconds", "largest_micro_size")
    )
    if fixed is None or each is None:
        why = "seconds on more devices follow from it"
        raise ArgumentError(must("plan", "have a throughput line", None, why, "a plan for more than one row"))
    micro, steps = _micro(plan, Speed(fixed.value, each.value)), plan.first.micro_steps
    most = plan.micro_size if steps > 1 or largest is None else max(int(largest.value), plan.size)
    speed = plan.number("examples_per_second")
    if steps == 1 or speed is None:
        return Compute(micro, most)
    one = micro(most)
    return Compute(micro, most, own=one - (plan.size / speed.value - one) / (steps - 1))


def _micro(plan: Plan, line: Speed) -> Callable[[float], float]:
    """Seconds of an update of one micro-batch: the line's, or between the measured times where they lie on none."""
    points = tuple(
        (int(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in plan.curves.get("throughput", ())
    )
    if plan.bound != "unresolved speed" or len(points) < 2:
        return line.seconds
    return lambda rows: between(points, rows)
