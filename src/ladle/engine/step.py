"""`CompiledStep`: one or many updates, compiled once for each rung.

A rung is a micro-batch size, and whether an update accumulates over several micro-batches (then a gradient
accumulator exists in memory) or holds one. Batch size, number of updates, position, seed, learning rate and optimiser
constants are all data of the program: changing them compiles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.batch import Draw
from ladle.engine import update as updates_
from ladle.engine.mesh import Layout, layout
from ladle.engine.objective import Objective
from ladle.engine.optimizer import Optimizer
from ladle.engine.rate import Rate, constant_rate
from ladle.engine.rows import MicroBatch, Resident, gather, keys_at
from ladle.engine.state import State, init_state
from ladle.observation import Observation
from ladle.protocols import OrderProgram
from ladle.spec import BatchSpec

class CompiledStep:
    """The training step on JAX; implements `ladle.protocols.Step`.

    **Arguments**

    - `objective`, `optimizer`: what to minimise and how.
    - `rate`: learning-rate schedule, `f32[] examples drawn -> f32[] factor`.
    - `per_example`: take one gradient per example (noise scale from single examples; costs memory).
    - `devices`: which devices share a batch; all of the host by default.

    The state given to a call is consumed: its buffers become the new state's.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        *,
        rate: Rate = constant_rate,
        per_example: bool = False,
        devices: Any = None,
    ) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self.layout: Layout = layout(devices)
        self.names = updates_.sum_names(objective)
        self.rate = rate
        self._gradient = updates_.per_example_gradient if per_example else updates_.micro_gradient
        self._init = jax.jit(partial(init_state, objective, optimizer), out_shardings=self.layout.replicated)
        self._window = jax.jit(self._trace_window, static_argnames=("micro_size", "accumulate", "program"), donate_argnums=0)
        self._accumulate = jax.jit(self._trace_accumulate, donate_argnums=0)
        self._apply = jax.jit(self._trace_apply, donate_argnums=(0, 1))
        self._zero = jax.jit(self._trace_zero)
        self._prepared: set[Any] = set()

    def init(self, seed: int, hyper: Mapping[str, float] | None = None) -> State:
        """A fresh state. `hyper` overrides optimiser constants and `lr`."""
        return self._init(self.hyper(hyper), np.uint32(seed))

    def hyper(self, over: Mapping[str, float] | None = None) -> dict[str, np.ndarray]:
        """The optimiser's constants with `lr`, as arrays of the program."""
        lr = 1.0 if self.optimizer.lr is None else self.optimizer.lr
        values = {**self.optimizer.hyper, "lr": lr, **(over or {})}
        return {name: np.asarray(value, np.float32) for name, value in values.items()}

    def place(self, tree: Any) -> Any:
        """A data set on every device, once, for many runs."""
        return self.layout.everywhere(tree)

    def __call__(self, state: State, draw: Draw, spec: BatchSpec, lr_factor: float = 1.0) -> tuple[State, Observation]:
        if hasattr(draw, "order"):
            state, sums = self._window(
                state, *self.window_operands(draw, spec, lr_factor), **self.window_statics(draw.order.program, spec)
            )
            return state, Observation(self.names, sums)
        observation = Observation()
        for update in range(len(draw.counts)):
            state, sums = self._host_update(state, draw, update, spec, lr_factor)
            observation = observation.merge(Observation(self.names, sums))
        return state, observation

    def prepare(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        """Compile the rung of `spec`: a window of no updates, which returns the state as it was."""
        if not hasattr(draw, "order"):
            return state
        rung = (spec.micro_size, spec.micro_steps > 1, draw.order.program, jax.tree.structure(draw.data))
        if rung in self._prepared:
            return state
        self._prepared.add(rung)
        operands = self.window_operands(draw, spec, 1.0, updates=0)
        return self._window(state, *operands, **self.window_statics(draw.order.program, spec))[0]

    def window_operands(self, draw: Any, spec: BatchSpec, lr_factor: float, updates: int | None = None) -> tuple[Any, ...]:
        """The traced arguments of the compiled window after the state."""
        resident = Resident(draw.data, draw.weight, dict(draw.order.tables()))
        count = spec.updates if updates is None else updates
        numbers = np.array([draw.epoch, draw.offset, spec.size, count], np.uint32)
        return resident, numbers, np.float32(lr_factor)

    def lower(self, shapes: tuple[Any, ...], program: OrderProgram, spec: BatchSpec) -> Any:
        """The update at `spec`, lowered for `shapes` (state and operands): nothing runs, nothing is allocated."""
        return self._window.lower(*shapes, **self.window_statics(program, spec))

    def window(self, program: OrderProgram, spec: BatchSpec) -> Any:
        """The update at `spec` as a function of (state, *operands), not yet compiled."""
        return partial(self._trace_window, **self.window_statics(program, spec))

    @staticmethod
    def window_statics(program: OrderProgram, spec: BatchSpec) -> dict[str, Any]:
        """The static arguments: all that a compilation depends on."""
        return {"micro_size": spec.micro_size, "accumulate": spec.micro_steps > 1, "program": program}

    def _trace_window(
        self,
        state: State,
        resident: Resident,
        numbers: jax.Array,
        lr_factor: jax.Array,
        *,
        micro_size: int,
        accumulate: bool,
        program: OrderProgram,
    ) -> tuple[State, jax.Array]:
        """Updates `numbers[3]` batches of `numbers[1]`... from the position on; stops early at a refused one."""
        epoch_size = jax.tree.leaves(resident.data)[0].shape[0]
        epoch, offset, size, updates = (numbers[i] for i in range(4))

        def rows(state: State, epoch: jax.Array, first: jax.Array, count: jax.Array) -> MicroBatch:
            return gather(self.layout, program, resident, state.key, epoch, first, count, micro_size)

        def gradient(state: State, epoch: jax.Array, offset: jax.Array, count: jax.Array) -> updates_.Accumulated:
            params, model_state = state.params, state.model_state
            if not accumulate:
                return self._gradient(self.objective, params, model_state, rows(state, epoch, offset, count))

            def micro_step(carry):
                done, first = carry
                micro = rows(state, epoch, offset + first, count - first)
                new = self._gradient(self.objective, params, done.model_state, micro)
                return done.add(new), first + np.uint32(micro_size)

            start = updates_.zero(params, model_state, len(self.objective.metrics)), jnp.uint32(0)
            return lax.while_loop(lambda carry: carry[1] < count, micro_step, start)[0]

        def update(carry):
            state, sums, epoch, offset, left = carry
            count = jnp.minimum(size, np.uint32(epoch_size) - offset)
            done = gradient(state, epoch, offset, count)
            examples = epoch.astype(jnp.float32) * np.float32(epoch_size) + offset.astype(jnp.float32)
            state, new = updates_.apply(self.optimizer, self.rate, state, done, lr_factor, examples)
            ended = offset + count >= np.uint32(epoch_size)
            epoch, offset = epoch + ended.astype(jnp.uint32), jnp.where(ended, jnp.uint32(0), offset + count)
            refused = new[self.names.index("refused")] > 0
            return state, sums + new, epoch, offset, jnp.where(refused, jnp.uint32(0), left - jnp.uint32(1))

        start = (state, jnp.zeros(len(self.names), jnp.float32), epoch, offset, updates)
        state, sums, *_ = lax.while_loop(lambda carry: carry[-1] > 0, update, start)
        return state, sums

    def _host_update(
        self, state: State, draw: Draw, update: int, spec: BatchSpec, lr_factor: float
    ) -> tuple[State, jax.Array]:
        """One update whose rows travel from the host, micro-batch by micro-batch."""
        done = self._zero(state)
        position = 0
        for batch in draw.micro_batches(update, self.layout.rows(spec.micro_size)):
            position = position or int(batch.position[0])
            epoch, place = np.divmod(batch.position, np.int64(draw.epoch_size))
            data = self.layout.in_parts((batch.data, batch.weight, place.astype(np.uint32)))
            done = self._accumulate(done, state, *data, np.uint32(epoch[0]))
        return self._apply(state, done, np.float32(lr_factor), np.float32(position))

    def _trace_zero(self, state: State) -> updates_.Accumulated:
        return updates_.zero(state.params, state.model_state, len(self.objective.metrics))

    def _trace_accumulate(self, done, state: State, data, weight, place, epoch):
        micro = MicroBatch(data, weight, keys_at(state.key, epoch, place))
        return done.add(self._gradient(self.objective, state.params, done.model_state, micro))

    def _trace_apply(self, state: State, done, lr_factor, examples):
        return updates_.apply(self.optimizer, self.rate, state, done, lr_factor, examples)
