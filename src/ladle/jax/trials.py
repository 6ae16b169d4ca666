"""Trials of a search on data that lives on the device: one program for all sizes, rates, seeds and folds.

A fold is a table of row numbers, a size is a number, a rate is part of the state: none of them compiles anything. The
compiled size is the micro-batch alone, so sizes share it, and a batch is made of as many micro-batches as it takes. On
a processor with few cores compilation is what a search costs, so the program of the largest size runs all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from ladle.core.protocols import DeviceOrder
from ladle.core.spec import BatchSpec, rung_for
from ladle.jax import judge
from ladle.jax.devices import on_host
from ladle.jax.judge import Chunks, Judged
from ladle.jax.meaning import Meaning
from ladle.jax.mesh import is_parked
from ladle.jax.operands import Operands, Pace, Rung, Window
from ladle.jax.programs import Form, Program
from ladle.jax.rows import Resident
from ladle.jax.state import State
from ladle.jax.step import CompiledStep
from ladle.jax.update import SUMS
from ladle.jax.window import many_updates

HOST_RUNG = 32
"""Rows of a micro-batch on a processor: a quarter of the time of 256 at small sizes, hardly slower at large ones."""

DEVICE_RUNG = 1024
"""Most rows of it on an accelerator, where rows are cheap and steps are not."""

SCORED = 1024
"""Rows that are judged at once."""


class Start(NamedTuple):
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
                pool.submit(self._run, self.step.place(zeros), order, size, 0, 0) for size in rungs.values()
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
        state, sums = self._run(state, order, size, begun, updates)
        return state, bool(np.asarray(sums)[self._programs.refused] > 0)

    def score(self, state: State, fold: int) -> dict[str, float]:
        """Losses and metrics on the rows that `fold` leaves out: `{"valid_loss": ...}`."""
        return self._read(self._programs.score(state.params, state.model_state, self.data, self.held[fold]), fold)

    def advance_all(
        self, states: Sequence[State], orders: Sequence[DeviceOrder], size: int, begun: int, updates: int
    ) -> tuple[list[State], list[bool]]:
        """`advance` of many trials at one size as one program, vmapped over rates, seeds and folds.

        The trials' matrix products become one batched product. An accelerator has room for that; on two cores it is
        slower than the trials in turn, whose small products already fill a core. No updates compile it and train none.
        """
        operands = self._operands(orders[0], size, begun, updates)
        tables = jax.tree.map(lambda *leaves: np.stack(leaves), *(dict(order.tables()) for order in orders))
        operands = operands._replace(resident=operands.resident._replace(tables=tables))
        rung = self._compiled_for(orders[0], size)
        state, sums = self._programs.together(_stacked(states), *operands, rung=rung)
        refused = np.asarray(sums)[:, self._programs.refused] > 0
        after = (jax.tree.map(lambda leaf: leaf[i], state) for i in range(len(states)))  # noqa: B023
        return [self.step.place(one) for one in after], refused.tolist()

    def score_all(self, states: Sequence[State], folds: Sequence[int]) -> list[dict[str, float]]:
        """`score` of many states as one program."""
        state = _stacked(states)
        chunks = jax.tree.map(lambda *parts: np.stack(parts), *(self.held[fold] for fold in folds))
        sums = self._programs.score_all(state.params, state.model_state, self.data, chunks)
        return [self._read(row, fold) for row, fold in zip(np.asarray(sums), folds, strict=True)]

    def _run(self, state: State, order: DeviceOrder, size: int, begun: int, updates: int) -> tuple[State, Any]:
        """From update `begun` up to `updates`."""
        rung = self._compiled_for(order, size)
        return self._programs.bare.run(state, self._operands(order, size, begun, updates), rung)

    def _compiled_for(self, order: DeviceOrder, size: int) -> Rung:
        return Rung.of(self.rung(size), order.program)

    def _operands(self, order: DeviceOrder, size: int, begun: int, updates: int) -> Operands:
        epoch, within = divmod(begun, -(-order.epoch_size // size))
        start = Start(self.data, self.weight, order, epoch, within * size)
        return self.step.window_operands(cast(Any, start), self.spec(size), 1.0, updates - begun)

    def _read(self, sums: Any, fold: int) -> dict[str, float]:
        return judge.reading(self.step.objective, sums, float(self.held[fold].weight.sum()), "valid_")


class _Programs:
    """What is compiled for a step beside its own window."""

    def __init__(self, step: CompiledStep) -> None:
        self.bare = bare = step.bare()
        judged, placed = Judged.over(step.objective, step.layout), Form(layout=step.layout)
        self.refused = SUMS.index("refused")
        self.score = Program(judge.sums, judged, placed)
        self.score_all = Program(_trace_scores, judged)
        recomputes = step.objective.arithmetic.recomputes
        together = Form(static=("rung",), donate=True, recomputes=recomputes)
        meaning = bare.meaning.applied()
        on_devices = replace(meaning, layout=replace(meaning.layout, offload=False))  # As `_stacked` puts them.
        self.together = Program(_trace_window, on_devices, together)


def _trace_scores(judged: Judged, params: Any, model_state: Any, data: Any, chunks: Chunks) -> jax.Array:
    return jax.vmap(partial(judge.sums, judged), in_axes=(0, 0, None, 0))(params, model_state, data, chunks)


def _trace_window(
    meaning: Meaning, state: State, resident: Resident, window: Window, pace: Pace, *, rung: Rung
) -> tuple[State, jax.Array]:
    """The window over many states and orders."""
    axes = resident._replace(data=None, weight=None, tables=0)
    alone = partial(many_updates, meaning, rung)
    return jax.vmap(alone, in_axes=(0, axes, None, None))(state, resident, window, pace)


@lru_cache(maxsize=4)
def _programs_of(step: CompiledStep) -> _Programs:
    return _Programs(step)


def _stacked(states: Sequence[State]) -> State:
    """States of many trials as one, on the devices."""
    on_devices = [jax.tree.map(_fetched, state) for state in states]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *on_devices)


def _fetched(leaf: Any) -> Any:
    return jax.device_put(leaf, leaf.sharding.with_memory_kind(None)) if is_parked(leaf.sharding) else leaf


def shared_rung(sizes: Sequence[int]) -> int:
    """The micro-batch that all sizes share on these devices.

    A size below it has rows of weight zero, a size above it several micro-batches.
    """
    return min(max(sizes), HOST_RUNG) if on_host() else rung_for(max(sizes), DEVICE_RUNG)


def _in_chunks(rows: np.ndarray, room: int, whole: Callable[[int], int]) -> Chunks:
    """`rows` in chunks for up to `room` of them: the same shape for every fold."""
    chunks = -(-room // SCORED)
    places = Chunks.of(len(rows), chunks, whole(-(-room // chunks)), np)
    return places._replace(ids=rows.astype(np.uint32)[places.ids])
