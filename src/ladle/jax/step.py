"""`CompiledStep`: one or many updates, compiled once for each rung.

A rung is a micro-batch size, and whether an update accumulates over several micro-batches (then a gradient
accumulator exists in memory) or holds one. Batch size, number of updates, position, seed, learning rate and optimiser
constants are all data of the program: changing them compiles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial, reduce
from itertools import accumulate
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.batch import Batch, Draw
from ladle.core.decision import Clock
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.observation import Observation
from ladle.core.protocols import OrderProgram, ResidentDraw
from ladle.core.seed import seed_words
from ladle.core.spec import BatchSpec
from ladle.jax import averages
from ladle.jax import update as updates_
from ladle.jax.geometry import require_measurable
from ladle.jax.measure import Measuring
from ladle.jax.mesh import Layout, layout
from ladle.jax.objective import Objective
from ladle.jax.optimizer import Optimizer
from ladle.jax.rate import Rate, constant_rate
from ladle.jax.rebase import coordinate_variance, rebased, require_rebasable
from ladle.jax.rows import MicroBatch, Resident, filled, gather, keys_at, levels_of
from ladle.jax.state import State, init_state


def pace_of(lr_factor: float, clock: Clock) -> np.ndarray:
    """The factor and the clock of a window as one operand, `f32[3]`."""
    return np.array([lr_factor, clock.offset, clock.pace], np.float32)


def steps_of(count: Any, micro_size: int) -> Any:
    """Micro-batches of `count` examples, also where that is traced."""
    return (count + np.uint32(micro_size - 1)) // np.uint32(micro_size)


def on_device(draw: Draw) -> ResidentDraw | None:
    """`draw` as one of resident data, or None where its rows travel from the host."""
    return cast(ResidentDraw, draw) if hasattr(draw, "order") else None


class CompiledStep:
    """The training step on JAX; implements `ladle.core.protocols.Step`.

    **Arguments**

    - `objective`, `optimizer`: what to minimise and how.
    - `rate`: learning-rate schedule, `f32[] examples drawn -> f32[] factor`.
    - `gauge`: how gradient moments are taken; None takes those of accumulated updates alone, which cost 1 to 4 %.
    - `moments`: False leaves out these too, and the norm of the gradient.
    - `devices`: which devices share a batch; all of the host by default.

    The state given to a call is consumed: its buffers become the new state's.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        *,
        rate: Rate = constant_rate,
        gauge: Gauge | None = None,
        moments: bool = True,
        devices: Any = None,
    ) -> None:
        if gauge is not None:
            require_measurable(objective, optimizer, gauge)
        self.objective = objective
        self.optimizer = optimizer
        self.devices = devices
        self.layout: Layout = layout(devices)
        self.names = updates_.sum_names(objective)
        self.rate = rate
        self.gauge = gauge
        self.measuring = Measuring(objective, gauge, self.layout.devices, moments)
        # Results are placed as the inputs are: left to the compiler, a first call could differ from the second.
        compiled = partial(jax.jit, out_shardings=self.layout.replicated)
        self._init = compiled(partial(init_state, objective, optimizer))
        static = ("micro_size", "accumulate", "program")
        self._window = compiled(self._trace_window, static_argnames=static, donate_argnums=0)
        self._accumulate = compiled(self._trace_accumulate, static_argnames="cut", donate_argnums=0)
        self._apply = compiled(self._trace_apply, donate_argnums=0)
        self._rebase = compiled(self._trace_rebase, static_argnames=("micro_size", "program"), donate_argnums=0)
        self._rebase_sent = compiled(self._trace_rebase_sent, donate_argnums=0)
        self._keep_averages = compiled(averages.kept, donate_argnums=0)
        self._toward = compiled(self._trace_toward)
        self._add = compiled(updates_.Accumulated.add)
        self._zero = compiled(self._trace_zero)
        self._prepared: set[Any] = set()

    def bare(self) -> CompiledStep:
        """The same updates without metrics, moments and norms: a smaller program where the state is all that counts."""
        objective = replace(self.objective, metrics=())
        return CompiledStep(objective, self.optimizer, rate=self.rate, moments=False, devices=self.devices)

    def init(self, seed: int, hyper: Mapping[str, float] | None = None) -> State:
        """A fresh state. `hyper` overrides optimiser constants and `lr`; `seed`: `0 .. 2**64 - 1`."""
        return self._init(self.hyper(hyper), seed_words(seed))

    def abstract_state(self, hyper: Mapping[str, float] | None = None) -> State:
        """The state as shapes with their place: what a checkpoint is read into. Nothing is allocated."""
        state = jax.eval_shape(self._init, self.hyper(hyper), seed_words(0))
        place = self.layout.replicated
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state)

    def hyper(self, over: Mapping[str, float] | None = None) -> dict[str, np.ndarray]:
        """The constants as arrays of the program; `lr` in units of the rate that the optimiser has inside."""
        lr = 1.0 if self.optimizer.lr is None else self.optimizer.lr
        values = {**self.optimizer.hyper, "lr": lr, **(over or {})}
        values["lr"] = values["lr"] / self.optimizer.unit
        return {name: np.asarray(value, np.float32) for name, value in values.items()}

    def transfer(self, state: State, hyper: Mapping[str, float]) -> State:
        """`state` with these constants from now on. They are data of the programs: no program of an update compiles.

        Where `b1` or `b2` move, the averages of Adam and its kin keep their bias-corrected values (`engine.averages`).

        Raises `ArgumentError` for one that the state does not hold: a run begins with all that it will change.
        """
        if unknown := sorted(set(hyper) - set(state.hyper)):
            why, known = "the state has no such constant", ", ".join(sorted(state.hyper))
            raise ArgumentError(must("hyper", "name constants of the run", unknown, why, known))
        given = {name: np.asarray(value, np.float32) for name, value in hyper.items()}
        values, opt_state = {**state.hyper, **self.place(given)}, state.opt_state
        # Between two windows, where the device has answered: reading two numbers of it waits for nothing.
        if any(given[name] != state.hyper[name] for name in ("b1", "b2") if name in given):
            opt_state = self._keep_averages(opt_state, state.hyper, values)
        return state._replace(hyper=values, opt_state=opt_state)

    def rebase(self, state: State, draw: Draw, spec: BatchSpec, old_size: int) -> State:
        """`state` with Adam's second moment as batches of `spec.size` would have made it; see `engine.rebase`.

        The noise is estimated on the first micro-batch of `draw`, which is trained on as usual. Consumes the state.
        Raises `ArgumentError` for an optimiser without a second moment.
        """
        require_rebasable(self.objective, self.optimizer)
        sizes = np.float32(old_size), np.float32(spec.size)
        if (resident := on_device(draw)) is not None:
            operands = self.window_operands(resident, spec, 1.0)[:2]
            statics = {"micro_size": spec.micro_size, "program": resident.order.program}
            return self._rebase(state, *operands, *sizes, **statics)
        batch = next(iter(draw.micro_batches(0, spec.micro_size)))
        return self._rebase_sent(state, *self._sent(batch, spec, draw.epoch_size), *sizes)

    def _trace_rebase(self, state: State, resident, numbers, old, new, *, micro_size: int, program: OrderProgram):
        epoch, offset, size = (numbers[i] for i in range(3))
        count = jnp.minimum(size, np.uint32(program.epoch_size) - offset)
        rows = gather(self.layout, program, resident, state, epoch, offset, count, micro_size)
        return self._rebased(state, rows, old, new)

    def _trace_rebase_sent(self, state: State, data, weight, place, epoch, old, new):
        return self._rebased(state, self._micro(state, data, weight, place, epoch), old, new)

    def _rebased(self, state: State, rows: MicroBatch, old: jax.Array, new: jax.Array) -> State:
        variance = coordinate_variance(self.objective, state.params, state.model_state, rows)
        return state._replace(opt_state=rebased(state.opt_state, variance, state.hyper, old, new))

    def _micro(self, state: State, data, weight, place, epoch) -> MicroBatch:
        return MicroBatch(data, weight, keys_at(state.key, epoch, place), levels_of(state.hyper))

    def rate_at(self, examples: float) -> float:
        """The schedule's factor at a position."""
        return 1.0 if self.rate is constant_rate else float(self.rate(jnp.float32(examples)))

    def place(self, tree: Any) -> Any:
        """A data set on every device, once, for many runs."""
        return self.layout.everywhere(tree)

    def __call__(
        self, state: State, draw: Draw, spec: BatchSpec, lr_factor: float = 1.0, clock: Clock = Clock()
    ) -> tuple[State, Observation]:
        if (resident := on_device(draw)) is not None:
            operands = self.window_operands(resident, spec, lr_factor, clock=clock)
            state, sums = self._window(state, *operands, **self.window_statics(resident.order.program, spec))
            return state, Observation(self.names, sums)
        observation = Observation()
        starts = accumulate(draw.counts, initial=draw.start)
        for update, start in zip(range(len(draw.counts)), starts, strict=False):
            state, sums = self._host_update(state, draw, update, start, spec, pace_of(lr_factor, clock))
            observation = observation.merge(Observation(self.names, sums))
        return state, observation

    def prepare(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        """Compile the rung of `spec` and run it once, by an update that is refused and leaves the state as it was.

        It is run because what a program needs beside its code is made when it first runs: tens of milliseconds that are
        no training time either.
        """
        resident, rung = on_device(draw), (spec.micro_size,)
        if resident is not None:
            structure = jax.tree.structure((resident.data, resident.weight))
            rung = (*rung, spec.micro_steps > 1, resident.order.program, structure)
        if rung in self._prepared:
            return state
        self._prepared.add(rung)
        if resident is None:
            return jax.block_until_ready(self._prepare_host(state, draw, spec))
        operands = self.window_operands(resident, spec, np.nan, updates=1)
        return jax.block_until_ready(
            self._window(state, *operands, **self.window_statics(resident.order.program, spec))
        )[0]

    def window_operands(
        self,
        draw: ResidentDraw,
        spec: BatchSpec,
        lr_factor: float,
        updates: int | None = None,
        clock: Clock = Clock(),
        every: int | None = None,
    ) -> tuple[Any, ...]:
        """The traced arguments of the compiled window after the state.

        - `every`: from one update that is measured to the next, where it has pieces as it is; else the gauge's.
        """
        resident = Resident(draw.data, draw.weight, dict(draw.order.tables()))
        count = spec.updates if updates is None else updates
        every = every or self.measuring.stride(draw.order.epoch_size, spec.size)
        numbers = np.array([draw.epoch, draw.offset, spec.size, count, every], np.uint32)
        return resident, numbers, pace_of(lr_factor, clock)

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
        pace: jax.Array,
        *,
        micro_size: int,
        accumulate: bool,
        program: OrderProgram,
    ) -> tuple[State, jax.Array]:
        """`updates` batches of `size` from place `offset` of pass `epoch` on; stops early at a refused one.

        - `numbers`: `u32[5]`, these in the order epoch, offset, size, updates, every. `pace`: see `update.apply`.
        """
        epoch_size = program.epoch_size
        epoch, offset, size, updates, every = (numbers[i] for i in range(5))

        def left_in_pass(offset: jax.Array) -> jax.Array:
            return jnp.minimum(size, np.uint32(epoch_size) - offset)

        def rows(state: State, epoch: jax.Array, first: jax.Array, count: jax.Array) -> MicroBatch:
            return gather(self.layout, program, resident, state, epoch, first, count, micro_size)

        def gradient(state: State, epoch: jax.Array, offset: jax.Array, count: jax.Array, cut: bool):
            view, none = self.measuring.view(state), self._trace_zero(state)
            pieced = accumulate or self.measuring.per_example  # A micro-batch that is not cut is one piece.
            measured = pieced and self.measuring.reads(offset, size, count, every)
            if not accumulate:
                return self.measuring.gradient(state, none, rows(state, epoch, offset, count), view, measured, cut)

            def micro_steps(done, first, end, view):
                def micro_step(carry):
                    done, first = carry
                    micro = rows(state, epoch, offset + first, count - first)
                    new = self.measuring.gradient(state, done, micro, view, measured)
                    return done.add(new), first + np.uint32(micro_size)

                return lax.while_loop(lambda carry: carry[1] < end, micro_step, (done, first))[0]

            if not self.measuring.projects or view is None:
                return micro_steps(none, jnp.uint32(0), count, view)
            third = np.uint32(micro_size) * jnp.maximum(steps_of(count, micro_size) // np.uint32(3), np.uint32(1))
            ends = jnp.minimum(third, count), jnp.minimum(2 * third, count)
            one = micro_steps(none, jnp.uint32(0), ends[0], view)
            two = micro_steps(none._replace(model_state=one.model_state), *ends, view)
            toward = one.mean(view.scale), two.mean(view.scale)
            return micro_steps(one.add(two), ends[1], count, view._replace(toward=toward))

        def update(carry, cut: bool = False):
            state, sums, epoch, offset, left = carry
            count = left_in_pass(offset)
            done = gradient(state, epoch, offset, count, cut)
            state, new = self._trace_apply(state, done, pace, (epoch, offset), epoch_size, noise=accumulate)
            ended = offset + count >= np.uint32(epoch_size)
            epoch, offset = epoch + ended.astype(jnp.uint32), jnp.where(ended, jnp.uint32(0), offset + count)
            refused = new[self.names.index("refused")] > 0
            return state, sums + new, epoch, offset, jnp.where(refused, jnp.uint32(0), left - jnp.uint32(1))

        def more(carry):
            return carry[-1] > 0

        def cuts(offset):
            return self.measuring.cuts(offset, size, left_in_pass(offset), every)

        def stretch(carry):
            # One that is cut, where its turn is, and those up to the next. A choice inside each update would write its
            # gradient to memory once more, a quarter of the time of a small batch.
            carry = lax.cond(cuts(carry[3]), partial(update, cut=True), lambda carry: carry, carry)
            return lax.while_loop(lambda carry: more(carry) & ~cuts(carry[3]), update, carry)

        start = (state, jnp.zeros(len(self.names), jnp.float32), epoch, offset, updates)
        loop = stretch if self.measuring.cutting and not accumulate else update
        state, sums, *_ = lax.while_loop(more, loop, start)
        return state, sums

    def _host_update(
        self, state: State, draw: Draw, update: int, start: int, spec: BatchSpec, pace: np.ndarray
    ) -> tuple[State, jax.Array]:
        """One update from position `start` on, whose rows travel from the host, micro-batch by micro-batch."""
        parts, toward, done = [], (), self._zero(state)
        epoch, offset = divmod(start, draw.epoch_size)
        count, every = draw.counts[update], self.measuring.stride(draw.epoch_size, spec.size)
        third = max(steps_of(count, spec.micro_size) // 3, 1)
        cut = bool(spec.micro_steps == 1 and self.measuring.cuts(offset, spec.size, count, every))
        measured = np.bool_(self.measuring.reads(offset, spec.size, count, every))
        for number, batch in enumerate(draw.micro_batches(update, spec.micro_size)):
            if self.measuring.projects and number in (third, 2 * third):
                parts, toward = [*parts, done], (*toward, self._toward(state, done))
                done = self._zero(state)._replace(model_state=done.model_state)
            sent = self._sent(batch, spec, draw.epoch_size)
            done = self._accumulate(done, state, *sent, toward if len(toward) == 2 else None, measured, cut=cut)
        done = reduce(self._add, [*parts, done])
        place = np.uint32(epoch), np.uint32(offset)
        return self._apply(state, done, pace, place, np.float32(draw.epoch_size))

    def _prepare_host(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        batch = next(iter(draw.micro_batches(0, spec.micro_size)))
        sent = self._sent(batch, spec, draw.epoch_size)
        for cut in (False, True) if self.measuring.cutting and spec.micro_steps == 1 else (False,):
            done = self._accumulate(self._zero(state), state, *sent, None, np.True_, cut=cut)
        if self.measuring.projects and spec.micro_steps > 1:
            toward = self._toward(state, done)
            done = self._accumulate(
                self._add(done, self._zero(state)), state, *sent, (toward, toward), np.True_, cut=False
            )
        refused = done._replace(loss=self.layout.everywhere(np.float32(np.nan)))
        place = np.uint32(0), np.uint32(0)
        return self._apply(state, refused, pace_of(0.0, Clock()), place, np.float32(draw.epoch_size))[0]

    def _sent(self, batch: Batch, spec: BatchSpec, epoch_size: int) -> tuple[Any, ...]:
        """A micro-batch on the devices: data, weight, places in the pass, and which pass (one: none crosses)."""
        batch = filled(batch, self.layout.rows(len(batch.weight)))
        epoch, place = np.divmod(batch.position, np.int64(epoch_size))
        return *self.layout.in_parts((batch.data, batch.weight, place.astype(np.uint32))), np.uint32(epoch[0])

    def _trace_zero(self, state: State) -> updates_.Accumulated:
        return updates_.zero(state.params, state.model_state, len(self.objective.metrics), self.measuring.pieces)

    def _trace_accumulate(self, done, state: State, data, weight, place, epoch, toward, measured, *, cut: bool):
        micro = self._micro(state, data, weight, place, epoch)
        view = self.measuring.view(state)
        view = view._replace(toward=toward) if view else None
        return done.add(self.measuring.gradient(state, done, micro, view, measured, cut))

    def _trace_toward(self, state: State, done: updates_.Accumulated) -> Any:
        view = self.measuring.view(state)
        return done.mean(view.scale if view else None)

    def _trace_apply(self, state: State, done, pace, place, epoch_size, *, noise: bool = True):
        view = self.measuring.view(state)
        noise = view is not None and (noise or self.gauge is not None)
        args = (state, done, pace, place, epoch_size)
        scale = view.scale if view else None
        return updates_.apply(self.optimizer, self.rate, *args, noise=noise, norm=self.measuring.moments, scale=scale)
