"""`ladle.plan(devices=...)`: what numbers of devices would do, measured where they are here, predicted beyond."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ladle.api.assembly import Assembly, assemble, resolve_micro
from ladle.api.travel import as_run
from ladle.core.errors import ArgumentError, must
from ladle.core.plan import Plan
from ladle.core.protocols import Probe
from ladle.core.reducer import Reducer
from ladle.core.scaling.devices import Entry, Link
from ladle.core.spec import BatchSpec, rung_for
from ladle.planner.devices import (
    MeasuredLink,
    compute_of,
    forecast_devices,
    measure_link,
    require_devices,
    with_devices,
    with_measured,
)
from ladle.planner.measure import REPEATS

TURNS = 3
"""Times that all numbers of devices are timed one after the other."""


@dataclass(frozen=True)
class DevicesAsked:
    """Holds what was asked about devices, checked before work begins.

    - `alone`: the task on one device, which the plan is made on. `counts`: numbers of devices, ascending.
    - `reducer`: what times sums here; None where there is one device. `link`: as it was given, or None.
    - `size`: a batch for all of them, or None.
    """

    alone: Assembly
    counts: tuple[int, ...]
    reducer: Reducer | None
    link: Link | None
    size: int | None

    def added(self, plan: Plan, seed: int) -> Plan:
        """`plan`, which was made on one device, with what was asked."""
        size_bytes = 4 * sum(math.prod(one.shape) for one in self.alone.engine.weight_types().values())
        link = self._link(size_bytes)
        known = Link(0.0, 0.0) if link is None else link.link
        entries = forecast_devices(plan, self.counts, known, size_bytes, rows=self.alone.rows, size=self.size)
        entries = with_measured(plan, entries, self._measured(plan, entries, seed))
        asked = [entry for entry in entries if entry.devices in self.counts]
        return with_devices(plan, asked, link, size_bytes)

    def _link(self, size_bytes: int) -> MeasuredLink | None:
        if self.link is not None:
            return MeasuredLink(self.link, "given", "given")
        return None if self.reducer is None else measure_link(self.reducer, size_bytes)

    def _measured(self, plan: Plan, entries: Sequence[Entry], seed: int) -> dict[int, float]:
        """Seconds of an update by number of devices, of those that are here: all of them in turns, the least counts."""
        here = [] if self.reducer is None else [one for one in entries if one.devices <= self.reducer.devices]
        timed = {one.devices: self._probe(plan, one, seed) for one in here}
        fit = {count: found for count, found in timed.items() if found is not None}
        rounds = [[found[0].seconds(found[1], REPEATS) for found in fit.values()] for _ in range(TURNS)]
        return {count: float(np.min([turn[at] for turn in rounds])) for at, count in enumerate(fit)}

    def _probe(self, plan: Plan, entry: Entry, seed: int) -> tuple[Probe, BatchSpec] | None:
        """What times the entry's updates, and at which spec; None where the rows at hand are fewer than its batch."""
        made = self.alone if entry.devices == 1 else assemble(self.alone.task, devices=entry.devices)
        feed = made.measured_feed(seed)
        if entry.size > feed.epoch_size:
            return None
        hyper = dict(made.optimizer.hyper)
        hyper = hyper if plan.lr is None else {**hyper, "lr": plan.lr}
        first = BatchSpec(entry.size, resolve_micro(entry.size, None))
        probe = made.engine.probe(feed, first, hyper=hyper, seed=seed)
        micro = entry.devices * rung_for(entry.share, compute_of(plan).largest)
        return as_run(probe, made.engine, made.feed(seed), hyper=hyper, seed=seed), BatchSpec(entry.size, micro)


def devices_asked(
    task: Assembly, devices: Sequence[int] | None, *, link: str | Link | None, size: int | None, minimize: str
) -> DevicesAsked:
    """What was asked about devices, with the task on one of them. Raises `ArgumentError` where it has no answer."""
    reasons = {"link": (link, "nothing is summed over one device"), "size": (size, "a plan chooses its batch size")}
    for name, (value, why) in reasons.items():
        if devices is None and value is not None:
            raise ArgumentError(must(name, "be left out without devices", value, why, "devices=[1, 2, 4, 8]"))
    if minimize != "time":
        why = "a number of devices is planned by the time to a target"
        raise ArgumentError(must("devices", "be left out with other goals than time", minimize, why, "minimize='time'"))
    counts = require_devices(devices or (), task.rows, size)
    known = None if link is None else Link.from_text(link)
    reducer = task.backend.reducer()
    if known is None and reducer is None and counts[-1] > 1:
        why = "there is one device here, so no sum over several can be timed"
        raise ArgumentError(must("link", "be given", None, why, "link='25GB/s,5us'"))
    alone = task if task.engine.devices == 1 else assemble(task.task, devices=1)
    return DevicesAsked(replace(alone, limit_bytes=task.limit_bytes), counts, reducer, known, size)
