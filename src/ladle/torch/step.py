"""`TorchStep`: one or many updates of a task, each an `Update`; both lanes read one micro-batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from ladle.core.batch import Draw
from ladle.core.constants import CLIP
from ladle.core.cursor import Shard
from ladle.core.decision import Clock
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.observation import Observation
from ladle.core.spec import BatchSpec
from ladle.torch.averages import keep
from ladle.torch.objective import GENERATORS, Objective
from ladle.torch.optimizer import Optimizer, set_constants, set_rate, shares_of
from ladle.torch.place import placed
from ladle.torch.ranks import ONE, Ranks
from ladle.torch.rate import Rate, constant_rate
from ladle.torch.state import State
from ladle.torch.tree import cut, taken
from ladle.torch.update import Done


class Rows(NamedTuple):
    """A micro-batch on the device. `position`: of its first row in the whole run."""

    data: Any
    weight: torch.Tensor | None
    count: int
    position: int


@dataclass(frozen=True)
class TorchStep:
    """Implements `ladle.core.protocols.Step`. The state that a call is given is changed in place.

    - `rate`: learning-rate schedule, `examples drawn -> factor`.
    - `ranks`: processes that share each batch; each has a copy of the module.
    - `gauge`: how gradient moments are taken; None takes those of accumulated updates alone.
    """

    objective: Objective
    optimizer: Optimizer
    device: torch.device
    rate: Rate = constant_rate
    gauge: Gauge | None = None
    ranks: Ranks = ONE

    def init(self, seed: int, hyper: Mapping[str, float] | None = None) -> State:
        values = self.hyper(hyper)
        model = self.objective.fresh(seed).to(self.device).train()
        optimizer = self._optimizer(model.parameters(), values)
        return State(model, optimizer, values, seed, self._shares(model), self.objective.metrics, self.ranks)

    def _optimizer(self, parameters: Any, values: Mapping[str, float]) -> torch.optim.Optimizer:
        made = self.optimizer.make(parameters)
        shares = shares_of(made)
        set_constants(made, self.optimizer.own, values)
        set_rate(made, shares, values["lr"])
        return made

    def _shares(self, model: nn.Module) -> tuple[float, ...]:
        return shares_of(self.optimizer.make(model.parameters()))

    def hyper(self, over: Mapping[str, float] | None = None) -> dict[str, float]:
        """The constants that a state begins with. Raises `ArgumentError` for one that the optimiser has not."""
        known = {**self.optimizer.hyper, "lr": 1.0 if self.optimizer.lr is None else self.optimizer.lr}
        return {**known, **_of(known, over or {})}

    def prepare(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        """Nothing: a module is compiled by its owner, if at all."""
        return state

    def transfer(self, state: State, hyper: Mapping[str, float]) -> State:
        new = {**state.hyper, **_of(state.hyper, hyper)}
        keep(state.optimizer, state.hyper, new)
        return self.constant(state, new)

    def reset(self, state: State) -> State:
        """The state with its optimiser as before any update: PyTorch's makes its averages when it first needs them."""
        state.optimizer.state.clear()
        return state

    def constant(self, state: State, hyper: Mapping[str, float]) -> State:
        """The state with these constants, and no others; its averages as they are."""
        set_constants(state.optimizer, state.hyper, hyper)
        state.hyper = dict(hyper)
        state.update.clip = hyper.get(CLIP)
        return state

    def __call__(
        self, state: State, draw: Draw, spec: BatchSpec, lr_factor: float = 1.0, clock: Clock = Clock()
    ) -> tuple[State, Observation]:
        start = draw.start
        if not state.model.training:
            state.model.train()
        with GENERATORS:
            for update, count in enumerate(draw.counts):
                lr = state.hyper["lr"] * self.rate(clock.at(start)) * lr_factor
                set_rate(state.optimizer, state.shares, lr)
                measured = self._measured(start % draw.epoch_size, count, spec, draw.epoch_size)
                rows = self._rows(draw, update, start, count, spec.micro_size)
                if not self.made(state, rows, count, spec, measured).applied:
                    break
                start += count
        return state, state.update.observation()

    def made(self, state: State, batches: Iterator[Rows], count: int, spec: BatchSpec, measured: bool) -> Done:
        """One update of the micro-batches. One that is alone is cut where it is measured."""
        update = state.update
        size = self._piece(min(count, spec.micro_size), count <= spec.micro_size) if measured else spec.micro_size
        update.begin(measured, alone=count <= size, rows=count)
        for rows in batches:
            for at in range(0, max(rows.count, 1), size):  # One without rows takes part, too, with a row for nothing.
                real = min(size, rows.count - at)
                filled = size if state.compiled else max(real, 1)
                data = rows.data if rows.count == filled else cut(rows.data, at, at + max(real, 1), filled)
                weight = None if rows.weight is None else rows.weight[at : at + real]
                part = update.part(data, weight, filled, real, rows.position + at)
                losses, metrics = self.objective.losses(update.model, data)
                part.backward(losses, **metrics)
        return update.step()

    def _measured(self, offset: int, count: int, spec: BatchSpec, epoch_size: int) -> bool:
        """Whether the noise of the update at place `offset` of a pass is measured; that of a ragged last one is not."""
        gauge, alone = self.gauge or Gauge(), spec.micro_steps == 1
        cuts = self.gauge is not None and (gauge.parts > 1 or gauge.per_example)
        if not self.objective.additive or count != spec.size or (alone and not cuts):
            return False
        every = 1 if gauge.per_example else gauge.every if alone else gauge.stride(-(-epoch_size // spec.size))
        return offset // spec.size % every == 0

    def _piece(self, rows: int, alone: bool) -> int:
        """Rows of a part of a micro-batch, where its update is measured."""
        gauge = self.gauge or Gauge()
        if gauge.per_example:
            return 1
        return gauge.piece(rows) if alone else rows

    def _rows(self, draw: Any, update: int, start: int, count: int, micro_size: int) -> Iterator[Rows]:
        if not (hasattr(draw, "order") and hasattr(draw, "offset")):
            for batch in draw.micro_batches(update, micro_size):
                kept = max(batch.real, 1)
                data = placed(cut(batch.data, 0, kept, kept), self.device)
                weight = batch.weight[: batch.real]
                given = None if (weight == 1).all() else torch.from_numpy(weight.copy()).to(self.device)
                yield Rows(data, given, batch.real, int(batch.position[0]))
            return
        shard = draw.host.shard if hasattr(draw, "host") else Shard()
        stride = micro_size * shard.count
        for at in range(start, start + count, stride):
            every = draw.order.ids(at, min(stride, start + count - at))
            own = every[shard.index :: shard.count]
            ids = own if len(own) else every[:1]
            index = torch.from_numpy(ids).to(self.device)
            weight = None if draw.weight is None else draw.weight[index]
            yield Rows(taken(draw.data, index), weight, len(own), at + shard.index)


def _of(known: Mapping[str, float], given: Mapping[str, float]) -> dict[str, float]:
    """`given` as numbers. Raises `ArgumentError` for names that are not known."""
    if unknown := sorted(set(given) - set(known)):
        why, names = "the optimiser has no such constant", ", ".join(sorted(known))
        raise ArgumentError(must("hyper", "name constants of the run", unknown, why, names))
    return {name: float(value) for name, value in given.items()}
