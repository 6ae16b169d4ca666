"""How trials of a search are run: one of them in this process, all of them by threads, processes or a cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ladle.api.assembly import Assembly, assemble
from ladle.api.options import TaskOptions
from ladle.api.task import Task
from ladle.api.workers import executor_of
from ladle.core.errors import RunError
from ladle.core.trials import Trials
from ladle.core.turns import in_turn
from ladle.feed.augment import Keyed
from ladle.feed.fold import Fold, Tabled
from ladle.search.again import answers
from ladle.search.space import Space
from ladle.search.trial import Candidate, Executor, Outcome, Stretch, Trial

TOGETHER = 64
"""Most trials in one vmapped program: what bounds its memory."""

TABLE_BYTES = 2**26
"""Most that the tables of ids of all folds and seeds take; above it the device computes the orders."""


class Runner:
    """Runs trials in this process. To other processes it travels as a recipe, and is put together anew there."""

    def __init__(
        self,
        task: Task | TaskOptions,
        space: Space,
        micro_size: int | None = None,
        assembly: Assembly | None = None,
    ) -> None:
        self.recipe = (task, space, micro_size)
        self.space = space
        self._orders: dict[tuple[int, int], Any] = {}
        self._ready: set[Any] = set()
        self._preparing = Lock()
        self.away = assembly is None
        if assembly is not None:
            self.assembly = assembly

    def __reduce__(self) -> tuple[Any, ...]:
        return Runner, self.recipe

    def on_device(self, number: int) -> Runner:
        """The same on one of the devices of this process alone."""
        made = self.assembly
        if made.engine.devices > 1:
            made = assemble(made.task, devices=[number])
        runner = Runner(made.task, self.space, self.recipe[2], made)
        runner.away = True  # Its states go on on other devices.
        return runner

    @cached_property
    def assembly(self) -> Assembly:
        task = self.recipe[0]
        return assemble(task.task() if isinstance(task, TaskOptions) else task)

    @cached_property
    def trials(self) -> Trials:
        assert self.assembly.placed is not None
        folds, micro_size = self.space.folds, self.recipe[2]
        held = [folds.left_out(fold) for fold in range(folds.count)]
        return self.assembly.engine.trials(*self.assembly.placed, held, self.space.sizes, micro_size)

    def order(self, trial: Trial) -> Any:
        """The order in which a trial draws the rows of its fold; the same one for every size and rate."""
        key, folds = (trial.fold, trial.seed), self.space.folds
        if key not in self._orders:
            order = Fold(folds.trained_on(trial.fold), folds.epoch_size, trial.seed, room=len(folds.of))
            made = Tabled(order, self.space.passes) if self._tabled else order
            self._orders[key] = made if self.assembly.task.stage is None else Keyed(made, trial.seed)
            self._orders[key].tables()  # Worked out now, not in a trial's time.
        return self._orders[key]

    @property
    def _tabled(self) -> bool:
        space = self.space
        places = space.folds.epoch_size * space.passes * space.folds.count * space.seeds
        return places * np.dtype(np.uint32).itemsize <= TABLE_BYTES

    def prepare(self, sizes: Sequence[int]) -> None:
        """Compile what trials at `sizes` need, once in a process: no trial's time holds it."""
        with self._preparing:
            rungs = {self.trials.rung(size): size for size in sizes}
            if new := [size for rung, size in rungs.items() if rung not in self._ready]:
                order = self.order(Trial(Candidate(new[0], 0.0), 0, 0))
                with in_turn("compiling") if self.away else nullcontext():  # Workers share one compilation cache.
                    self.trials.prepare(order, new)
                self._ready |= rungs.keys()

    def __call__(self, stretch: Stretch) -> Outcome:
        """The stretch done here. One that cannot go on is an outcome too: the other trials are not its affair."""
        self.prepare([stretch.trial.candidate.size])
        try:
            return self._run(stretch)
        except RunError as error:
            return Outcome.of_failure(stretch, error)

    def _run(self, stretch: Stretch) -> Outcome:
        trial, order = stretch.trial, self.order(stretch.trial)
        began = time.perf_counter()
        state, refused = self.trials.advance(
            self._start(stretch), order, trial.candidate.size, stretch.begun, stretch.updates
        )
        reading = self.trials.score(state, trial.fold)
        kept = None if not stretch.keep else self.assembly.engine.to_host(state) if self.away else state
        seconds = time.perf_counter() - began
        return Outcome(trial, stretch.updates, reading, seconds, diverged(refused, reading), kept)

    def together(self, stretches: Sequence[Stretch]) -> list[Outcome]:
        """Stretches of one size and length as one program, which is compiled by training none of them."""
        program = self.trials.rung(stretches[0].trial.candidate.size), len(stretches)
        if program not in self._ready:
            self._run_all([replace(stretch, updates=stretch.begun) for stretch in stretches])
            self._ready.add(program)
        return self._run_all(stretches)

    def _run_all(self, stretches: Sequence[Stretch]) -> list[Outcome]:
        orders, first = [self.order(stretch.trial) for stretch in stretches], stretches[0]
        began = time.perf_counter()
        states = [self._start(stretch) for stretch in stretches]
        size = first.trial.candidate.size
        states, refused = self.trials.advance_all(states, orders, size, first.begun, first.updates)
        readings = self.trials.score_all(states, [stretch.trial.fold for stretch in stretches])
        seconds = (time.perf_counter() - began) / len(stretches)
        return [
            Outcome(
                stretch.trial,
                stretch.updates,
                reading,
                seconds,
                diverged(bad, reading),
                state if stretch.keep else None,
            )
            for stretch, reading, bad, state in zip(stretches, readings, refused, states, strict=True)
        ]

    def _start(self, stretch: Stretch) -> Any:
        if stretch.state is not None:
            return self.assembly.engine.place(stretch.state)
        return self.trials.start(stretch.trial.seed, {"lr": stretch.trial.candidate.lr})


class Work:
    """A runner and who runs it, open for as long as the search takes."""

    def __init__(self, runner: Runner, workers: str | Executor, folder: Path | None) -> None:
        self.runner = runner
        if workers == "auto":
            alone = runner.assembly.engine.devices == 1
            workers = "vmapped" if alone and not runner.assembly.backend.on_host() else "threads"
        self.name = workers if isinstance(workers, str) else type(workers).__name__
        self.finished: dict[Trial, Outcome] = {}
        """How far each trial has come, as it comes: what is left where the search ends early."""
        self.again: list[str] = []
        """Trials whose worker died, each time that they were begun anew."""
        self.executor: Any = None
        if workers != "vmapped":
            self.executor = executor_of(workers, folder, runner.on_device, runner.assembly)
        if self.name.partition(":")[0].lower() == "threads":
            runner.prepare(runner.space.sizes)

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *failure: object) -> None:
        getattr(self.executor, "close", lambda: None)()

    def __call__(self, stretches: Sequence[Stretch]) -> list[Outcome]:
        done: dict[Trial, Outcome] = {}
        for outcome in self._outcomes(stretches):
            done[outcome.trial] = outcome
            self.finished[outcome.trial] = replace(outcome, state=None)
        return [done[stretch.trial] for stretch in stretches]

    def _begun_anew(self, stretch: Stretch, why: RunError) -> None:
        self.again.append(str(stretch))

    def _outcomes(self, stretches: Sequence[Stretch]) -> Iterator[Outcome]:
        if self.executor is not None:
            told = self._begun_anew
            for stretch, answer in answers(self.executor, self.runner, stretches, told=told):
                yield Outcome.of_failure(stretch, answer) if isinstance(answer, RunError) else answer
            return
        for _, alike in groupby(
            stretches, lambda stretch: (stretch.trial.candidate.size, stretch.begun, stretch.updates)
        ):
            for part in equal_parts(list(alike)):
                yield from self.runner.together(part)


def equal_parts(stretches: list[Stretch]) -> Iterable[list[Stretch]]:
    """Parts of one length, which share a program: the last stretch stands in for those that the last part lacks."""
    width = -(-len(stretches) // -(-len(stretches) // TOGETHER))
    for first in range(0, len(stretches), width):
        part = stretches[first : first + width]
        yield part + [part[-1]] * (width - len(part))


def diverged(refused: bool, reading: Mapping[str, float]) -> bool:
    """Whether a trial is beyond hope: an update was refused, or its loss is no number."""
    return refused or not math.isfinite(reading["valid_loss"])
