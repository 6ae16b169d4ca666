"""`Foresight`: the memory of updates of any size: traced, or by a line that was measured where no trace can be made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ladle.core.errors import ArgumentError, must
from ladle.core.spec import BatchSpec
from ladle.torch.fakes import copied, fake_mode, optimizer_for, plain
from ladle.torch.ledger import Bytes
from ladle.torch.trace import Untraceable, Updating, counted, rows_held, trace
from ladle.torch.untouched import kept_generators, kept_gradients

MEASURED = (4, 16, 64)
"""Micro-batches that are run and counted where a trace cannot be made: small ones, so that they fit."""


@dataclass
class Foresight:
    """Answers how many bytes an update takes. Every answer is kept: asking again costs nothing.

    - `rows(count)`: real rows, for what has to be run. `obstacle`: what stood in the way of a trace; None where
      nothing did.
    """

    updating: Updating
    rows: Callable[[int], Any]
    mode: FakeTensorMode = field(default_factory=fake_mode)
    obstacle: Untraceable | None = None
    found: dict[BatchSpec, Bytes] = field(default_factory=dict)

    def bytes(self, spec: BatchSpec) -> int:
        """The peak of an update of `spec`: predicted, without running it, or read from the measured line."""
        if self.obstacle is None and spec not in self.found:
            try:
                self.found[spec] = trace(self.updating, spec, self.mode)
            except Untraceable as error:
                self.obstacle = error
        return self.found[spec].peak if spec in self.found else self._by_line(spec)

    @property
    def method(self) -> str:
        """How bytes are known, in words."""
        if self.obstacle is None:
            return "two updates traced as fake tensors"
        sizes = ", ".join(map(str, MEASURED))
        return f"a line through updates of {sizes} rows that were run, since {self.obstacle} cannot be traced"

    def _by_line(self, spec: BatchSpec) -> int:
        """Through what was allocated in updates that were run; rows that wait for their turn are added as they are."""
        micro = min(spec.micro_size, spec.size)
        low, middle, high = (self._run(size).peak for size in MEASURED)
        slope = max((high - low) / (MEASURED[2] - MEASURED[0]), (high - middle) / (MEASURED[2] - MEASURED[1]), 0.0)
        one = self.found[BatchSpec(MEASURED[2], MEASURED[2])]
        waiting = (rows_held(self.updating, spec) - micro) * one.batch / MEASURED[2]
        # A gradient that is added to is there while the next one is made.
        more = one.parameters if spec.micro_steps > 1 else 0
        return int(max(high + slope * (micro - MEASURED[2]), low) + waiting + more)

    def _run(self, size: int) -> Bytes:
        spec = BatchSpec(size, size)
        if spec not in self.found:
            asked = self.updating
            parameters = list(plain(asked.model).parameters())
            with kept_generators(), kept_gradients(parameters):
                model = _copy(asked)
                optimizer = optimizer_for(asked.optimizer, parameters, model)
                self.found[spec] = counted(model, optimizer, self.rows(size), asked, spec, measured=False)
        return self.found[spec]


def _copy(asked: Updating) -> torch.nn.Module:
    try:
        return copied(asked.model)
    except Exception as error:
        why = f"it can neither be traced nor copied ({error})"
        be = "be a function that makes one"
        raise ArgumentError(must("model", be, type(asked.model).__name__, why, "model=make_model")) from None
