"""`CompiledStep`: one or many updates, compiled once for each rung.

A rung is a micro-batch size, and whether an update accumulates over several micro-batches (then a gradient
accumulator exists in memory) or holds one. Batch size, number of updates, position, seed, learning rate and optimiser
constants are all data of the program: changing them compiles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import accumulate
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.batch import Batch, Draw
from ladle.engine import update as updates_
from ladle.engine.mesh import Layout, layout
from ladle.engine.objective import Objective
from ladle.engine.optimizer import Optimizer
from ladle.engine.rate import Rate, constant_rate
from ladle.engine.rows import MicroBatch, Resident, filled, gather, keys_at
from ladle.engine.state import State, init_state
from ladle.observation import Observation
from ladle.protocols import OrderProgram, ResidentDraw
from ladle.seed import seed_words
from ladle.spec import BatchSpec


def on_device(draw: Draw) -> ResidentDraw | None:
    """`draw` as one of resident data, or None where its rows travel from the host."""
    return cast(ResidentDraw, draw) if hasattr(draw, "order") else None


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
        self._per_example = per_example
        self._gradient = updates_.per_example_gradient if per_example else updates_.micro_gradient
        # Results are placed as the inputs are: left to the compiler, a first call could differ from the second.
        compiled = partial(jax.jit, out_shardings=self.layout.replicated)
        self._init = compiled(partial(init_state, objective, optimizer))
        static = ("micro_size", "accumulate", "program")
        self._window = compiled(self._trace_window, static_argnames=static, donate_argnums=0)
        self._accumulate = compiled(self._trace_accumulate, donate_argnums=0)
        self._apply = compiled(self._trace_apply, donate_argnums=0)
        self._zero = compiled(self._trace_zero)
        self._prepared: set[Any] = set()

    def init(self, seed: int, hyper: Mapping[str, float] | None = None) -> State:
        """A fresh state. `hyper` overrides optimiser constants and `lr`; `seed`: `0 .. 2**64 - 1`."""
        return self._init(self.hyper(hyper), seed_words(seed))

    def abstract_state(self, hyper: Mapping[str, float] | None = None) -> State:
        """The state as shapes with their place: what a checkpoint is read into. Nothing is allocated."""
        state = jax.eval_shape(self._init, self.hyper(hyper), seed_words(0))
        place = self.layout.replicated
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state)

    def hyper(self, over: Mapping[str, float] | None = None) -> dict[str, np.ndarray]:
        """The optimiser's constants with `lr`, as arrays of the program."""
        lr = 1.0 if self.optimizer.lr is None else self.optimizer.lr
        values = {**self.optimizer.hyper, "lr": lr, **(over or {})}
        return {name: np.asarray(value, np.float32) for name, value in values.items()}

    def rate_at(self, examples: int) -> float:
        """The schedule's factor at a position."""
        return 1.0 if self.rate is constant_rate else float(self.rate(jnp.float32(examples)))

    def place(self, tree: Any) -> Any:
        """A data set on every device, once, for many runs."""
        return self.layout.everywhere(tree)

    def __call__(self, state: State, draw: Draw, spec: BatchSpec, lr_factor: float = 1.0) -> tuple[State, Observation]:
        if (resident := on_device(draw)) is not None:
            operands = self.window_operands(resident, spec, lr_factor)
            state, sums = self._window(state, *operands, **self.window_statics(resident.order.program, spec))
            return state, Observation(self.names, sums)
        observation = Observation()
        starts = accumulate(draw.counts, initial=draw.start)
        for update, start in zip(range(len(draw.counts)), starts, strict=False):
            state, sums = self._host_update(state, draw, update, start, spec, lr_factor)
            observation = observation.merge(Observation(self.names, sums))
        return state, observation

    def prepare(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        """Compile the rung of `spec`: a window of no updates, which returns the state as it was.

        For rows that travel from the host: one update by a loss that is not finite, which is not applied.
        """
        resident, rung = on_device(draw), (spec.micro_size,)
        if resident is not None:
            structure = jax.tree.structure((resident.data, resident.weight))
            rung = (*rung, spec.micro_steps > 1, resident.order.program, structure)
        if rung in self._prepared:
            return state
        self._prepared.add(rung)
        if resident is None:
            return self._prepare_host(state, draw, spec)
        operands = self.window_operands(resident, spec, 1.0, updates=0)
        return self._window(state, *operands, **self.window_statics(resident.order.program, spec))[0]

    def window_operands(
        self, draw: ResidentDraw, spec: BatchSpec, lr_factor: float, updates: int | None = None
    ) -> tuple[Any, ...]:
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
        """`updates` batches of `size` from place `offset` of pass `epoch` on; stops early at a refused one.

        - `numbers`: `u32[4]`, these four in the order epoch, offset, size, updates.
        """
        epoch_size = program.epoch_size
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
            noise = accumulate or self._per_example
            state, new = updates_.apply(self.optimizer, self.rate, state, done, lr_factor, examples, noise=noise)
            ended = offset + count >= np.uint32(epoch_size)
            epoch, offset = epoch + ended.astype(jnp.uint32), jnp.where(ended, jnp.uint32(0), offset + count)
            refused = new[self.names.index("refused")] > 0
            return state, sums + new, epoch, offset, jnp.where(refused, jnp.uint32(0), left - jnp.uint32(1))

        start = (state, jnp.zeros(len(self.names), jnp.float32), epoch, offset, updates)
        state, sums, *_ = lax.while_loop(lambda carry: carry[-1] > 0, update, start)
        return state, sums

    def _host_update(
        self, state: State, draw: Draw, update: int, start: int, spec: BatchSpec, lr_factor: float
    ) -> tuple[State, jax.Array]:
        """One update from position `start` on, whose rows travel from the host, micro-batch by micro-batch."""
        done = self._zero(state)
        for batch in draw.micro_batches(update, spec.micro_size):
            done = self._accumulate(done, state, *self._sent(batch, spec, draw.epoch_size))
        return self._apply(state, done, np.float32(lr_factor), np.float32(start))

    def _prepare_host(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        batch = next(iter(draw.micro_batches(0, spec.micro_size)))
        done = self._accumulate(self._zero(state), state, *self._sent(batch, spec, draw.epoch_size))
        refused = done._replace(loss=self.layout.everywhere(np.float32(np.nan)))
        return self._apply(state, refused, np.float32(0), np.float32(0))[0]

    def _sent(self, batch: Batch, spec: BatchSpec, epoch_size: int) -> tuple[Any, ...]:
        """A micro-batch on the devices: data, weight, places in the pass, and which pass (one: none crosses)."""
        batch = filled(batch, self.layout.rows(len(batch.weight)))
        epoch, place = np.divmod(batch.position, np.int64(epoch_size))
        return *self.layout.in_parts((batch.data, batch.weight, place.astype(np.uint32))), np.uint32(epoch[0])

    def _trace_zero(self, state: State) -> updates_.Accumulated:
        return updates_.zero(state.params, state.model_state, len(self.objective.metrics))

    def _trace_accumulate(self, done, state: State, data, weight, place, epoch):
        micro = MicroBatch(data, weight, keys_at(state.key, epoch, place))
        return done.add(self._gradient(self.objective, state.params, done.model_state, micro))

    def _trace_apply(self, state: State, done, lr_factor, examples):
        return updates_.apply(self.optimizer, self.rate, state, done, lr_factor, examples)
