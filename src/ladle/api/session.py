"""`Session`: one sitting of a run on its way: what is recorded, evaluated and saved, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ladle.api.best import Best
from ladle.api.divergence import WINDOWS, diverged
from ladle.api.setup import RunSetup
from ladle.core import record
from ladle.core.carry import Carry
from ladle.core.constants import EMA
from ladle.core.errors import CheckpointError, must
from ladle.core.protocols import Sink
from ladle.feed.host import HostFeed
from ladle.feed.prefetch import PrefetchedFeed
from ladle.loop.checkpoint import Checkpoints
from ladle.monitor.jsonl import MetricsFile
from ladle.online.prequential import Tally
from ladle.policy.change import rescaled


@dataclass
class Session:
    """A sitting between its first line and its last. Three methods: `evaluate`, `record`, `save`.

    - `sinks`: who takes the record: the metrics file, a console, trackers. Told of every line, in this order.
    - `file`: the metrics file among them, None for a run in memory.
    - `joules`: tells those of this sitting so far; None where no meter measures.
    - `checkpoints`: of the newest states; `bests`: of the best evaluation's. None where none are kept.
    - `lines`: the record so far, those of earlier sittings included. `best`: the best evaluation in it.
    """

    setup: RunSetup
    sinks: Sequence[Sink] = ()
    file: MetricsFile | None = None
    joules: Callable[[], float | None] | None = None
    checkpoints: Checkpoints | None = None
    bests: Checkpoints | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    best: Best | None = None
    best_carry: Carry | None = field(default=None, repr=False)
    saved: int | None = None
    tally: Tally = field(default_factory=Tally)
    refused: tuple[tuple[str, str], ...] = ()

    def evaluate(self, carry: Carry, line: dict[str, Any]) -> Carry:
        """Judge the model on the validation part: readings into `line`, and into the carry that is returned."""
        assembly = self.setup.assembly
        if assembly.valid is None:
            return carry
        reading = assembly.engine.evaluate(carry.state, assembly.valid)
        if (averaged := assembly.engine.averaged(carry.state)) is not None:
            reading |= assembly.engine.evaluate(averaged, assembly.valid, prefix=f"valid_{EMA}_")
        line |= {**reading, "evaluated": line["examples"]}  # Tells this evaluation from the next, were they equal.
        carry = carry.evaluated(reading)
        better = self.setup.judge.better(line, self.best) if line["examples"] > 0 else None
        if better is not None:
            self.best = better
            keeps = self.bests is not None or self.setup.restore == "best"
            self.best_carry = None  # The one before goes first: two copies at once would be a peak for nothing.
            self.best_carry = replace(carry, state=assembly.engine.to_host(carry.state)) if keeps else None
        return carry

    def record(self, carry: Carry, line: dict[str, Any]) -> Carry:
        """Add what is in force to `line`, and hand it to every sink; the carry then knows it too."""
        if "lr_factor" in line:
            held = {"lr": self._lr(carry, line["lr_factor"]), **self._memory(), **self._energy()}
            line |= held | self._judged(line)
            carry = carry.read({name: float(value) for name, value in held.items() if value is not None})
        self.lines.append(line)
        for sink in self.sinks:
            sink.append(line)
        return carry

    def save(self, carry: Carry) -> None:
        """Write a checkpoint, and the best evaluation's beside it, unless they are there already."""
        if self.checkpoints is None or carry.progress.examples == self.saved:
            return
        if self.file is not None:
            self.file.flush()  # Lines up to a checkpoint are on the disk before it is.
        if self.bests is not None and self.best is not None and self.best.checkpoint is None and self.best_carry:
            self.bests.save(self.best_carry)
            self._wait(self.bests)
            self.best = replace(self.best, checkpoint=f"{self.bests.folder.name}/{self.best.examples:012d}")
        self.checkpoints.save(carry)
        self._wait(self.checkpoints)
        self.saved = carry.progress.examples

    def _wait(self, saving: Checkpoints) -> None:
        """Under a limit of memory a save is waited for: what it holds is not held beside an update or another save."""
        if self.setup.assembly.limit_bytes is not None:
            saving.wait()

    def message(self, text: str) -> None:
        """Hand a sentence to every sink."""
        for sink in self.sinks:
            sink.message(text)

    def fresh(self) -> Carry:
        """The carry that a new run begins with."""
        setup = self.setup
        state = self.shared(setup.assembly.engine.step.init(setup.seed, setup.constants))
        return Carry(state, setup.assembly.feed(setup.seed).start(), setup.policy.init(setup.plan))

    def shared(self, state: Any) -> Any:
        """Rank 0's `state`, on all ranks."""
        world, engine = self.setup.world, self.setup.assembly.engine
        return state if world.size == 1 else engine.place(world.first(lambda: engine.to_host(state)))

    def joined(self, carry: Carry | None) -> Carry | None:
        """What rank 0 goes on with, on all ranks: its carry, and the record so far."""
        world, engine = self.setup.world, self.setup.assembly.engine
        if world.size == 1 or not world.first(lambda: carry is not None):
            return carry
        told = world.first(lambda: (carry and replace(carry, state=engine.to_host(carry.state)), self.lines, self.best))
        found, self.lines, self.best = told
        return found and replace(found, state=engine.place(found.state))

    def restored(self, folder: Path) -> Carry:
        """The carry of the newest good checkpoint, and the record up to it. Raises `CheckpointError`."""
        assert self.checkpoints is not None and self.file is not None
        engine, constants = self.setup.assembly.engine, self.setup.constants
        found = self.checkpoints.restore(engine.abstract_state(constants))
        kept = self.file.last_before(found.position)
        if kept < found.position:
            reason = f"{record.METRICS_FILE} ends at {kept:,} examples, the checkpoint is of {found.position:,}"
            remedy = "an earlier copy of the folder"
            raise CheckpointError(must("resume", "find the whole record", str(folder), reason, remedy))
        self.file.truncate_after(found.position)
        self.refused, self.saved = found.refused, found.position
        self.lines = record.read_lines(folder / record.METRICS_FILE)
        self._remember_best()
        for line in self.lines:
            self._judged(line)
        # Constants given for this sitting win over those in the checkpoint: another size brings another rate.
        carry, was = found.carry, engine.constants(found.carry.state)
        state = engine.with_constants(carry.state, constants)
        memory = rescaled(carry.memory, was=was["lr"], now=engine.constants(state)["lr"])
        return replace(carry, state=state, memory=memory)

    def _judged(self, line: Mapping[str, Any]) -> dict[str, float]:
        """What `line` is to say of events that were judged before they were learnt; nothing where that is not asked."""
        if self.setup.prequential is None:
            return {}
        self.tally, reading = self.setup.prequential.add(self.tally, line)
        return reading

    def _remember_best(self) -> None:
        """The best evaluation of the lines so far, where its state is on the disk."""
        best: Best | None = None
        for line in self.lines:
            if line["examples"] > 0:
                best = self.setup.judge.better(line, best) or best
        if best is not None and self.bests is not None and best.examples in self.bests.steps():
            self.best = replace(best, checkpoint=f"{self.bests.folder.name}/{best.examples:012d}")

    def diverged(self, line: Mapping[str, Any]) -> str | None:
        """Why the run is over with `line`, not recorded yet, where its loss has exploded."""
        return diverged([*self.lines[-WINDOWS:], line], lambda: self._untrained)

    @cached_property
    def _untrained(self) -> float | None:
        """The untrained model's loss on the training rows, or a sample; where none can be read, the first window's."""
        assembly, seed = self.setup.assembly, self.setup.seed
        if assembly.placed is None and not isinstance(assembly.feed(seed), HostFeed | PrefetchedFeed):
            return next((line["train_loss"] for line in self.lines if "train_loss" in line), None)
        state = assembly.engine.step.init(seed, self.setup.constants)
        return assembly.engine.evaluate(state, assembly.measured_feed(seed).data, prefix="")["loss"]

    def _energy(self) -> dict[str, float]:
        """Joules since the run began, earlier sittings included: only where all of it was measured."""
        if self._joules_before is None:
            return {}
        so_far = self.setup.world.first(self.joules or (lambda: None))
        return {} if so_far is None else {"joules": self._joules_before + so_far}

    @cached_property
    def _joules_before(self) -> float | None:
        """Of the earlier sittings, asked before the first line of this one; None where they, or this one, tell none."""
        if not self.setup.world.first(lambda: self.joules is not None):
            return None
        windows = [line for line in self.lines if "lr_factor" in line]
        return windows[-1].get("joules") if windows else 0.0

    def _memory(self) -> dict[str, int]:
        """Bytes in use now, and how many may be: what is free now and what is in use already."""
        used = self.setup.assembly.backend.used_bytes()
        if used is None:
            return {}
        told = self.setup.world.gathered((used, self._memory_limit))  # That of the rank which has least left.
        used, limit = max(told, key=lambda one: one[0] - one[1])
        return {"memory_bytes": used, "memory_limit_bytes": limit}

    @cached_property
    def _memory_limit(self) -> int:
        backend = self.setup.assembly.backend
        return (backend.used_bytes() or 0) + backend.free_bytes()

    def _lr(self, carry: Carry, factor: float) -> float | None:
        """The learning rate in force after a window; None where the user's own transformation holds it."""
        base = self.setup.lr
        return None if base is None else base * factor * self.setup.assembly.engine.rate_at(carry.progress.time[0])

    def history(self) -> list[float]:
        """All readings of the metric that patience watches; none where there is no patience."""
        name = self.setup.until.patience_metric
        if self.setup.until.patience is None:
            return []
        return [line[name] for line in self.lines if line.get(name) is not None and line["examples"] > 0]


def ending(session: Session, carry: Carry, status: str) -> Mapping[str, Any]:
    """The last line; of a sound run with its newest evaluation, where that line has none of its own."""
    newest: dict[str, Any] = {}
    for line in session.lines if status != "diverged" else ():
        newest |= {name: value for name, value in line.items() if name.startswith("valid_")}
    return {**newest, **(session.lines[-1] if session.lines else {})}
