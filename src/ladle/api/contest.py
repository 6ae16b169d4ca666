"""`Contest`: the runs of a comparison, trained here in turn or by workers elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly, assemble
from ladle.api.comparison import Entrant
from ladle.api.fit import fit
from ladle.api.options import TaskOptions
from ladle.api.run import Run
from ladle.api.run_memory import within_limit
from ladle.api.task import Task
from ladle.api.workers import executor_of
from ladle.core.duration import Until
from ladle.core.errors import DivergedWarning, RunError, must
from ladle.core.turns import in_turn
from ladle.search.again import answers
from ladle.search.trial import Executor


@dataclass(frozen=True)
class Lot:
    """One run of a comparison: an entrant from a seed. It is the same run wherever it is trained."""

    entrant: Entrant
    seed: int

    def __str__(self) -> str:
        return f"size {self.entrant.spec.size}, seed {self.seed}"


class Contest:
    """Trains lots in this process. To other processes it travels as a recipe, and is put together anew there.

    - `task`: what travels. `limit_bytes`: of a whole run. `folder`: where runs are written, one all workers see.
    """

    def __init__(
        self,
        task: Task | TaskOptions,
        until: Until,
        folder: Path | None = None,
        limit_bytes: int | None = None,
        assembly: Assembly | None = None,
    ) -> None:
        self.recipe = (task, until, None if folder is None else folder.absolute(), limit_bytes)
        self.away = assembly is None
        self._ready: set[Any] = set()
        if assembly is not None:
            self.assembly = assembly

    def __reduce__(self) -> tuple[Any, ...]:
        return Contest, self.recipe

    @property
    def until(self) -> Until:
        return self.recipe[1]

    @cached_property
    def assembly(self) -> Assembly:
        task, _, _, limit_bytes = self.recipe
        made = assemble(task.task() if isinstance(task, TaskOptions) else task)
        return made if limit_bytes is None else within_limit(made, limit_bytes)

    def on_device(self, number: int) -> Contest:
        """The same on one of the devices of this process alone."""
        made, (_, until, folder, limit_bytes) = self.assembly, self.recipe
        if made.engine.devices > 1:
            made = assemble(made.task, devices=[number])
            made = made if limit_bytes is None else within_limit(made, limit_bytes)
        contest = Contest(made.task, until, folder, limit_bytes, made)
        contest.away = True
        return contest

    def __call__(self, lot: Lot) -> Run:
        """The run; of a worker elsewhere without the task that it was trained with, and its state on the host."""
        entrant, (_, until, folder, _) = lot.entrant, self.recipe
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergedWarning)  # The table says it.
            self._prepare(entrant)
            run = fit(
                self.assembly,
                size=entrant.spec.size,
                micro_size=entrant.spec.micro_size,
                until=until,
                lr=entrant.lr,
                hyper=entrant.hyper,
                seed=lot.seed,
                out=None if folder is None else folder / f"{entrant.name}-seed{lot.seed}",
                overwrite=self.away and folder is not None,  # Half of it may be there, of a worker that died.
                checkpoints=False,
                facts={"name": entrant.name},
            )
        if not self.away:
            return run
        state = self.assembly.engine.to_host(run.state)
        return replace(run, state=state, assembly=None)  # type: ignore[arg-type]

    def _prepare(self, entrant: Entrant) -> None:
        """Compile the update that a worker elsewhere needs, one after the other: they share one cache."""
        spec = entrant.spec
        key = spec.micro_size, spec.micro_steps > 1
        if not self.away or key in self._ready:
            return
        feed, step = self.assembly.feed(0), self.assembly.engine.step
        with in_turn("compiling"):
            step.prepare(step.init(0, entrant.hyper), feed.draw(feed.start(), spec)[0], spec)
        getattr(feed, "close", lambda: None)()
        self._ready.add(key)


def runs_of(
    contest: Contest, workers: str | Executor | None, lots: Sequence[Lot], again: list[str]
) -> Iterator[tuple[Lot, Run | RunError]]:
    """Each lot with its run, or with why there is none: its worker died again and again.

    - `workers`: None to train all here, in turn. `again`: takes the names of those that were begun anew.
    """
    if workers is None:
        yield from ((lot, _going_on(contest(lot))) for lot in lots)
        return
    assembly, folder = contest.assembly, contest.recipe[2]
    executor = executor_of(workers, folder, contest.on_device, assembly)
    try:
        for lot, run in answers(executor, contest, lots, told=lambda lot, why: again.append(str(lot))):
            if isinstance(run, RunError):
                yield lot, run
                continue
            _require_seen(_going_on(run))
            yield lot, replace(run, assembly=assembly, state=assembly.engine.place(run.state))
    finally:
        getattr(executor, "close", lambda: None)()


def _going_on(run: Run) -> Run:
    if run.status == "interrupted":
        raise KeyboardInterrupt
    return run


def _require_seen(run: Run) -> None:
    """A run that a worker wrote on a disk of its own is no part of this comparison's folder."""
    if run.folder is not None and not run.folder.is_dir():
        why, remedy = "workers write their runs there", "a folder on a shared disk, or out=None"
        raise RunError(must("out", "be a folder that all workers see", str(run.folder), why, remedy))
