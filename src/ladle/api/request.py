"""A training run as the command line asks for it: the first sitting and, from its folder alone, every later one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ladle.api.assembly import assemble
from ladle.api.backend import backend_of
from ladle.api.baselines import require_baselines
from ladle.api.courier import couriers
from ladle.api.folder import RunFolder
from ladle.api.inference import inferred
from ladle.api.options import TaskOptions, of_fields
from ladle.api.run import Run
from ladle.api.schedule import of_one_size
from ladle.api.sending import trackers
from ladle.api.setup import Restore, Terms, set_up
from ladle.api.sitting import sit
from ladle.api.task import Task
from ladle.core import record
from ladle.core.backend import Rate
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, must
from ladle.core.moments import Gauge
from ladle.core.scaling.coupling import Rule
from ladle.core.world import World, said
from ladle.monitor.console import console

REQUEST = "request"
"""Its key in run.json."""


@dataclass(frozen=True)
class Request:
    """What `ladle train` was asked for. Kept in run.json, so that a folder alone says how to go on.

    - `size`: "auto", "full" or a number; the others as on the command line. `sweep`: the rate is to be found.
    - `track`: trackers by name, joined by commas. `baselines`: whether plain models are fitted to its rows at the end.
    """

    task: TaskOptions
    size: str = "auto"
    micro_size: int | None = None
    until: str = "30 epochs"
    schedule: str | None = None
    lr_schedule: str = "constant"
    sweep: bool = False
    memory: str | None = None
    seed: int = 0
    noise: bool = False
    rule: Rule | None = None
    restore: Restore | None = None
    track: str | None = None
    baselines: bool = False

    @classmethod
    def of_folder(cls, folder: Path) -> Request:
        """The request of the run in `folder`. Raises `ArgumentError` where `ladle train` wrote none there."""
        facts = record.read_json(folder / record.RUN_FILE)
        if REQUEST not in facts:
            why = "its task is not written there"
            raise ArgumentError(must("resume", "be the folder of a `ladle train` run", str(folder), why, "another one"))
        asked = of_fields(cls, facts[REQUEST])
        return cls(**{**asked, "task": TaskOptions.from_json(asked["task"])})

    def changed(
        self,
        size: str | None,
        micro_size: int | None,
        schedule: str | None,
        until: str | None,
        rule: Rule | None = None,
        restore: Restore | None = None,
        track: str | None = None,
    ) -> Request:
        """The request for a later sitting; None leaves a word as it was.

        A new size ends a schedule of sizes, and a new schedule the size that was.
        """
        new = self if size is None else replace(self, size=size, micro_size=None, schedule=None)
        new = new if size or schedule is None or of_one_size(schedule) else replace(new, size="auto")
        return replace(
            new,
            micro_size=new.micro_size if micro_size is None else micro_size,
            schedule=new.schedule if schedule is None else schedule,
            until=new.until if until is None else until,
            rule=new.rule if rule is None else rule,
            restore=new.restore if restore is None else restore,
            track=new.track if track is None else track,
        )


def begin(request: Request, folder: Path, *, show: bool, every_seconds: float, overwrite: bool = False) -> Run:
    """Train in a new folder, or with `overwrite` in that of an earlier run."""
    return _sit(request, RunFolder(folder, overwrite=overwrite), show=show, every_seconds=every_seconds)


def resume(request: Request, folder: Path, *, show: bool, every_seconds: float) -> Run:
    """Go on with the run in `folder` as `request` says: its own, or that one `changed`."""
    return _sit(request, RunFolder(folder, resume=True), show=show, every_seconds=every_seconds)


def _sit(request: Request, place: RunFolder, *, show: bool, every_seconds: float) -> Run:
    if said()[0] == 0:
        place.before()  # Refused before data are read, by the process that writes there.
    task = request.task.task()
    if request.baselines:
        require_baselines(task)
    with backend_of(task).world() as world:
        return _shared(request, task, place, world, show=show and world.rank == 0, every_seconds=every_seconds)


def _shared(request: Request, task: Task, place: RunFolder, world: World, *, show: bool, every_seconds: float) -> Run:
    """The sitting of all ranks of `world`, of which the first keeps the record."""
    assert place.path is not None
    until, path = Until.parse(request.until), place.path
    place, before = place.kept_by(world)
    sent = trackers(request.track, path.absolute().parent) if world.rank == 0 else ()
    assembly = assemble(task, rate=_rate(request, until, task), gauge=Gauge() if request.noise else None)
    setup = set_up(assembly, terms_of(request, until, before), before, world)
    kept = replace(request, task=request.task.located())
    with closing(console(until.stop(assembly.rows), quiet=not show)) as screen:
        for line in inferred(task.data) if before is None else ():
            screen.message(line)
        return sit(
            setup,
            place,
            sinks=(screen, *couriers(sent, screen)) if world.rank == 0 else (),
            every_seconds=every_seconds,
            facts={REQUEST: asdict(kept)},
        )


def terms_of(request: Request, until: Until, before: Mapping[str, Any] | None) -> Terms:
    """What is asked of this sitting, in the words of `fit`."""
    scheduled = request.schedule is not None and not of_one_size(request.schedule)
    return Terms(
        until=until,
        size=None if scheduled and request.size == "auto" else request.size,
        micro_size=request.micro_size,
        policy=request.schedule,
        rule=request.rule,
        memory=request.memory,
        lr=None if before is not None else _rate_of(request),
        seed=request.seed,
        window=before["window"] if before is not None else None,
        restore=request.restore,
        onward=before is not None,
    )


def _rate_of(request: Request) -> float | Literal["sweep"] | None:
    if request.sweep:
        return "sweep"
    return None if request.task.lr == "auto" else float(request.task.lr)


def _rate(request: Request, until: Until, task: Task) -> Rate | None:
    """The learning-rate schedule that the request names."""
    total = until.stop(task.data.rows)
    if request.lr_schedule != "constant" and total is None:
        why = "the rate's schedule ends with it"
        raise ArgumentError(must("until", "count epochs or examples", request.until, why, "'30 epochs'"))
    return backend_of(task).rate(request.lr_schedule, total=total or 1, epoch_size=task.data.rows)
