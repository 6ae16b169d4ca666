"""Trials of a search: one after the other, each a pure function of its arguments: size, rate, seed, fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ladle.core.batch import batch_ends
from ladle.core.protocols import DeviceOrder
from ladle.core.spec import BatchSpec
from ladle.torch.evaluate import Evaluator
from ladle.torch.objective import GENERATORS
from ladle.torch.optimizer import set_rate
from ladle.torch.state import State
from ladle.torch.step import Rows, TorchStep
from ladle.torch.tree import taken


@dataclass(frozen=True)
class TorchTrials:
    """Implements `ladle.core.backend.Trials`.

    - `data`, `weight`: all rows, on the device. `folds`: for each fold, the rows left out.
    - `micro_size`: rows of a micro-batch; None for whole batches.
    """

    step: TorchStep
    data: Any
    weight: torch.Tensor | None
    folds: Sequence[np.ndarray]
    micro_size: int | None = None

    def rung(self, size: int) -> BatchSpec:
        return BatchSpec(size, min(size, self.micro_size or size))

    def prepare(self, order: DeviceOrder, sizes: Sequence[int]) -> None:
        """Nothing is compiled."""

    def start(self, seed: int, hyper: Mapping[str, float]) -> State:
        return self.step.init(seed, hyper)

    def advance(self, state: State, order: DeviceOrder, size: int, begun: int, updates: int) -> tuple[State, bool]:
        passes, within = divmod(begun, -(-order.epoch_size // size))
        start, spec = passes * order.epoch_size + within * size, self.rung(size)
        with GENERATORS:
            for end in batch_ends(start, size, updates - begun, order.epoch_size).tolist():
                set_rate(state.optimizer, state.shares, state.hyper["lr"] * self.step.rate(start))
                rows = (
                    self._rows(order, at, min(at + spec.micro_size, end)) for at in range(start, end, spec.micro_size)
                )
                done = self.step.made(state, rows, end - start, spec, measured=False)
                if not done.applied:
                    return state, True
                start = end
        return state, False

    def _rows(self, order: DeviceOrder, start: int, stop: int) -> Rows:
        index = torch.from_numpy(np.asarray(order.ids(start, stop - start), np.int64)).to(self.step.device)
        return Rows(taken(self.data, index), None if self.weight is None else self.weight[index], stop - start, start)

    def score(self, state: State, fold: int) -> dict[str, float]:
        index = torch.from_numpy(np.asarray(self.folds[fold], np.int64)).to(self.step.device)
        return Evaluator(self.step.objective, self.step.device)(state.model, taken(self.data, index))

    def advance_all(
        self, states: list[State], orders: Sequence[DeviceOrder], size: int, begun: int, updates: int
    ) -> tuple[list[State], list[bool]]:
        pairs = [self.advance(s, o, size, begun, updates) for s, o in zip(states, orders, strict=True)]
        return [state for state, _ in pairs], [bad for _, bad in pairs]

    def score_all(self, states: Sequence[State], folds: Sequence[int]) -> list[dict[str, float]]:
        return [self.score(state, fold) for state, fold in zip(states, folds, strict=True)]
