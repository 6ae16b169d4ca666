"""`Measuring`: how the gradient of an update is taken, and in which updates it is read again for its noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from ladle.core.moments import Gauge
from ladle.jax import update as updates_
from ladle.jax.geometry import preconditioner
from ladle.jax.objective import Objective
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State


@dataclass(frozen=True)
class Measuring:
    """- `gauge`: how moments are taken; None takes those of accumulated updates alone. `devices`: that share a batch.

    - `moments`: False takes none at all.
    """

    objective: Objective
    gauge: Gauge | None
    devices: int
    moments: bool

    @property
    def pieces(self) -> bool:
        """Whether an update keeps sums of its pieces: the loss is a sum over examples, and moments are wanted."""
        return self.moments and self.objective.additive

    @property
    def per_example(self) -> bool:
        """Whether gradients are taken example by example."""
        return self.gauge is not None and self.gauge.per_example

    @property
    def cutting(self) -> bool:
        """Whether updates of one micro-batch are cut at all."""
        return self.gauge is not None and self.gauge.parts > 1 and not self.per_example

    @property
    def projects(self) -> bool:
        """Whether the noise along the gradient is wanted too."""
        return self.gauge is not None and self.gauge.projection

    def view(self, state: State) -> updates_.View | None:
        """How gradients are looked at; None where no moments are taken, or the loss is no sum over examples."""
        if not self.pieces:
            return None
        if self.gauge is None or self.gauge.geometry == "sgd":
            return updates_.View()
        return updates_.View(preconditioner(state.opt_state, state.hyper))

    def stride(self, epoch_size: int, size: int) -> int:
        """From one update that is measured to the next, where it has pieces as it is: the same in every window."""
        return 1 if self.per_example else (self.gauge or Gauge()).stride(-(-epoch_size // size))

    @staticmethod
    def reads(offset: Any, size: Any, count: Any, every: Any) -> Any:
        """Whether the pieces that an update of `count` examples at place `offset` of a pass has are read for its noise.

        A ragged last batch is not: its |G|^2 would count as much as the others', with many times the error.
        """
        return (offset // size % every == 0) & (count == size)

    def cuts(self, offset: Any, size: Any, count: Any, every: Any) -> Any:
        """Whether an update of one micro-batch is cut to be measured. Devices hold pieces of it as it is."""
        if not self.cutting or self.gauge is None:
            return False
        return self.reads(offset, size, count, every if self.devices > 1 else self.gauge.every)

    def gradient(
        self,
        state: State,
        done: updates_.Accumulated,
        micro: MicroBatch,
        view: updates_.View | None,
        measured: Any,
        cut: bool = False,
    ) -> updates_.Accumulated:
        """The sums of one micro-batch: of an update of one, `cut` into pieces or not."""
        how = self.objective, state.params, done.model_state
        pieces = partial(updates_.cut_gradient, *how)
        if self.per_example:
            each = pieces(micro, view, parts=micro.weight.shape[0], together=True)
            # No condition, through which every example's gradient would go: its norm is taken where it is made.
            return each._replace(pieces=jax.tree.map(lambda leaf: jnp.where(measured, leaf, 0), each.pieces))
        if not cut:
            return updates_.micro_gradient(*how, micro, view, measured)
        assert self.gauge is not None and view is not None
        if self.devices > 1:
            return pieces(micro, view, parts=self.devices, together=True)  # each device's own part
        parts = min(self.gauge.parts, micro.weight.shape[0])
        if not self.projects or parts < 4:
            return pieces(micro, view, parts=parts)
        third, rows = parts // 3, micro.weight.shape[0]
        ends = 0, *(rows * part // parts for part in (third, 2 * third)), rows
        one, two, rest = (
            jax.tree.map(lambda leaf: leaf[first:end], micro._replace(levels=None))._replace(levels=micro.levels)  # noqa: B023
            for first, end in pairwise(ends)
        )
        first, second = pieces(one, view, parts=third), pieces(two, view, parts=third)
        toward = view._replace(toward=(first.mean(view.scale), second.mean(view.scale)))
        return first.add(second).add(pieces(rest, toward, parts=parts - 2 * third))
