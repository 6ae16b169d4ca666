"""`Meaning`: what the programs of an update mean. All that their trace depends on, besides shapes and the rung."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ladle.core.moments import Gauge
from ladle.core.stage import DeviceStage
from ladle.jax.mesh import Layout
from ladle.jax.objective import Objective
from ladle.jax.optimizer import Optimizer
from ladle.jax.rate import Rate
from ladle.jax.shard import over


@dataclass(frozen=True)
class Meaning:
    """Handed to every function that is traced; holds no data and no state.

    - `objective`, `optimizer`: what to minimise and how. Of the optimiser's constants only the names are traced.
    - `rate`: learning-rate schedule, `f32[] examples drawn -> f32[] factor`.
    - `layout`: the devices that share a batch.
    - `gauge`: how gradient moments are taken; None takes those of accumulated updates alone.
    - `moments`: False takes none at all, nor the norm of the gradient.
    - `augment`: what changes rows that live on the devices; see `ladle.jax.augment`.
    """

    objective: Objective
    optimizer: Optimizer
    rate: Rate
    layout: Layout
    gauge: Gauge | None = None
    moments: bool = True
    augment: DeviceStage | None = None

    def applied(self) -> Meaning:
        """As far as an update reads it: what equal tasks share programs by."""
        objective = over(self.objective.applied(), self.layout)
        return replace(self, objective=objective, optimizer=self.optimizer.rule)

    @property
    def has_noise(self) -> bool:
        """Whether an update keeps sums of its pieces: the loss is a sum over examples, and moments are wanted."""
        return self.moments and self.objective.additive
