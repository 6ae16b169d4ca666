"""`TorchProbe`: the planner's questions about a task of the torch backend. Never touches a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import torch

from ladle.core.cursor import Cursor
from ladle.core.errors import NotConfirmed
from ladle.core.moments import Gauge, Moments
from ladle.core.observation import Observation
from ladle.core.protocols import Feed, Meter
from ladle.core.spec import BatchSpec
from ladle.torch.confirm import ROWS, Job, Remade, confirm, hindrance
from ladle.torch.foresight import Foresight
from ladle.torch.limit import limit_bytes
from ladle.torch.objective import GENERATORS
from ladle.torch.state import State
from ladle.torch.step import TorchStep
from ladle.torch.timing import MOST_UPDATES, runnable, seconds_of
from ladle.torch.trace import Updating
from ladle.torch.tree import cut, has_rows, leaves, mapped
from ladle.torch.untouched import kept_generators

PILOT_UPDATES = 200


@dataclass(frozen=True)
class TorchProbe:
    """Implements `ladle.core.protocols.Probe` for a step of the torch backend and a feed of resident data.

    - `pilot`: the spec that a short pilot trains at. `hyper`: optimiser constants (with `lr`) for it.
    - `meter`: for `joules`; None, or one that does not measure, for none.
    """

    step: TorchStep
    feed: Feed
    pilot: BatchSpec
    hyper: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    meter: Meter | None = None
    paces: dict[BatchSpec, float] = field(default_factory=dict, compare=False, repr=False)
    """Seconds of an update, roughly, of what was timed before."""

    def memory_bytes(self, spec: BatchSpec) -> int:
        """Data that lie on the device, and the peak of an update beside them."""
        return self._data_bytes + self._foresight.bytes(self._runnable(spec))

    def confirm_bytes(self, spec: BatchSpec) -> int:
        """The same, measured in a child process. Raises `RunError` if the child did not survive it."""
        return self.confirm_all([spec])[0]

    def confirm_all(self, specs: Sequence[BatchSpec]) -> list[int]:
        """Several in one child, which makes the model by its importable name; data are added as they lie here."""
        state = self.step.init(self.seed, self.hyper)
        of_rows = {"gauge": self.step.gauge, "device": str(self.step.device), "threads": torch.get_num_threads()}
        asked, make = self.step.objective, Remade.of(state.optimizer)
        job = Job(asked.make, asked.per_row_loss, make, self._rows(ROWS), **of_rows)
        if (why := hindrance(replace(job, batch=None))) is not None:
            raise NotConfirmed(why)
        return [self._data_bytes + peak for peak in confirm(job, [self._runnable(spec) for spec in specs])]

    def limit_bytes(self) -> tuple[int, str]:
        limit, how = limit_bytes(self.step.device)
        return limit + self._data_bytes, how  # Data that are there already have been taken from what is free.

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        """Updates at a rate of zero: the same work, and it cannot diverge."""
        spec, state = self._runnable(spec), self.step.init(self.seed, self.hyper)

        def update(updates: int) -> None:
            self._window(state, self.feed.start(), replace(spec, updates=updates), 0.0)

        with kept_generators():
            found = seconds_of(update, repeats, self.step.device, self.paces.get(spec))
        self.paces[spec] = float(found.min())
        return found

    def moments(self, spec: BatchSpec, updates: int, state: State | None = None) -> Moments:
        """Moments over updates that are all at the same parameters: those of `state`, or what a pilot reached.

        The pilot trains `PILOT_UPDATES` updates (at most one epoch): at the untrained parameters the gradient is so
        large that the noise scale means little.
        """
        with kept_generators():
            if not self.step.objective.additive:
                return Moments()  # An example has no gradient of its own.
            state, cursor = self._piloted() if state is None else (state, self.feed.start())
            every = replace(self.step.gauge or Gauge(), every=1)
            measuring = replace(self, step=replace(self.step, gauge=every))
            measured = BatchSpec(spec.size, spec.micro_size, updates=updates)
            return measuring._window(state, cursor, measured, 0.0)[1].moments()

    def joules(self, spec: BatchSpec) -> float | None:
        """Mean over as many updates as the meter needs to be read well."""
        if self.meter is None or not self.meter.measures:
            return None
        spec = self._runnable(spec)
        self.seconds(spec, 1)
        state = self.step.init(self.seed, self.hyper)
        left = updates = max(int(np.ceil(self.meter.least_seconds / self.paces[spec])), 1)
        with kept_generators():
            self.meter.start()
            while left > 0:
                self._window(state, self.feed.start(), replace(spec, updates=min(left, MOST_UPDATES)), 0.0)
                left -= MOST_UPDATES
            used = self.meter.stop()
        return used.joules / updates if used.joules is not None and used.source == "measured" else None

    def _runnable(self, spec: BatchSpec) -> BatchSpec:
        with kept_generators():  # To know that, a module is made.
            return runnable(spec, coupled=not self.step.objective.additive)

    @cached_property
    def _foresight(self) -> Foresight:
        state = self.step.init(self.seed, self.hyper)
        asked = Updating(
            state.model, self.step.objective.per_row_loss, state.optimizer, self._rows(1), self.step.gauge, whole=False
        )
        return Foresight(asked, self._rows)

    @cached_property
    def _data_bytes(self) -> int:
        draw, _ = self.feed.draw(self.feed.start(), BatchSpec(1, 1))
        tree = (getattr(draw, "data", None), getattr(draw, "weight", None))
        return sum(leaf.nbytes for _, leaf in leaves(tree) if has_rows(leaf))

    def _rows(self, count: int) -> Any:
        """So many rows on the device, over and over where there are fewer."""
        spec = BatchSpec(min(count, self.feed.epoch_size), min(count, self.feed.epoch_size))
        draw, _ = self.feed.draw(self.feed.start(), spec)
        (rows,) = islice(self.step._rows(draw, 0, 0, spec.size, spec.size), 1)
        own = mapped(lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, rows.data)
        return own if rows.count == count else cut(own, 0, rows.count, count)

    def _piloted(self) -> tuple[State, Cursor]:
        """Parameters that a short pilot reached, and where it is in the data."""
        per_epoch = -(-self.feed.epoch_size // self.pilot.size)
        pilot = BatchSpec(self.pilot.size, self.pilot.micro_size, updates=min(PILOT_UPDATES, per_epoch))
        state = self.step.init(self.seed, self.hyper)
        cursor, _ = self._window(state, self.feed.start(), pilot, 1.0)
        return state, cursor

    def _window(self, state: State, cursor: Cursor, spec: BatchSpec, lr_factor: float) -> tuple[Cursor, Observation]:
        """So many updates, in one draw where data are on the device, else one by one."""
        seen, left = Observation(), spec.updates
        with GENERATORS:
            while left > 0:
                part = replace(spec, updates=left if self.feed.resident else 1)
                draw, cursor = self.feed.draw(cursor, part)
                _, new = self.step(state, draw, part, lr_factor)
                seen, left = seen.merge(new), left - part.updates
        return cursor, seen
