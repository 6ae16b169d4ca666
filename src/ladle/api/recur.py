"""`recur`: one run of a job that comes again and again, at the batch size that its folder's earlier runs speak for."""

from __future__ import annotations

import html
import math
import os
import re
import statistics
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ladle.api.assembly import REFERENCE_SIZE, Assembly, assemble
from ladle.api.fit import fit
from ladle.api.fitting import fitted, fitting
from ladle.api.inference import inferred
from ladle.api.run import Run
from ladle.api.task import Task
from ladle.api.until import require_measured
from ladle.api.usual_target import usual_target
from ladle.core import record
from ladle.core.consumption import Consumption
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, DivergedWarning, must
from ladle.core.protocols import Meter
from ladle.core.spec import require_count
from ladle.core.world import require_alone
from ladle.energy.meter import best_meter
from ladle.monitor.console import Console, console
from ladle.planner.bandit import Bandit, JobCost, Pick

TRIAL_FILE = "trial.json"

SIZES = "16..512"
"""Tried where none are given, as far as the rows go."""

CostName = Literal["seconds", "cpu_seconds", "joules"]

_RANGE = re.compile(r"^\s*(\d+)\s*\.\.\s*(\d+)\s*$")


@dataclass(frozen=True)
class Job:
    """One job as its folder remembers it.

    - `costs`: seconds and CPU-seconds of training; joules of the whole job where they were measured.
    - `target`: what was to be reached; `reached`: whether it was, `why` the run ended.
    - `reason`: why this size. `limit`: seconds after which it was stopped, None for no such limit.
    - `task`: what was trained, in names: data, model, optimizer, and the rate at batches of 64. None where it was not
      written down.
    """

    size: int
    reached: bool
    costs: Mapping[str, float | None]
    target: str
    why: str
    reason: str
    limit: float | None = None
    task: Mapping[str, Any] | None = None

    def trial(self, cost: str) -> JobCost | None:
        """What the bandit sees; None where that cost was not measured."""
        value = self.costs.get(cost)
        return None if value is None or not value > 0 else JobCost(self.size, value, self.reached)


@dataclass(frozen=True)
class Recurrence:
    """The job that was run, all jobs of the folder with it, oldest first, and the run itself."""

    job: Job
    jobs: tuple[Job, ...]
    cost: CostName
    run: Run = field(repr=False)
    used: Consumption = field(repr=False)

    def __str__(self) -> str:
        """How it went, in one line, and what is known of each size."""
        return "\n".join([self.outcome(), *_table(self.jobs, self.cost)])

    def outcome(self) -> str:
        """The one line that says how the job ended."""
        cost = _amount(self.job.costs.get(self.cost), self.cost)
        if self.job.reached:
            return f"size {self.job.size}: {self.job.why}; cost {cost}"
        limit = self.job.limit
        stopped = "" if limit is None else f" (a job was given {limit:.3g} s)"
        ended = f"{self.job.target} not reached; the run ended: {self.job.why}{stopped}"
        return f"size {self.job.size}: not converged: {ended}; cost {cost}, recorded as a miss"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def recur(
    task: Task | Assembly,
    out: str | os.PathLike[str],
    *,
    until: str | Until | None = None,
    sizes: str | Sequence[int] | None = None,
    cost: CostName = "seconds",
    default: int | None = None,
    rounds: int = 2,
    beta: float = 2.0,
    window: int = 0,
    seed: int = 0,
    country: str | None = None,
    meter: Meter | None = None,
    show: Console | bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Recurrence:
    """Train `task` once, to its target, at a size that a bandit picks from the runs in `out`; remember what it cost.

    - `out`: the folder that is the memory: one run folder a job. Nothing else is remembered anywhere.
    - `until`: a target and a bound, such as "valid_accuracy >= 0.95, 100 epochs". A job that does not reach the target
      is a miss; where left out that of the folder's jobs, or 95 % of accuracy, or a loss of 0.1 of amounts, within 100
      epochs. A miss is also a job that costs `beta` times what the cheapest size usually does, at which it is stopped.
    - `sizes`: "16..512" for the powers of two between, or numbers; where left out these,
      as far as the rows go. `default`: tried first; the nearest to 64 if None.
    - The rate is the task's at batches of 64, moved to the size by the optimiser's rule.
    - `cost`: "seconds" or "cpu_seconds" of training, or "joules" of the job, which need a counter. Compilation is in
      none of them.
    - `rounds`, `beta`, `window`: see `ladle.planner.bandit.Bandit`. `seed`: of its draws, and of the first run; every
      job has a seed of its own.

    Raises `ArgumentError` before any work where `until` has no target, a size is more than the data, the folder's
    jobs had another target or another task, or energy is the cost and cannot be measured; and after it where the
    untrained model is at the target already. An interrupted job is not remembered.
    """
    require_alone("recur")
    given, name = until and _with_target(until), _cost(cost)
    assembly, folder = task if isinstance(task, Assembly) else assemble(task), Path(out)
    until = given or usual_target(assembly, [job.target for job in remembered(folder)], seed)
    tried = fitting(sizes_from(SIZES), assembly.rows, fewest=2) if sizes is None else sizes_from(sizes)
    bandit = _bandit(tried, default, rounds, beta, window, seed, assembly.rows)
    target, told = _target(until, assembly), _told(assembly)
    jobs = remembered(folder, target, told)
    meter = meter or best_meter(country, accelerator=not assembly.backend.on_host())
    if cost == "joules" and not meter.measures:
        why = getattr(meter, "why", "") or "a model of energy is no measurement"
        raise ArgumentError(must("cost", "be one that is measured here", cost, why, "cost='seconds'"))
    trials = [trial for job in jobs if (trial := job.trial(name)) is not None]
    pick = bandit.pick(trials)
    limit = _seconds(bandit.limit(trials), jobs, name)
    if meter.measures:
        _compile(assembly, pick.size)
    at, number = _claim(folder)
    monitor = console(until.stop(assembly.rows), quiet=not show) if isinstance(show, bool) else show
    said = fitted("sizes", tried, sizes_from(SIZES), assembly.rows) if sizes is None else []
    for line in (*inferred(assembly.task.data), *said, f"target {target}"):
        monitor.message(line)
    bounded = until if limit is None else replace(until, seconds=min(until.seconds or math.inf, limit))
    meter.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergedWarning)  # The job's outcome says it.
            run = fit(
                assembly,
                size=pick.size,
                lr=_rate(assembly, pick.size),
                hyper=assembly.moved(pick.size),
                until=bounded,
                seed=seed + number - 1,
                out=at,
                checkpoints=False,
                show=monitor,
                facts={"reason": pick.reason, **(facts or {})},
            )
    finally:
        used = meter.stop()
    if run.status == "interrupted":
        raise KeyboardInterrupt
    job = _job(run, used, pick, target, limit, told)
    record.write_json(at / TRIAL_FILE, {**asdict(job), "energy": used.to_json()})
    return Recurrence(job, (*jobs, job), name, run, used)


def remembered(folder: Path, target: str | None = None, task: Mapping[str, Any] | None = None) -> tuple[Job, ...]:
    """The jobs in `folder`, oldest first. Raises `ArgumentError` where one had another `target`, or another `task`.

    A folder without its trial is of a job that was killed or is going on: it says nothing yet. A trial that does not
    say what was trained is taken for one of this task.
    """
    found = [path for path in folder.glob(f"*/{TRIAL_FILE}") if path.parent.name.isdigit()]
    jobs = {path.parent: _read(path) for path in sorted(found, key=lambda path: int(path.parent.name))}
    for at, job in jobs.items():
        if target is not None and job.target != target:
            why = f"{at} was trained to {job.target}, and what that cost says nothing about this"
            raise ArgumentError(must("until", "hold the target of the folder's jobs", target, why, "another folder"))
        for name, now in (task or {}).items():
            if (was := (job.task or {}).get(name, now)) != now:
                why = f"{at} was trained with {was!r}, and what that cost says nothing about this"
                raise ArgumentError(must(name, "be that of the folder's jobs", now, why, "another folder"))
    return tuple(jobs.values())


def _read(path: Path) -> Job:
    value = record.read_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("costs"), dict) or not {"size", "reached"} <= {*value}:
        why, remedy = "`ladle recur` did not write it", "another folder"
        raise ArgumentError(must("out", "hold jobs of `ladle recur`", str(path), why, remedy))
    facts: dict[str, Any] = {name: value.get(name) for name in Job.__dataclass_fields__}
    return Job(**facts)


def sizes_from(text: str | Sequence[int]) -> tuple[int, ...]:
    """Batch sizes, ascending: "16..512" for the powers of two from 16 to 512, or numbers joined by commas.

    >>> sizes_from("16..100"), sizes_from("32, 16"), sizes_from([64])
    ((16, 32, 64), (16, 32), (64,))
    """
    if not isinstance(text, str):
        return tuple(sorted(set(text)))
    if match := _RANGE.match(text):
        low, high = int(match[1]), int(match[2])
        found = [1 << power for power in range(high.bit_length()) if low <= 1 << power <= high]
    else:
        parts = re.split(r"[\s,]+", text.strip(" ,"))
        found = [int(part) for part in parts if part.isdigit()] if all(part.isdigit() for part in parts) else []
    if not found or min(found) < 1:
        why = "it is read as a range of powers of two, or as numbers"
        raise ArgumentError(must("sizes", "name batch sizes", text, why, "sizes='16..512' or sizes=[16, 32, 64]"))
    return tuple(sorted(set(found)))


def _with_target(until: str | Until) -> Until:
    parsed = Until.parse(until)
    if parsed.target is None:
        why = "jobs are compared by what they cost until they reach it"
        raise ArgumentError(must("until", "hold a target", str(until), why, "'valid_accuracy >= 0.95, 100 epochs'"))
    return parsed


def _target(until: Until, assembly: Assembly) -> str:
    """The target in words. Raises where it is a metric that is not measured: every job would miss it."""
    target = require_measured(until, assembly).target
    assert target is not None
    return f"{target.metric} {'>=' if target.at_least else '<='} {target.value:g}"


def _told(assembly: Assembly) -> dict[str, Any]:
    """What is trained, in names: rows that come in from job to job leave the data what it was."""
    names = {"data": assembly.task.data.name, "model": assembly.objective.name, "optimizer": assembly.optimizer.name}
    return {**names, "lr": assembly.reference_lr}


def _cost(cost: str) -> CostName:
    if cost not in get_args(CostName):
        known = ", ".join(get_args(CostName))
        raise ArgumentError(must("cost", f"be one of {known}", cost, "nothing else is measured", "cost='seconds'"))
    return cost  # type: ignore[return-value]


def _bandit(
    sizes: tuple[int, ...], default: int | None, rounds: int, beta: float, window: int, seed: int, rows: int
) -> Bandit:
    for size in sizes:
        if require_count("sizes", size) > rows:
            be, why = f"be at most the {rows:,} training examples", "a batch never crosses an epoch"
            raise ArgumentError(must("sizes", be, size, why, f"sizes='1..{rows}'"))
    near = min(sizes, key=lambda size: abs(math.log(size / REFERENCE_SIZE)), default=REFERENCE_SIZE)
    return Bandit(sizes, near if default is None else default, rounds=rounds, beta=beta, window=window, seed=seed)


def _rate(assembly: Assembly, size: int) -> float | None:
    """The task's rate at batches of 64, or the optimiser's usual one, moved to `size` by its rule."""
    return None if assembly.reference_lr is None else assembly.reference_lr * assembly.lr_ratio(size)


def _seconds(limit: float, jobs: Sequence[Job], cost: str) -> float | None:
    """Seconds of training that are worth the `limit`, by the cheapest second of earlier jobs.

    A run can be stopped by the clock alone. On a machine that is busy with other things a second costs less processor
    time or energy: a job is rather stopped late than for what others did.
    """
    if math.isinf(limit):
        return None
    pairs = [(job.costs.get(cost), job.costs.get("seconds")) for job in jobs]
    rates = [value / seconds for value, seconds in pairs if value and seconds]
    return limit / min(rates) if rates else None


def _compile(assembly: Assembly, size: int) -> None:
    """Make the programs of a job at `size` before its energy is counted: only the first job of a size needs it."""
    if fit(assembly, size=size, until="1 steps").status == "interrupted":
        raise KeyboardInterrupt


def _claim(folder: Path) -> tuple[Path, int]:
    """A folder for the next job, made here, so that two jobs begun at once have two."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
        number = max(taken, default=0)
        while True:
            number += 1
            try:
                (folder / f"{number:03d}").mkdir()
            except FileExistsError:
                continue
            return folder / f"{number:03d}", number
    except OSError as error:
        why = error.strerror or str(error)
        raise ArgumentError(
            must("out", "be a folder that can be written", str(folder), why, "another folder")
        ) from None


def _job(run: Run, used: Consumption, pick: Pick, target: str, limit: float | None, told: Mapping[str, Any]) -> Job:
    if run.final["updates"] == 0:
        why = "what an untrained model reaches costs the same at every size"
        raise ArgumentError(must("until", "hold a target that takes an update", target, why, "a harder target"))
    costs = {
        "seconds": run.final["seconds"],
        "cpu_seconds": sum(line.get("cpu_seconds", 0.0) for line in run.metrics),
        "joules": used.joules if used.source == "measured" else None,
    }
    reached = run.status == "stopped" and run.why.startswith("target")
    return Job(pick.size, reached, costs, target, run.why, pick.reason, limit, told)


UNITS = {"seconds": "s", "cpu_seconds": "CPU-s", "joules": "J"}


def _amount(value: float | None, cost: str) -> str:
    return f"{value:.3g} {UNITS[cost]}" if value is not None else "unknown"


def _table(jobs: Sequence[Job], cost: CostName) -> list[str]:
    """What is known of each size."""
    lines = [f"{'size':>8} {'jobs':>5} {'reached':>8}  median cost to the target, lowest to highest"]
    for size in sorted({job.size for job in jobs}):
        of_size = [job for job in jobs if job.size == size]
        costs = [trial.cost for job in of_size if (trial := job.trial(cost)) is not None and trial.reached]
        told = _amount(statistics.median(costs), cost) if costs else "unknown"
        spread = f", {min(costs):.3g} to {max(costs):.3g}" if len(costs) > 1 else ""
        lines.append(f"{size:>8,} {len(of_size):>5} {sum(job.reached for job in of_size):>8}  {told}{spread}")
    return lines
