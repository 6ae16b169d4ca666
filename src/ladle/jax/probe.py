"""`CompiledProbe`: the planner's questions, answered by the compiler and by short measurements. Never touches a run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ladle.core.confirmation import confirmed_peaks
from ladle.core.cursor import Cursor
from ladle.core.host import host_free_bytes
from ladle.core.moments import Moments
from ladle.core.observation import Observation
from ladle.core.protocols import Feed, Meter, ResidentDraw
from ladle.core.spec import BatchSpec
from ladle.jax.mesh import is_parked
from ladle.jax.operands import Rung, Window, on_device
from ladle.jax.programs import shapes_of
from ladle.jax.remat import compiler_options
from ladle.jax.shard import axis_in
from ladle.jax.step import CompiledStep

MARGIN = 0.9
"""Share of the free memory that a plan may use; the rest is for the allocator and the rest of the program."""

PILOT_UPDATES = 200
PROBE_SECONDS = 0.01
MOST_UPDATES = 500
"""Updates of one window of a probe."""


@dataclass(frozen=True)
class CompiledProbe:
    """Implements `ladle.core.protocols.Probe` for a compiled step and a feed of resident data.

    - `hyper`: optimiser constants (with `lr`) for the pilot. `pilot`: the spec it trains at.
    - `meter`: for `joules`; None, or one that does not measure, for none.
    """

    step: CompiledStep
    feed: Feed
    pilot: BatchSpec
    hyper: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    meter: Meter | None = None
    programs: dict[tuple[int, bool], Any] = field(default_factory=dict, compare=False, repr=False)
    """Compiled updates, one a rung: what memory is asked of is what is timed."""
    paces: dict[BatchSpec, float] = field(default_factory=dict, compare=False, repr=False)
    """Seconds of an update, roughly, of what was timed before."""

    def memory_bytes(self, spec: BatchSpec) -> int:
        """arguments + outputs - aliased + temporaries of the compiled update: data set, state, activations.

        Not the compiler's own `peak_memory_in_bytes`, which leaves temporaries out on the CPU backend.
        """
        analysis = self._compiled(spec).memory_analysis()
        parts = analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes
        return int(parts - analysis.alias_size_in_bytes)

    def confirm_bytes(self, spec: BatchSpec) -> int:
        """Peak of the same program, run in a child process. Raises `RunError` if the child did not survive it."""
        return self.confirm_all([spec])[0]

    def confirm_all(self, specs: Sequence[BatchSpec]) -> list[int]:
        """Confirmations in one child: smaller ones come first where it cannot forget a peak (`ladle.jax.child`).

        The child gets compiled-for shapes, no code of the user's.
        """
        with tempfile.TemporaryDirectory(prefix="ladle-probe-") as folder:
            for number, spec in enumerate(specs):
                self._export(spec, Path(folder) / str(number))
            return confirmed_peaks("ladle.jax.child", folder, len(specs), FOR_CHILD)

    def limit_bytes(self) -> tuple[int, str]:
        stats = self.step.layout.mesh.devices.flat[0].memory_stats()
        if stats and "bytes_limit" in stats:
            return int(MARGIN * stats["bytes_limit"]), f"{MARGIN:.0%} of the device's memory"
        free, where = host_free_bytes()
        devices = self.step.layout.devices
        shared = f", shared by {devices} devices" if devices > 1 else ""
        return max(int(MARGIN * free / devices), 1), f"{MARGIN:.0%} of the {where}{shared}"

    def seconds(self, spec: BatchSpec, repeats: int) -> np.ndarray:
        state = self.step.init(self.seed, self.hyper)
        if spec not in self.paces:
            state = self._paced(state, spec)
        measured = []
        for _ in range(repeats):
            updates = self._updates(spec)
            state, seconds = self._timed(state, spec, updates)
            measured.append(seconds / updates)
            self.paces[spec] = min(self.paces[spec], measured[-1])
        return np.array(measured)

    def _paced(self, state: Any, spec: BatchSpec) -> Any:
        """Find the pace of `spec` in ever longer windows: what a window costs apart from its updates is no part of it.

        One update alone, or interrupted, would leave all windows so short that they measure themselves.
        """
        state, _ = self._timed(state, spec, 1)  # The first update of a program is slower: it makes what it needs.
        updates, self.paces[spec] = 1, np.inf
        while True:
            state, seconds = self._timed(state, spec, updates)
            self.paces[spec] = min(self.paces[spec], seconds / updates)
            wanted = self._updates(spec)
            if wanted < 2 * updates:
                return state
            updates = min(wanted, 8 * updates)

    def _updates(self, spec: BatchSpec) -> int:
        """Updates of a window of about `PROBE_SECONDS`."""
        return int(np.clip(PROBE_SECONDS / self.paces[spec], 1, MOST_UPDATES))

    def moments(self, spec: BatchSpec, updates: int, state: Any = None) -> Moments:
        """Moments over updates that are all at the same parameters: those of `state`, or what a pilot reached.

        The pilot trains `PILOT_UPDATES` updates (at most one epoch): at the untrained parameters the gradient is so
        large that the noise scale means little. Measuring is an update with a learning rate of zero.
        """
        if not self.step.objective.additive:
            return Moments()  # An example has no gradient of its own.
        state, cursor = self._piloted() if state is None else (state, self.feed.start())
        measured = BatchSpec(spec.size, spec.micro_size, updates=updates)
        _, _, observation = self._window(state, cursor, measured, 0.0, every=1)
        return observation.moments()

    def _piloted(self) -> tuple[Any, Cursor]:
        """Parameters that a short pilot reached, and where it is in the data."""
        state = self.step.init(self.seed, self.hyper)
        per_epoch = -(-self.feed.epoch_size // self.pilot.size)
        pilot = BatchSpec(self.pilot.size, self.pilot.micro_size, updates=min(PILOT_UPDATES, per_epoch))
        state, cursor, _ = self._window(state, self.feed.start(), pilot, 1.0)
        return state, cursor

    def joules(self, spec: BatchSpec) -> float | None:
        """Mean over as many updates as the meter needs to be read well; compilation left out."""
        if self.meter is None or not self.meter.measures:
            return None
        state = self.step.init(self.seed, self.hyper)
        state, once = self._timed(state, spec, 1)
        state, once = self._timed(state, spec, 1)
        left = updates = max(int(np.ceil(self.meter.least_seconds / once)), 1)
        self.meter.start()
        while left > 0:
            state, _ = self._timed(state, spec, min(left, MOST_UPDATES))
            left -= MOST_UPDATES
        used = self.meter.stop()
        return used.joules / updates if used.joules is not None and used.source == "measured" else None

    def _timed(self, state: Any, spec: BatchSpec, updates: int) -> tuple[Any, float]:
        part = BatchSpec(spec.size, spec.micro_size, updates=updates)
        self._compiled(part)
        started = time.perf_counter()
        # At a learning rate of zero: the same work, and it cannot diverge, which would end the window early.
        state, _, observation = self._window(state, self.feed.start(), part, 0.0)
        observation.sums()
        return state, time.perf_counter() - started

    def _window(
        self, state: Any, cursor: Cursor, spec: BatchSpec, lr_factor: float, every: int | None = None
    ) -> tuple[Any, Cursor, Observation]:
        """What the step does with a draw, through the programs compiled here."""
        draw, cursor = self._draw(cursor, spec)
        state, sums = self._compiled(spec)(state, *self.step.window_operands(draw, spec, lr_factor, every=every))
        return state, cursor, Observation(self.step.names(state), sums)

    def _draw(self, cursor: Cursor, spec: BatchSpec) -> tuple[ResidentDraw, Cursor]:
        draw, cursor = self.feed.draw(cursor, spec)
        resident = on_device(draw)
        assert resident is not None, "a probe measures the resident lane"
        return resident, cursor

    def _rung(self, spec: BatchSpec) -> Rung:
        return Rung.of(spec, self._draw(self.feed.start(), spec)[0].order.program)

    def _shapes(self, spec: BatchSpec) -> tuple[Any, ...]:
        """What the compiled window takes, as shapes."""
        draw, _ = self._draw(self.feed.start(), spec)
        operands = self.step.window_operands(draw, spec, 1.0)
        shapes = shapes_of((self.step.abstract_state(self.hyper), *operands))
        if self.step.layout.uniform:
            return shapes
        # Beside arrays in parts, what is whole has to say so, or the compiler would be free to cut it.
        return jax.tree.map(self._with_place, shapes)

    def _with_place(self, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        place = leaf.sharding or self.step.layout.replicated
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)

    def _held(self, spec: BatchSpec) -> BatchSpec:
        """`spec` with the largest rung that there are rows for: what lies beyond the data set would never be used."""
        return replace(spec, micro_size=min(spec.micro_size, self.feed.epoch_size))

    def _compiled(self, spec: BatchSpec) -> Any:
        spec = self._held(spec)
        rung = (spec.micro_size, spec.micro_steps > 1)
        if rung not in self.programs:
            self.programs[rung] = self.step.compiled(self._shapes(spec), self._rung(spec))
        return self.programs[rung]

    def _export(self, spec: BatchSpec, folder: Path) -> None:
        """Write the update at `spec` as a portable program over flat leaves, and what to feed it."""
        spec = self._held(spec)
        shapes = self._shapes(spec)
        folder.mkdir()
        (folder / "program").write_bytes(self.step.exported(shapes, self._rung(spec)))
        options = compiler_options(self.step.objective.arithmetic.recomputes)
        donated = len(jax.tree.leaves(shapes[0]))
        facts = {"leaves": _inputs(shapes, spec), "donated": donated, "options": options}
        (folder / "facts.json").write_text(json.dumps(facts))


def _inputs(shapes: tuple[Any, ...], spec: BatchSpec) -> list[dict[str, Any]]:
    """Shape, type, made-up value and place of each leaf that a window of two updates at `spec` takes.

    How many rows are really used is the one thing that matters of them. The rest are small numbers that are not all
    zero: zero pages would not be resident.
    """
    state, resident, _, pace = jax.tree.map(lambda leaf: 1, shapes)
    window = Window.of(epoch=0, offset=0, size=spec.size, updates=2, every=1)
    values = [*jax.tree.leaves((state, resident)), window.numbers.tolist(), *jax.tree.leaves(pace)]
    return [
        {
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "value": value,
            "axis": axis_in(leaf.sharding),
            "parked": is_parked(leaf.sharding),
        }
        for leaf, value in zip(jax.tree.leaves(shapes), values, strict=True)
    ]


FOR_CHILD = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_TRACEBACK_FILTERING": "off"}
"""The child takes device memory as it needs it, since we hold most already; and its last words are its error."""
