"""`JaxEngine`: a task's compiled programs, as the roof asks for them. Made once, used by every run of the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ladle.core.backend import Program, Weight
from ladle.core.moments import Gauge
from ladle.core.protocols import Feed, Meter
from ladle.core.spec import BatchSpec
from ladle.core.world import World
from ladle.jax import ema
from ladle.jax.devices import on_host
from ladle.jax.evaluate import Evaluator
from ladle.jax.example_loss import EachLoss, copied
from ladle.jax.freeze import whole
from ladle.jax.independence import require_independent
from ladle.jax.memory import device_free_bytes
from ladle.jax.mesh import across
from ladle.jax.offload import parked_bytes
from ladle.jax.outputs import output_width
from ladle.jax.programs import shapes_of
from ladle.jax.rebase import Rebase
from ladle.jax.reestimate import Reestimator
from ladle.jax.room import FREE, Room
from ladle.jax.shard import bytes_each
from ladle.jax.sharpness import Sharpness
from ladle.jax.state import State
from ladle.jax.step import CompiledStep
from ladle.jax.weights import weight_types, weights, with_weights

if TYPE_CHECKING:
    from ladle.jax.probe import CompiledProbe
    from ladle.jax.trials import Trials


@dataclass(frozen=True)
class JaxEngine:
    """Implements `ladle.core.backend.Engine` over a compiled step. `room_bytes`: see `within`."""

    step: CompiledStep
    room_bytes: int | None = None

    @property
    def gauge(self) -> Gauge | None:
        return self.step.gauge

    @property
    def devices(self) -> int:
        return self.step.layout.devices

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.step.objective, self.step.layout, room=Room(self.room_bytes))

    @cached_property
    def _averaged(self) -> Any:
        return ema.program(self.step.layout)

    @cached_property
    def _reestimator(self) -> Reestimator:
        return Reestimator(self.step.objective, self.step.layout, room=Room(self.room_bytes))

    @cached_property
    def _sharpness(self) -> Sharpness:
        return Sharpness(self.step.objective, Room(self.room_bytes))

    @cached_property
    def _each(self) -> EachLoss:
        return EachLoss(self.step.objective, self.step.layout, room=Room(self.room_bytes))

    def gauged(self, gauge: Gauge) -> JaxEngine:
        old, devices = self.step, list(self.step.layout.mesh.devices.flat)
        how = {**old.how(), "devices": devices}
        return replace(self, step=CompiledStep(old.objective, old.optimizer, gauge=gauge, **how))

    def over(self, world: World) -> JaxEngine:
        old = self.step
        if world.size == 1:
            return self
        room = self.room_bytes
        if room is None:  # Judging has to be cut alike on all hosts, whatever each has free.
            share = world.on_host if on_host() else 1
            room = int(FREE * min(world.gathered(device_free_bytes() // share)))
        how = {**old.how(), "devices": list(across().mesh.devices.flat)}
        return replace(self, step=CompiledStep(old.objective, old.optimizer, gauge=old.gauge, **how), room_bytes=room)

    def within(self, room_bytes: int) -> JaxEngine:
        return self if room_bytes == self.room_bytes else replace(self, room_bytes=room_bytes)

    def state_bytes(self, whole: bool = False) -> int:
        layout, state = self.step.layout, self.step.abstract_state()
        if whole:
            return bytes_each(replace(layout, shard_state=False), state)
        return bytes_each(layout, state) - (0 if on_host() else parked_bytes(layout, state))

    def judging(self, rows: Any) -> tuple[int, int]:
        state = self.step.abstract_state()
        operands = state.params, state.model_state, shapes_of(rows)
        at_once = self._evaluator.at_once(*operands)
        return at_once, self._evaluator.bytes_of(at_once, *operands)

    def place(self, tree: Any) -> Any:
        return self.step.place(tree)

    def rate_at(self, time: float) -> float:
        return self.step.rate_at(time)

    def abstract_state(self, hyper: Mapping[str, float]) -> State:
        return self.step.abstract_state(hyper)

    def constants(self, state: State) -> dict[str, float]:
        inside = {name: float(value) for name, value in state.hyper.items()}
        return {**inside, "lr": inside["lr"] * self.step.optimizer.unit}

    def with_constants(self, state: State, hyper: Mapping[str, float]) -> State:
        now = self.step.hyper(hyper)
        return state._replace(hyper=self.step.place({**state.hyper, **now}))

    def copy(self, state: State) -> State:
        return copied(state)

    def to_host(self, state: State) -> State:
        # A copy: what JAX answers for an array in CPU memory is a view of a buffer that the next step may reuse.
        return jax.tree.map(lambda leaf: np.array(leaf), state)

    def params(self, state: State) -> Any:
        return whole(state.params, state.model_state)[0]

    def averaged(self, state: State) -> State | None:
        return None if state.average == () else state._replace(params=self._averaged(state.average, state.params))

    def reestimated(self, state: State, rows: Any, weight: Any | None = None) -> State:
        return self._reestimator(state, rows, weight)

    def evaluate(self, state: State, rows: Any, prefix: str = "valid_") -> dict[str, float]:
        return self._evaluator(state, rows, prefix=prefix)

    def predict(self, state: State, x: Any) -> np.ndarray:
        return self._evaluator.predict(state, x)

    def weight_types(self) -> dict[str, Weight]:
        return weight_types(self.step)

    def weights(self, state: State) -> dict[str, np.ndarray]:
        return weights(state)

    def with_weights(self, weights: Mapping[str, np.ndarray]) -> State:
        return with_weights(self.step, weights)

    def exported(self, state: State, x: Any) -> Program:
        from ladle.jax.exported import exported  # Few models are.

        return Program(*exported(self.step.objective, state, x), "program.bin", whole=False)

    def run_exported(self, program: bytes, state: State, x: Any) -> np.ndarray:
        from ladle.jax.exported import run_exported

        return run_exported(program, state, x)

    def losses(self, state: State, rows: Any) -> np.ndarray:
        return self._each(state, rows)

    def sharpness(self, state: State, rows: Any) -> float:
        return self._sharpness(state, rows)

    def probe(
        self, feed: Feed, pilot: BatchSpec, *, hyper: Mapping[str, float], seed: int = 0, meter: Meter | None = None
    ) -> CompiledProbe:
        from ladle.jax.probe import CompiledProbe  # A run that trains asks for none.

        return CompiledProbe(self.step, feed, pilot, hyper, seed, meter)

    def trials(
        self, data: Any, weight: Any, folds: Sequence[np.ndarray], sizes: Sequence[int], micro_size: int | None
    ) -> Trials:
        from ladle.jax.trials import Trials

        return Trials(self.step, data, weight, folds, sizes, micro_size)

    def rebase(self) -> Callable[[State, Any, BatchSpec, int], State]:
        return Rebase(self.step)

    def require_independent(self, rows: Any) -> None:
        require_independent(self.step.objective, rows)

    def output_width(self, x: Any) -> int | None:
        return output_width(self.step.objective, x)
