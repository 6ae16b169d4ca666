"""What a plan says of numbers of devices, as text: the line of an all-reduce, a table, the knee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ladle.core.explain import bytes_text, seconds_text
from ladle.core.scaling.devices import PAYS

if TYPE_CHECKING:
    from ladle.core.plan import Plan
    from ladle.core.scaling.devices import Entry

HEAD = ("devices", "batch", "update", "of it all-reduce", "time to target", "device-seconds", "efficiency", "update is")


def devices_lines(plan: Plan) -> list[str]:
    """The part of a plan about devices; no line where none was asked about."""
    if not plan.devices:
        return []
    rule = f"one more device no longer brings {PAYS:.0%} of what the first does"
    knee = plan.number("devices_knee")
    many = "" if knee and knee.value == 1 else "s"
    told = f"Knee: {knee.value:.0f} device{many}, after which {rule} (predicted)." if knee else ""
    return [*_link(plan), *table(plan.devices), told or f"Knee: none among these numbers; {_never(plan)}."]


def table(entries: Sequence[Entry]) -> list[str]:
    """A row for each number of devices, below a head. Time and device-seconds are relative to one device."""
    rows = [HEAD, *(_row(entry) for entry in entries)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(entry: Entry) -> tuple[str, ...]:
    share = entry.allreduce_seconds / entry.predicted_seconds if entry.predicted_seconds > 0 else 0.0
    times = f"{entry.time:.3g}x", f"{entry.cost:.3g}x", f"{entry.efficiency:.0%}"
    return (f"{entry.devices:,}", f"{entry.size:,}", seconds_text(entry.seconds), f"{share:.0%}", *times, entry.source)


def _link(plan: Plan) -> list[str]:
    delay, each, size = (
        plan.number(name) for name in ("allreduce_latency_seconds", "allreduce_byte_seconds", "gradient_bytes")
    )
    if not (delay and each and size):
        return []
    rate = f"{bytes_text(1 / each.value)}/s" if each.value > 0 else "no limit"
    line = f"2 (n - 1) steps of {seconds_text(delay.value)} + 1/n of the bytes at {rate}"
    return [f"A sum of the gradient ({bytes_text(size.value)}) over n devices takes {line} ({each.source})."]


def _never(plan: Plan) -> str:
    most = max(entry.devices for entry in plan.devices)
    return f"up to {most}, every device brings at least {PAYS:.0%} of what the first does" if most > 1 else "one is one"
