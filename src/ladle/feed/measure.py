"""Where the time of a feed goes: order, read, decode, collate, transfer, each by itself, and what to change."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ladle.core.cursor import Cursor
from ladle.core.errors import EndOfStream
from ladle.core.spec import BatchSpec
from ladle.feed.arrays import leaves
from ladle.feed.host import HostFeed, Stack
from ladle.feed.prefetch import PrefetchedFeed

HELPS = 1.15
"""Readers ahead are worth their trouble from this factor on."""


@dataclass(frozen=True)
class FeedReport:
    """What was measured of a feed. Seconds are per example; rates are examples per second.

    - `stages`: `{"order", "read", "decode", "collate", "transfer"}` -> seconds. A source that reads and decodes in one
      call has no "decode": "read" holds both.
    - `rates`: readers -> examples per second through the whole feed: 0 reads nothing ahead.
    - `example_bytes`: of one example as it is handed out. `batch`: examples per batch. `measured`: examples that
      `stages` were measured on.
    - `quality`: variance between batches over that of a true shuffle, on data sorted by block; 1.0 for a global order.
    - `padding_fraction`: share of token slots that hold padding; None where rows have no length.
    """

    stages: dict[str, float]
    rates: dict[int, float]
    example_bytes: float
    batch: int
    measured: int
    quality: float = 1.0
    padding_fraction: float | None = None
    memory_bytes: int | None = None

    @property
    def best(self) -> int:
        """The number of readers to use: the fewest that come within 5 % of the fastest."""
        fastest = max(self.rates.values())
        return min(readers for readers, rate in self.rates.items() if rate >= 0.95 * fastest)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to change, the most worthwhile first; one sentence each."""
        return tuple(_advice(self))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "best": self.best, "advice": list(self.advice)}

    def __str__(self) -> str:
        total = sum(self.stages.values())
        lines = [f"{'stage':10} {'us an example':>14} {'share':>6}"]
        lines += [f"{name:10} {1e6 * each:14.3f} {each / total:6.0%}" for name, each in self.stages.items()]
        lines += ["", f"{'readers':10} {'examples/s':>14} {'MB/s':>8}"]
        for readers, rate in self.rates.items():
            lines.append(f"{readers:<10} {rate:14,.0f} {rate * self.example_bytes / 1e6:8,.0f}")
        waits = 1e6 / max(self.rates.values())
        lines += ["", f"A step that takes {waits:.3g} us an example or more does not wait for this feed."]
        if self.padding_fraction is not None:
            lines.append(f"Padding: {self.padding_fraction:.1%} of all token slots.")
        if self.quality > 1.05:
            lines.append(f"Order: batches vary {self.quality:.3g} times as much as shuffled ones if sorted by block.")
        if self.memory_bytes is not None:
            lines.append(f"Memory: the source keeps up to {self.memory_bytes / 1e6:,.0f} MB while it is read.")
        return "\n".join([*lines, *self.advice])


def measure(
    feed: HostFeed,
    batch: int,
    *,
    place: Callable[[Any], Any] = lambda tree: tree,
    seconds: float = 1.0,
    readers: tuple[int, ...] = (0, 1, 2),
) -> FeedReport:
    """Draw batches of `batch` examples and time each stage for about `seconds` each.

    - `place`: puts a tree of arrays on the device and waits until it is there.

    What was read before may still be in the system's memory: a disk is slower the first time.

    >>> from ladle.feed.arrays import Arrays
    >>> from ladle.feed.order import Permuted
    >>> feed = HostFeed(Arrays({"x": np.zeros((1000, 8), np.float32)}), Permuted(1000))
    >>> sorted(measure(feed, 64, seconds=0.01).stages)
    ['collate', 'order', 'read', 'transfer']
    """
    batch = min(batch, feed.epoch_size)
    totals: dict[str, float] = dict.fromkeys(("order", "read", "decode", "collate", "transfer"), 0.0)
    sums, count, size = {}, 0, 0
    deadline, position = time.perf_counter() + 5 * seconds, 0
    while not count or time.perf_counter() < deadline:
        spent, held, more = _stages(feed, position, batch, place)
        totals = {name: totals[name] + spent[name] for name in totals}
        sums = {name: sums.get(name, 0.0) + value for name, value in more.items()}
        size = held
        count, position = count + batch, position + batch
    slots, apart = sums.get("token_slots"), hasattr(feed.source, "fetch")
    return FeedReport(
        stages={name: total / count for name, total in totals.items() if name != "decode" or apart},
        rates={n: _rate(feed, batch, n, place, seconds, position) for n in readers},
        example_bytes=size / batch,
        batch=batch,
        measured=count,
        quality=feed.order.quality(batch) if hasattr(feed.order, "quality") else 1.0,  # type: ignore[attr-defined]
        padding_fraction=1 - sums["tokens"] / slots if slots else None,
        memory_bytes=getattr(feed.source, "memory_bytes", None),
    )


def _stages(feed: HostFeed, start: int, batch: int, place: Callable[[Any], Any]) -> Any:
    """Seconds of each stage for one batch, bytes of it, and what it counted."""
    source, collate = feed.source, feed.collate
    clock = [time.perf_counter()]
    ids = feed.order.ids(start, batch)
    clock.append(time.perf_counter())
    fetch = getattr(source, "fetch", None)
    if fetch is not None:
        fetch(ids)
    clock.append(time.perf_counter())
    position = np.arange(start, start + batch)
    extent = collate.extent(source, ids, position)
    taken = None if not isinstance(collate, Stack) and fetch is None else source.take(ids)
    clock.append(time.perf_counter())
    rows = collate(source, ids, position, extent, batch) if not isinstance(collate, Stack) else None
    clock.append(time.perf_counter())
    data = taken if rows is None else rows.data
    place(data)
    clock.append(time.perf_counter())
    order, read, take, whole, transfer = np.diff(clock).tolist()
    if rows is not None:  # A collate reads by itself: what is left when its reading is taken off is its own.
        before = time.perf_counter()
        source.take(ids)
        take = time.perf_counter() - before
        whole = max(whole - take, 0.0)
    decode = max(take - read, 0.0) if fetch is not None else 0.0
    read = min(read, take) if fetch is not None else take
    spent = {"order": order, "read": read, "decode": decode, "collate": whole, "transfer": transfer}
    held = sum(getattr(leaf, "nbytes", 0) for _, leaf in leaves(data))
    return spent, held, {} if rows is None else rows.sums


def _rate(feed: HostFeed, batch: int, readers: int, place: Callable[[Any], Any], seconds: float, start: int) -> float:
    """Examples per second through the whole feed, after its first two batches."""
    ahead, cursor, count = PrefetchedFeed(feed, workers=readers), Cursor(start), 0
    begun = math.inf
    for number in range(2**62):
        try:
            draw, cursor = ahead.draw(cursor, BatchSpec(batch, batch))
        except EndOfStream:
            break
        for micro in draw.micro_batches(0, batch):
            place(micro.data)
        if number >= 2:
            count += draw.counts[0]
            if time.perf_counter() - begun > seconds:
                break
        elif number == 1:
            begun = time.perf_counter()
    elapsed = time.perf_counter() - begun
    ahead.close()
    return count / elapsed


def _advice(report: FeedReport) -> Any:
    alone, fastest = report.rates.get(0, math.nan), max(report.rates.values())
    best, slowest = report.best, max(report.stages, key=lambda name: report.stages[name])
    if best and fastest > HELPS * alone:
        yield f"Read ahead with {best} reader{'s' * (best > 1)}: {fastest / alone:.2g} times the rate of none."
    elif not best:
        yield "Readers ahead do not help here: rows are gathered faster than they can be handed over."
    share = report.stages[slowest] / sum(report.stages.values())
    if share < 0.4:
        return
    yield {
        "order": f"The order takes {share:.0%}: larger batches share its cost.",
        "read": f"Reading takes {share:.0%}: keep the data in fewer, larger blocks, nearer, or in memory if it fits; "
        "a dataset read item by item should answer whole batches (__getitems__).",
        "decode": f"Decoding takes {share:.0%}: store what is trained on (smaller images, decoded arrays), or decode "
        "in processes where it is written in Python.",
        "collate": f"Collating takes {share:.0%}: bucket by length, or pack rows once.",
        "transfer": f"The transfer takes {share:.0%}: send smaller types (bytes, not floats) and convert on the "
        "device, or keep the data on the device if it fits (lane='device').",
    }[slowest]
