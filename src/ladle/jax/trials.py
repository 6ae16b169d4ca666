"""Trials of a search on data that lives on the device: one program for all sizes, rates, seeds and folds.

A fold is a table of row numbers, a size is a number, a rate is part of the state: none of them compiles anything. The
compiled size is the micro-batch alone, so sizes share it, and a batch is made of as many micro-batches as it takes. On
a processor with few cores compilation is what a search costs, so the program of the largest size runs all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ladle.core.observation import means
from ladle.core.protocols import DeviceOrder
from ladle.core.spec import BatchSpec, rung_for
from ladle.jax.devices import on_host
from ladle.jax.objective import checked_losses
from ladle.jax.rows import MicroBatch
from ladle.jax.state import State
from ladle.jax.step import CompiledStep

HOST_RUNG = 32
"""Rows of a micro-batch on a processor: a quarter of the time of 256 at small sizes, hardly slower at large ones."""

DEVICE_RUNG = 1024
"""Most rows of it on an accelerator, where rows are cheap and steps are not."""

SCORED = 1024
"""Rows that are judged at once."""


class Place(NamedTuple):
    """Where a stretch of a trial begins; what `CompiledStep` asks of a draw of resident rows."""

    data: Any
    weight: Any
    order: DeviceOrder
    epoch: int
    offset: int


class Trials:
    """Trains and judges any number of trials of one task, each a pure function of its arguments.

    - `data`, `weight`: all rows, on the devices. `folds`: for each fold, the rows left out, `i64[..]`.
    - `sizes`: those that will come; they choose the micro-batch. `micro_size`: the micro-batch, where it is given.

    A model whose examples are not independent has each size as its own micro-batch, and so a rung each.
    """

    def __init__(
        self,
        step: CompiledStep,
        data: Any,
        weight: Any,
        folds: Sequence[np.ndarray],
        sizes: Sequence[int],
        micro_size: int | None = None,
    ) -> None:
        self.step, self.data, self.weight = step, data, weight
        self.micro_size = micro_size or shared_rung(sizes)
        self.held = [_in_chunks(rows, max(map(len, folds)), step.layout.rows) for rows in folds]
        self._largest = max(sizes)
        self._programs = _programs_of(step)

    def spec(self, size: int) -> BatchSpec:
        """Batches of `size` in micro-batches of the rung."""
        return BatchSpec(size, self.micro_size if self.step.objective.additive else size)

    def rung(self, size: int) -> BatchSpec:
        """What the program that runs batches of `size` is compiled for."""
        return self.spec(max(size, self._largest) if self.step.objective.additive else size)

    def prepare(self, order: DeviceOrder, sizes: Sequence[int]) -> None:
        """Compile all that trials at `sizes` need, side by side: nothing is trained."""
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self.step.abstract_state())
        rungs = {self.rung(size): size for size in sizes}
        with ThreadPoolExecutor(len(rungs) + 2) as pool:
            begun: list[Any] = [
                pool.submit(self._run, self.step.place(zeros), order, size, 0, updates=0) for size in rungs.values()
            ]
            begun.append(pool.submit(self.score, self.step.place(zeros), 0))
            begun.append(pool.submit(self.step.init, 0))
            for one in begun:
                one.result()

    def start(self, seed: int, hyper: Mapping[str, float]) -> State:
        """A fresh state; `hyper` holds `lr`."""
        return self.step.init(seed, hyper)

    def advance(self, state: State, order: DeviceOrder, size: int, begun: int, updates: int) -> tuple[State, bool]:
        """Updates `begun` to `updates` of a trial at `size`, and whether one was refused. Consumes the state."""
        if updates <= begun:
            return state, False
        state, sums = self._run(state, order, size, begun, updates - begun)
        return state, bool(np.asarray(sums)[self._programs.refused] > 0)

    def score(self, state: State, fold: int) -> dict[str, float]:
        """Losses and metrics on the rows that `fold` leaves out: `{"valid_loss": ...}`."""
        return self._read(self._programs.score(state.params, state.model_state, self.data, *self.held[fold]), fold)

    def advance_all(
        self, states: Sequence[State], orders: Sequence[DeviceOrder], size: int, begun: int, updates: int
    ) -> tuple[list[State], list[bool]]:
        """`advance` of many trials at one size as one program, vmapped over rates, seeds and folds.

        The trials' matrix products become one batched product. An accelerator has room for that; on two cores it is
        slower than the trials in turn, whose small products already fill a core. No updates compile it and train none.
        """
        place, spec = self._place(orders[0], size, begun), self.spec(size)
        resident, *rest = self.step.window_operands(place, spec, 1.0, updates - begun)
        tables = jax.tree.map(lambda *leaves: np.stack(leaves), *(dict(order.tables()) for order in orders))
        window = self._programs.together(orders[0], self.rung(size), resident)
        state, sums = window(_stacked(states), resident._replace(tables=tables), *rest)
        refused = np.asarray(sums)[:, self._programs.refused] > 0
        return [jax.tree.map(lambda leaf: leaf[i], state) for i in range(len(states))], refused.tolist()  # noqa: B023

    def score_all(self, states: Sequence[State], folds: Sequence[int]) -> list[dict[str, float]]:
        """`score` of many states as one program."""
        state = _stacked(states)
        ids, weights = (np.stack([self.held[fold][part] for fold in folds]) for part in (0, 1))
        sums = self._programs.score_all(state.params, state.model_state, self.data, ids, weights)
        return [self._read(row, fold) for row, fold in zip(np.asarray(sums), folds, strict=True)]

    def _run(self, state: State, order: DeviceOrder, size: int, begun: int, updates: int) -> tuple[State, Any]:
        operands = self.step.window_operands(self._place(order, size, begun), self.spec(size), 1.0, updates)
        return self._programs.alone(order, self.rung(size))(state, *operands)

    def _place(self, order: DeviceOrder, size: int, begun: int) -> Any:
        epoch, within = divmod(begun, -(-order.epoch_size // size))
        return Place(self.data, self.weight, order, epoch, within * size)

    def _read(self, sums: Any, fold: int) -> dict[str, float]:
        count = float(self.held[fold][1].sum())
        loss, *own = np.asarray(sums, np.float64).tolist()
        metrics = means(dict(zip(self.step.objective.metrics, own, strict=True)), count)
        return {"valid_loss": loss / count, **{"valid_" + name: value for name, value in metrics.items()}}


class _Programs:
    """What is compiled for a step beside its own window; shared by all searches of one task."""

    def __init__(self, step: CompiledStep) -> None:
        self.step, self.objective = step, step.objective
        self.bare = step.bare()
        self.refused = self.bare.names.index("refused")
        self.score = jax.jit(self._trace_score, out_shardings=step.layout.replicated)
        self.score_all = jax.jit(jax.vmap(self._trace_score, in_axes=(0, 0, None, 0, 0)))
        self._windows: dict[Any, Any] = {}

    def alone(self, order: DeviceOrder, rung: BatchSpec) -> Any:
        """The window of one trial."""
        key = (order.program, rung.micro_size, rung.micro_steps > 1)
        if key not in self._windows:
            window = self.bare.window(order.program, rung)
            self._windows[key] = jax.jit(window, out_shardings=self.step.layout.replicated, donate_argnums=0)
        return self._windows[key]

    def together(self, order: DeviceOrder, rung: BatchSpec, resident: Any) -> Any:
        """The window over many states and orders."""
        key = (order.program, rung.micro_size, rung.micro_steps > 1, resident.weight is None)
        if key not in self._windows:
            axes = resident._replace(data=None, weight=None, tables=0)
            window = jax.vmap(self.bare.window(order.program, rung), in_axes=(0, axes, None, None))
            self._windows[key] = jax.jit(window, donate_argnums=0)
        return self._windows[key]

    def _trace_score(self, params: Any, model_state: Any, data: Any, ids: jax.Array, weight: jax.Array) -> jax.Array:
        names = self.objective.metrics

        def add(sums: jax.Array, chunk: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            place, weight = (self.step.layout.spread(value) for value in chunk)
            part = jax.tree.map(lambda leaf: leaf.at[place].get(mode="promise_in_bounds"), data)
            # Judging draws nothing at random; the fixed key only serves losses that insist on one.
            keys = jnp.broadcast_to(jax.random.key(0), place.shape)
            batch = MicroBatch(part, weight, keys)
            losses, metrics, _ = checked_losses(self.objective, params, model_state, batch, False)
            columns = (losses, *(metrics[name] for name in names))
            return sums + jnp.stack([jnp.sum(column.astype(jnp.float32) * weight) for column in columns]), None

        return lax.scan(add, jnp.zeros(1 + len(names), jnp.float32), (ids, weight))[0]


@lru_cache(maxsize=4)
def _programs_of(step: CompiledStep) -> _Programs:
    return _Programs(step)


def _stacked(states: Sequence[State]) -> State:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def shared_rung(sizes: Sequence[int]) -> int:
    """The micro-batch that all sizes share on these devices.

    A size below it has rows of weight zero, a size above it several micro-batches.
    """
    return min(max(sizes), HOST_RUNG) if on_host() else rung_for(max(sizes), DEVICE_RUNG)


def _in_chunks(rows: np.ndarray, room: int, whole: Any) -> tuple[np.ndarray, np.ndarray]:
    """`rows` as `u32[chunks, width]` with their weights; surplus places repeat the last row with weight zero."""
    chunks = -(-room // SCORED)
    width = whole(-(-room // chunks))
    ids = np.full(chunks * width, rows[-1], np.uint32)
    ids[: len(rows)] = rows
    weight = (np.arange(chunks * width) < len(rows)).astype(np.float32)
    return ids.reshape(chunks, width), weight.reshape(chunks, width)
