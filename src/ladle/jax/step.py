"""`CompiledStep`: one or many updates, compiled once for each rung.

A rung is a micro-batch size, and whether an update accumulates over several micro-batches (then a gradient
accumulator exists in memory) or holds one. Batch size, number of updates, position, seed, learning rate and optimiser
constants are all data of the program: changing them compiles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ladle.core.batch import Draw
from ladle.core.decision import Clock
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.observation import Observation
from ladle.core.protocols import ResidentDraw
from ladle.core.seed import seed_words
from ladle.core.spec import BatchSpec
from ladle.core.stage import DeviceStage
from ladle.jax import averages
from ladle.jax.geometry import require_measurable
from ladle.jax.host import HostUpdates
from ladle.jax.meaning import Meaning
from ladle.jax.measure import Way, stride, way_of
from ladle.jax.mesh import Layout, layout
from ladle.jax.objective import Objective
from ladle.jax.offload import fetched, parked, places, put
from ladle.jax.operands import Operands, Pace, Rung, Window, on_device
from ladle.jax.optimizer import Optimizer
from ladle.jax.programs import Form, Program
from ladle.jax.rate import Rate, constant_rate
from ladle.jax.rows import Resident
from ladle.jax.state import State, first_averages, init_state
from ladle.jax.update import sum_names
from ladle.jax.window import many_updates


class CompiledStep:
    """The training step on JAX; implements `ladle.core.protocols.Step`.

    **Arguments**

    - `objective`, `optimizer`: what to minimise and how.
    - `rate`: learning-rate schedule, `f32[] examples drawn -> f32[] factor`.
    - `gauge`: how gradient moments are taken; None takes those of accumulated updates alone, which cost 1 to 4 %.
    - `moments`: False leaves out these too, and the norm of the gradient.
    - `devices`: which devices share a batch; all of the host by default.
    - `augment`: changes rows that live on the devices, see `ladle.jax.augment`.
    - `shard_state`: whether each device keeps a part of the state, see `ladle.jax.shard`.
    - `offload`: whether the host keeps the optimiser's state, see `ladle.jax.offload`.

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
        augment: DeviceStage | None = None,
        shard_state: bool = False,
        offload: bool = False,
    ) -> None:
        if gauge is not None:
            require_measurable(objective, optimizer, gauge)
        if rate is not constant_rate:
            rate(jnp.float32(0))  # Optax's settle their constants when first asked: whole numbers become fractions.
        self.devices = devices
        place = layout(devices, shard_state, offload)
        self.meaning = meaning = Meaning(objective, optimizer, rate, place, gauge, moments, augment)
        form = Form(layout=self.layout)
        beginning = Beginning(objective, optimizer.rule, place)
        self._init = Program(_trace_init, beginning, form)
        recomputes = objective.arithmetic.recomputes
        of_window = Form(("rung",), donate=True, layout=self.layout, recomputes=recomputes)
        self._window = Program(_trace_window, meaning.applied(), of_window)
        self._keep_averages = Program(_trace_kept, place, replace(form, donate=True))
        self._begin_averages = Program(_trace_begun, beginning, form)
        self._host = HostUpdates(meaning)
        self._prepared: set[Any] = set()

    @property
    def objective(self) -> Objective:
        return self.meaning.objective

    @property
    def optimizer(self) -> Optimizer:
        return self.meaning.optimizer

    @property
    def rate(self) -> Rate:
        return self.meaning.rate

    @property
    def gauge(self) -> Gauge | None:
        return self.meaning.gauge

    @property
    def layout(self) -> Layout:
        return self.meaning.layout

    def names(self, state: State) -> tuple[str, ...]:
        """What an update's sums are called."""
        return sum_names(self.objective, state.hyper)

    def bare(self) -> CompiledStep:
        """The same updates without metrics, moments and norms: a smaller program where the state is all that counts."""
        objective = replace(self.objective, metrics=())
        return CompiledStep(objective, self.optimizer, moments=False, **self.how())

    def how(self) -> dict[str, Any]:
        """What another step of the same task is made with, besides objective, optimiser and gauge."""
        shared = {"devices": self.devices, "shard_state": self.layout.shard_state, "offload": self.layout.offload}
        return {"rate": self.rate, "augment": self.meaning.augment, **shared}

    def init(self, seed: int, hyper: Mapping[str, float] | None = None) -> State:
        """A fresh state. `hyper` overrides optimiser constants and `lr`; `seed`: `0 .. 2**64 - 1`."""
        return self._init(self.hyper(hyper), seed_words(seed))

    def abstract_state(self, hyper: Mapping[str, float] | None = None) -> State:
        """The state as shapes with their place: what a checkpoint is read into. Nothing is allocated."""
        state = self._init.shape(self.hyper(hyper), seed_words(0))

        def leaf(one: Any, place: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=place)

        return jax.tree.map(leaf, state, places(self.layout, state))

    def hyper(self, over: Mapping[str, float] | None = None) -> dict[str, np.ndarray]:
        """The constants as arrays of the program; `lr` in units of the rate that the optimiser has inside."""
        lr = 1.0 if self.optimizer.lr is None else self.optimizer.lr
        values = {**self.optimizer.hyper, "lr": lr, **(over or {})}
        values["lr"] = values["lr"] / self.optimizer.unit
        return {name: np.asarray(value, np.float32) for name, value in values.items()}

    def transfer(self, state: State, hyper: Mapping[str, float]) -> State:
        """`state` with these constants from now on. They are data of the programs: no program of an update compiles.

        Where `b1` or `b2` move, the averages of Adam and its kin keep their bias-corrected values: see `averages.py`.

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

    def reset(self, state: State) -> State:
        """`state` with the optimiser's averages as before any update; weights, their average and constants stay."""
        return state._replace(opt_state=self._begin_averages(state.params, state.hyper))

    def rate_at(self, examples: float) -> float:
        """The schedule's factor at a position."""
        return 1.0 if self.rate is constant_rate else float(self.rate(jnp.float32(examples)))

    def place(self, tree: Any) -> Any:
        """A data set on every device, once, for many runs; a state as the programs keep it."""
        return self.placed_state(tree) if isinstance(tree, State) else self.layout.everywhere(tree)

    def placed_state(self, tree: Any) -> Any:
        """A state, or a part of one, as the programs keep it."""
        return self.layout.everywhere(tree) if self.layout.uniform else put(self.layout, tree)

    def __call__(
        self, state: State, draw: Draw, spec: BatchSpec, lr_factor: float = 1.0, clock: Clock = Clock()
    ) -> tuple[State, Observation]:
        if (resident := on_device(draw)) is not None:
            operands = self.window_operands(resident, spec, lr_factor, clock=clock)
            state, sums = self.run(state, operands, Rung.of(spec, resident.order.program))
            return state, Observation(self.names(state), sums)
        observation, pace = Observation(), Pace.of(lr_factor, clock)
        starts = accumulate(draw.counts, initial=draw.start)
        for update, start in zip(range(len(draw.counts)), starts, strict=False):
            state, sums = self._host(state, draw, update, start, spec, pace)
            observation = observation.merge(Observation(self.names(state), sums))
        return state, observation

    def prepare(self, state: State, draw: Draw, spec: BatchSpec) -> State:
        """Compile the rung of `spec` and run it once, by an update that is refused and leaves the state as it was.

        It is run because what a program needs beside its code is made when it first runs: tens of milliseconds that are
        no training time either.
        """
        resident = on_device(draw)
        kind = None
        if resident is not None:
            kind = resident.order.program, jax.tree.structure((resident.data, resident.weight))
        rung = spec.micro_size, spec.micro_steps > 1, kind
        if rung in self._prepared:
            return state
        self._prepared.add(rung)
        if resident is None:
            return jax.block_until_ready(self._host.prepare(state, draw, spec))
        operands = self.window_operands(resident, spec, np.nan, updates=1)
        return jax.block_until_ready(self.run(state, operands, Rung.of(spec, resident.order.program)))[0]

    def window_operands(
        self,
        draw: ResidentDraw,
        spec: BatchSpec,
        lr_factor: float,
        updates: int | None = None,
        clock: Clock = Clock(),
        every: int | None = None,
    ) -> Operands:
        """The traced arguments of the compiled window after the state.

        - `every`: from one update that is measured to the next, where it has pieces as it is; else the gauge's.
        """
        way = way_of(self.meaning, spec.micro_steps > 1)
        if every is None or way is Way.PARTS:
            every = stride(self.meaning, way, draw.order.epoch_size, spec.size)
        count = spec.updates if updates is None else updates
        window = Window.of(epoch=draw.epoch, offset=draw.offset, size=spec.size, updates=count, every=every)
        return Operands(Resident(draw.data, draw.weight, dict(draw.order.tables())), window, Pace.of(lr_factor, clock))

    def run(self, state: State, operands: Operands, rung: Rung) -> tuple[State, jax.Array]:
        """The state after the updates that `operands` tell, and their sums. Consumes the state."""
        return self._window(state, *operands, rung=rung)

    def compiled(self, shapes: tuple[Any, ...], rung: Rung) -> Any:
        """The updates of a rung, compiled for `shapes` (state and operands): nothing runs, nothing is allocated."""
        return self._window.ahead(*shapes, rung=rung)

    def exported(self, shapes: tuple[Any, ...], rung: Rung) -> bytes:
        """The updates of a rung over the flat leaves of `shapes`, as bytes that another process can run."""
        return self._window.exported(*shapes, rung=rung)


@dataclass(frozen=True)
class Beginning:
    """What a fresh state means, and where it lies."""

    objective: Objective
    rule: Optimizer
    layout: Layout


def _trace_init(beginning: Beginning, hyper: dict[str, jax.Array], seed: jax.Array) -> State:
    state = init_state(beginning.objective, beginning.rule, hyper, seed)
    return state._replace(opt_state=parked(beginning.layout, state.opt_state))


def _trace_begun(beginning: Beginning, params: Any, hyper: dict[str, jax.Array]) -> Any:
    return parked(beginning.layout, first_averages(beginning.rule, params, hyper))


def _trace_kept(place: Layout, opt_state: Any, old: Mapping[str, jax.Array], new: Mapping[str, jax.Array]) -> Any:
    return parked(place, averages.kept(fetched(place, opt_state), old, new))


def _trace_window(
    meaning: Meaning, state: State, resident: Resident, window: Window, pace: Pace, *, rung: Rung
) -> tuple[State, jax.Array]:
    """`many_updates` in the form that is compiled: what is traced by place, what is static by name."""
    return many_updates(meaning, rung, state, resident, window, pace)
