"""`LoopProbe`: the planner's questions about a user's own loop: module, loss, loader and optimiser as they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from ladle.core.errors import NotConfirmed
from ladle.core.moments import Moments
from ladle.core.spec import BatchSpec
from ladle.torch.company import coupled, in_company
from ladle.torch.confirm import Job, confirm, hindrance
from ladle.torch.examples import Examples
from ladle.torch.fakes import copied, optimizer_for, plain
from ladle.torch.foresight import Foresight
from ladle.torch.host_moments import Meter, Share
from ladle.torch.limit import limit_bytes
from ladle.torch.losses import weighted
from ladle.torch.optimizer import trained
from ladle.torch.refuse import coupling
from ladle.torch.timing import runnable, seconds_of
from ladle.torch.untouched import kept_generators, kept_gradients, kept_module
from ladle.torch.update import Update

COMPANY = 4
"""Rows by which a loss is tried."""

NO_FACTORY = "the model was given as a module; a function that makes it, importable by a name, could be run again"


@dataclass
class LoopProbe:
    """Implements `ladle.core.protocols.Probe`. What it measures with is a copy of the module, thrown away each time.

    - `job`: how a child would make all of it again; None where a module was given.
    - `clip`: as the loop has it.
    """

    model: nn.Module
    loss: Callable[[nn.Module, Any], Any]
    optimizer: torch.optim.Optimizer
    examples: Examples
    foresight: Foresight
    job: Job | None = None
    clip: float | None = None
    paces: dict[BatchSpec, float] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return next(plain(self.model).parameters()).device

    @cached_property
    def coupled(self) -> bool:
        """Whether rows depend on each other: by a layer that takes statistics of them, or by the loss, as tried."""
        if coupling(self.model) is not None:
            return True
        with self._copy() as (model, _):
            return coupled(in_company(model, self.examples.take(min(COMPANY, self.examples.read)), self.loss))

    def memory_bytes(self, spec: BatchSpec) -> int:
        return self.foresight.bytes(runnable(spec, self.coupled))

    def confirm_bytes(self, spec: BatchSpec) -> int:
        return self.confirm_all([spec])[0]

    def confirm_all(self, specs: Sequence[BatchSpec]) -> list[int]:
        why = NO_FACTORY if self.job is None else hindrance(self.job)
        if why is not None or self.job is None:
            raise NotConfirmed(why)
        return confirm(self.job, [runnable(spec, self.coupled) for spec in specs])

    def limit_bytes(self) -> tuple[int, str]:
        return limit_bytes(self.device)

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        """Updates by `Update` at a rate of zero: the same work, and it cannot diverge. The batch is there already."""
        spec = runnable(spec, self.coupled)
        with self._copy() as (model, optimizer):
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            made = Update(model, optimizer, micro_size=min(spec.micro_size, spec.size), clip=self.clip, warn=False)
            batch = self.examples.take(spec.size)

            def update(updates: int) -> None:
                for _ in range(updates):
                    made(batch, self.loss)

            found = seconds_of(update, repeats, self.device, self.paces.get(spec))
        self.paces[spec] = float(found.min())
        return found

    def moments(self, spec: BatchSpec, updates: int, state: Any = None) -> Moments:
        """Moments at the parameters as they stand: what micro-batches of rows not seen before make of the gradient."""
        if self.coupled:
            return Moments()  # A row has no gradient of its own.
        with self._copy() as (model, optimizer):
            meter = Meter(trained(optimizer), stride=1)
            for number in range(updates):
                self._measure(meter, model, spec, number * spec.size)
        return meter.take()

    def joules(self, spec: BatchSpec) -> float | None:
        return None

    def _measure(self, meter: Meter, model: nn.Module, spec: BatchSpec, start: int) -> None:
        """One update, from its row at place `start` on, without its step."""
        for leaf in meter.leaves:
            leaf.grad = None
        meter.begin()
        for at in range(0, spec.size, spec.micro_size):
            rows = min(spec.micro_size, spec.size - at)
            found = weighted(self.loss(model, self.examples.take(rows, start + at)), rows, rows, None)
            with meter.piece(Share(found.weight, found.weight_sq, rows)):
                found.loss.backward()
        meter.end()

    @contextmanager
    def _copy(self) -> Iterator[tuple[nn.Module, torch.optim.Optimizer]]:
        """Module and optimiser to measure with: copies, or the module itself, put back bit for bit afterwards."""
        parameters = list(plain(self.model).parameters())
        with kept_generators(), kept_gradients(parameters):
            try:
                model = copied(self.model)
            except Exception:  # Locks, handles: there is no list of what cannot be copied.
                model = None
            if model is not None:
                yield model, optimizer_for(self.optimizer, parameters, model)
                return
            with kept_module(plain(self.model)) as model:
                yield model, optimizer_for(self.optimizer, parameters, model)
