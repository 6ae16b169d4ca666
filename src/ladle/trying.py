"""How trials of a search are run: one of them in this process, all of them by threads, processes or a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from ladle.assembly import Assembly, assemble
from ladle.engine.devices import on_host
from ladle.engine.trials import Trials, diverged, travelling
from ladle.feed.fold import Fold, Tabled
from ladle.options import TaskOptions
from ladle.task import Task
from ladle.trials.executors import executor_named
from ladle.trials.folds import Folds
from ladle.trials.trial import Candidate, Executor, Job, Outcome, Trial

TOGETHER = 64
"""Most trials in one vmapped program: what bounds its memory."""

TABLE_BYTES = 2**26
"""Largest table of ids that a trial is given; above it the device computes its order."""


class Runner:
    """Runs trials in this process. To other processes it travels as a recipe, and is put together anew there."""

    def __init__(
        self,
        task: Task | TaskOptions,
        folds: Folds,
        sizes: Sequence[int],
        micro_size: int | None,
        passes: int,
        assembly: Assembly | None = None,
    ) -> None:
        self.recipe = (task, folds, tuple(sizes), micro_size, passes)
        self._orders: dict[tuple[int, int], Any] = {}
        self.away = assembly is None
        if assembly is not None:
            self.assembly = assembly

    def __reduce__(self) -> tuple[Any, ...]:
        return Runner, self.recipe

    @cached_property
    def assembly(self) -> Assembly:
        task = self.recipe[0]
        return assemble(task.task() if isinstance(task, TaskOptions) else task)

    @cached_property
    def trials(self) -> Trials:
        _, folds, sizes, micro_size, _ = self.recipe
        assert self.assembly.placed is not None
        data, weight = self.assembly.placed
        held = [folds.left_out(fold) for fold in range(folds.count)]
        return Trials(self.assembly.step, data, weight, held, sizes, micro_size)

    def order(self, trial: Trial) -> Any:
        """The order in which a trial draws the rows of its fold; the same one for every size and rate."""
        key, (_, folds, _, _, passes) = (trial.fold, trial.seed), self.recipe
        if key not in self._orders:
            rows = folds.epoch_size
            order = Fold(folds.trained_on(trial.fold), rows, trial.seed, room=len(folds.of))
            self._orders[key] = Tabled(order, passes) if 4 * rows * passes <= TABLE_BYTES else order
        return self._orders[key]

    def prepare(self) -> None:
        """Compile everything, before threads would each do it."""
        sizes = self.recipe[2]
        self.trials.prepare(self.order(Trial(Candidate(sizes[0], 0.0), 0, 0)), sizes)

    def __call__(self, job: Job) -> Outcome:
        began, trial = time.perf_counter(), job.trial
        state, refused = self.trials.advance(
            self._start(job), self.order(trial), trial.candidate.size, job.begun, job.updates
        )
        reading = self.trials.score(state, trial.fold)
        kept = None if not job.keep else travelling(state) if self.away else state
        seconds = time.perf_counter() - began
        return Outcome(trial, job.updates, reading, seconds, diverged(refused, reading), kept)

    def together(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Jobs of one size and stretch as one program."""
        began, first = time.perf_counter(), jobs[0]
        states = [self._start(job) for job in jobs]
        orders = [self.order(job.trial) for job in jobs]
        size = first.trial.candidate.size
        states, refused = self.trials.advance_all(states, orders, size, first.begun, first.updates)
        readings = self.trials.score_all(states, [job.trial.fold for job in jobs])
        seconds = (time.perf_counter() - began) / len(jobs)
        return [
            Outcome(job.trial, job.updates, reading, seconds, diverged(bad, reading), state if job.keep else None)
            for job, reading, bad, state in zip(jobs, readings, refused, states, strict=True)
        ]

    def _start(self, job: Job) -> Any:
        if job.state is not None:
            return self.assembly.step.place(job.state)
        return self.trials.start(job.trial.seed, {"lr": job.trial.candidate.lr})


class Work:
    """A runner and who runs it, open for as long as the search takes."""

    def __init__(self, runner: Runner, workers: str | Executor, folder: Path | None) -> None:
        self.runner = runner
        if workers == "auto":
            alone = runner.assembly.step.layout.devices == 1
            workers = "vmapped" if alone and not on_host() else "threads"
        self.name = workers if isinstance(workers, str) else type(workers).__name__
        self.executor: Any = None
        if workers != "vmapped":
            self.executor = executor_named(workers, folder) if isinstance(workers, str) else workers
        if self.name.partition(":")[0].lower() == "threads":
            runner.prepare()

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *failure: object) -> None:
        getattr(self.executor, "close", lambda: None)()

    def __call__(self, jobs: Sequence[Job]) -> list[Outcome]:
        if self.executor is not None:
            return list(self.executor.map(self.runner, jobs))
        done: dict[Trial, Outcome] = {}
        for _, alike in groupby(jobs, lambda job: (job.trial.candidate.size, job.begun, job.updates)):
            for part in equal_parts(list(alike)):
                done |= {outcome.trial: outcome for outcome in self.runner.together(part)}
        return [done[job.trial] for job in jobs]


def equal_parts(jobs: list[Job]) -> Iterable[list[Job]]:
    """Parts of one length, so that they share a program: the last job stands in for those that the last part lacks."""
    width = -(-len(jobs) // -(-len(jobs) // TOGETHER))
    for first in range(0, len(jobs), width):
        part = jobs[first : first + width]
        yield part + [part[-1]] * (width - len(part))
