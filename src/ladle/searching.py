"""`search`: batch sizes and learning rates tried by cross-validation, and the cheapest of the best chosen."""

from __future__ import annotations

import html
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ladle import record
from ladle.assembly import Assembly, assemble, resolve_size
from ladle.batch import updates_until
from ladle.duration import Until, better_is_higher
from ladle.errors import ArgumentError, must, nearest
from ladle.monitor.console import Console, console
from ladle.options import TaskOptions
from ladle.report.searched import text
from ladle.spec import require_count
from ladle.task import Task
from ladle.training import Run, fit
from ladle.trials.choice import Score, best, choose, score
from ladle.trials.executors import executor_named
from ladle.trials.folds import Folds, folds_of
from ladle.trials.halving import FACTOR, Level, levels
from ladle.trials.optuna import Proposals
from ladle.trials.trial import Candidate, Executor, Job, Outcome, Trial
from ladle.trying import Runner, Work

SEARCH_FILE = "search.json"

AROUND = (0.3, 1.0, 3.0)
"""Rates tried where none are given, as multiples of the usual one."""

PROPOSED = 20
"""Candidates of a model-based search where no number is given."""


@dataclass(frozen=True)
class Row:
    """One candidate of a search.

    - `score`: mean over folds with its standard error; NaN where a trial diverged.
    - `seconds`: of one fit and its judging, mean over trials, measured while others ran beside it.
    - `updates`: how far it was trained. `complete`: to the end; only such candidates may be chosen.
    """

    candidate: Candidate
    score: Score
    seconds: float
    updates: int
    complete: bool
    diverged: bool
    outcomes: tuple[Outcome, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Search:
    """What a search found. `best`: the row with the best mean; `chosen`: the cheapest within a standard error of it."""

    rows: list[Row]
    best: Row
    chosen: Row
    metric: str
    facts: Mapping[str, Any] = field(repr=False)
    folder: Path | None = None
    refit: Run | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return text(to_json(self))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def search(
    task: Task | Assembly,
    *,
    sizes: Sequence[int | str] = (16, 32, 64, 128),
    lrs: Sequence[float] | None = None,
    folds: int = 5,
    seeds: int = 1,
    until: str | Until = "20 epochs",
    method: Literal["grid", "halving", "model"] = "grid",
    trials: int | None = None,
    metric: str | None = None,
    prefer: Literal["seconds", "updates"] = "seconds",
    workers: str | Executor = "auto",
    micro_size: int | None = None,
    refit: bool = False,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    show: Console | bool = False,
    options: TaskOptions | None = None,
) -> Search:
    """Cross-validate batch sizes and learning rates on the training part of the task's data.

    - `sizes`, `lrs`: the grid. A rate is used as it is at every size: no rule moves it. Where left out, 0.3, 1 and 3
      times the task's rate, or the optimiser's usual one.
    - `folds`: each is left out once, trained without, and judged on; stratified where there are classes. `seeds`: runs
      of each with other initial parameters and orders.
    - `until`: the budget of every trial, in epochs (of the rows that a fold trains on), examples or steps.
    - `method`: "grid" tries all; "halving" all for a short time and ever fewer for longer; "model" lets Optuna propose
      `trials` candidates between the smallest and largest of `sizes` and of `lrs`, hopeless ones ended early.
    - `metric`: "valid_accuracy", "valid_loss", ...: read at the end of the budget on the fold left out.
    - `prefer`: what is cheapest among those within one standard error of the best: the fewest measured `seconds`, or
      the fewest `updates` (the largest size; the same answer on every machine).
    - `workers`: "threads" (of one program; usual on processors), "vmapped" (all trials of a size as one program; usual
      on accelerators), "processes", "submitit", "ray", each perhaps with a number ("processes:4"), or an executor.
    - `micro_size`: the one compiled size; chosen where left out.
    - `refit`: train the choice on the whole training part; the validation part, which no fold holds, then judges it.
    - `seed`: of the folds and of proposals. `out`: the folder for `search.json`.
    - `options`: how another process makes the task anew, where the task itself does not travel.

    Raises `ArgumentError` before any work for what cannot be right.

    >>> import ladle
    >>> task = ladle.Task(ladle.models.linear(64, 10), ladle.losses.cross_entropy, ladle.data.load("digits"))
    >>> found = search(task, sizes=[16, 64], lrs=[1e-3, 1e-2], folds=3)  # doctest: +SKIP
    >>> found.chosen.candidate  # doctest: +SKIP
    Candidate(size=64, lr=0.01)
    """
    assembly = task if isinstance(task, Assembly) else assemble(task)
    folder = Path(out) if out is not None else None
    asked = _Asked.of(assembly, sizes, lrs, folds, seeds, until, method, trials, metric, prefer, seed, micro_size)
    _require_workers(workers)
    if folder is not None:
        record.require_new(folder)
    runner = Runner(options or assembly.task, asked.folds, asked.sizes, micro_size, asked.passes, assembly)
    with Work(runner, workers, folder) as work:
        monitor = show if not isinstance(show, bool) else console(None, quiet=not show)
        monitor.message(f"{method}: {asked.describe()}")
        began = time.perf_counter()
        rows = {"grid": _grid, "halving": _halving, "model": _model}[method](asked, work)
        spent = time.perf_counter() - began
        monitor.close()
    found = _judge(asked, rows, assembly, folder, {"workers": work.name, "trials_seconds": spent})
    if folder is not None:
        record.make_folder(folder)
    if refit:
        found = replace(found, refit=_refit(assembly, found, until, folder))
    if folder is not None:
        record.write_json(folder / SEARCH_FILE, to_json(found))
    return found


@dataclass(frozen=True)
class _Asked:
    """What was asked for, checked."""

    sizes: tuple[int, ...]
    lrs: tuple[float, ...]
    folds: Folds
    seeds: int
    until: Until
    method: str
    trials: int
    metric: str
    prefer: str
    seed: int

    @classmethod
    def of(
        cls,
        assembly: Assembly,
        sizes: Sequence[int | str],
        lrs: Sequence[float] | None,
        folds: int,
        seeds: int,
        until: str | Until,
        method: str,
        trials: int | None,
        metric: str | None,
        prefer: str,
        seed: int,
        micro_size: int | None,
    ) -> _Asked:
        _require_task(assembly)
        for name, value, known in (
            ("method", method, ("grid", "halving", "model")),
            ("prefer", prefer, ("seconds", "updates")),
        ):
            if value not in known:
                raise ArgumentError(must(name, "be a known word", value, "it has these", nearest(str(value), known)))
        if trials is not None and (method != "model" or require_count("trials", trials) < 2):
            why = "a grid has its number" if method != "model" else "one candidate is no search"
            raise ArgumentError(must("trials", "be at least 2, with --method model", trials, why, "--method model"))
        require_count("seeds", seeds)
        if micro_size is not None:
            require_count("micro_size", micro_size)
        data = assembly.task.data
        labels = data.train["y"] if data.kind == "classification" else None
        parts = folds_of(data.rows, folds, seed=seed, labels=labels)
        return cls(
            sizes=_sizes(sizes, parts),
            lrs=_rates(lrs, assembly),
            folds=parts,
            seeds=seeds,
            until=_bounded(until),
            method=method,
            trials=trials or PROPOSED,
            metric=_metric(metric, assembly),
            prefer=prefer,
            seed=seed,
        )

    @property
    def higher(self) -> bool:
        return better_is_higher(self.metric)

    @property
    def grid(self) -> list[Candidate]:
        """All candidates, those with the most updates first: the last ones to end are then short."""
        return [Candidate(size, lr) for size in self.sizes for lr in self.lrs]

    def updates(self, size: int) -> int:
        """Updates of a whole trial at `size`."""
        rows = self.folds.epoch_size
        stop = self.until.stop(rows)
        bounds = [] if stop is None else [updates_until(0, stop, size, rows)]
        return min([*bounds, *([] if self.until.updates is None else [self.until.updates])])

    @property
    def epochs(self) -> float:
        """The budget in epochs, of the size that gets the fewest."""
        rows = self.folds.epoch_size
        return min(self.updates(size) / -(-rows // size) for size in self.sizes)

    @property
    def passes(self) -> int:
        """Passes of the size that makes the most, the begun one counted."""
        return max(-(-self.updates(size) // -(-self.folds.epoch_size // size)) for size in self.sizes)

    def trials_of(self, candidate: Candidate) -> list[Trial]:
        return [Trial(candidate, fold, seed) for fold in range(self.folds.count) for seed in range(self.seeds)]

    def describe(self) -> str:
        grid = f"{len(self.sizes)} sizes x {len(self.lrs)} rates"
        what = f"{self.trials} candidates" if self.method == "model" else grid
        return f"{what} x {self.folds.count} folds x {self.seeds} {'seed' if self.seeds == 1 else 'seeds'}"


Held = dict[Trial, Outcome]


def _grid(asked: _Asked, work: Work) -> list[Row]:
    return _train(asked, work, asked.grid, Level(len(asked.grid), 1), {})


def _halving(asked: _Asked, work: Work) -> list[Row]:
    rows: dict[Candidate, Row] = {}
    alive, held = asked.grid, {}
    for level in levels(len(alive), asked.epochs):
        alive = _leading(asked, alive, rows, level.count)
        now = _train(asked, work, alive, level, held)
        rows |= {row.candidate: row for row in now}
        alive = [row.candidate for row in now if not row.diverged]
        if not alive:
            break
    return [rows[candidate] for candidate in asked.grid]


def _model(asked: _Asked, work: Work) -> list[Row]:
    proposals = Proposals(asked.sizes, asked.lrs, higher=asked.higher, seed=asked.seed, factor=FACTOR)
    stages = levels(asked.trials, asked.epochs)
    rows: list[Row] = []
    for _ in range(asked.trials):
        ticket, candidate = proposals.ask()
        held: Held = {}
        for number, stage in enumerate(stages):
            (row,) = _train(asked, work, [candidate], stage, held)
            if row.diverged or row.complete or proposals.hopeless(ticket, FACTOR**number, row.score.mean):
                break
        proposals.tell(ticket, row.score.mean if row.complete and not row.diverged else None)
        rows.append(row)
    return sorted(rows, key=lambda row: row.candidate)


def _leading(asked: _Asked, alive: list[Candidate], rows: Mapping[Candidate, Row], count: int) -> list[Candidate]:
    """The `count` best so far, in the order of the grid; all, where nothing is known yet."""
    sign = -1.0 if asked.higher else 1.0
    if not rows:
        return alive
    leading = sorted(alive, key=lambda candidate: sign * rows[candidate].score.mean)[:count]
    return [candidate for candidate in alive if candidate in leading]


def _train(asked: _Asked, work: Work, candidates: Sequence[Candidate], level: Level, held: Held) -> list[Row]:
    """All trials of `candidates` up to a level, each from where `held` has it; `held` then has them there."""
    jobs = [
        Job(trial, level.updates(asked.updates(candidate.size)), *_left(held, trial), keep=level.divisor > 1)
        for candidate in candidates
        for trial in asked.trials_of(candidate)
    ]
    outcomes = work(jobs)
    for outcome in outcomes:
        before = held.get(outcome.trial)
        seconds = outcome.seconds + (before.seconds if before else 0.0)
        held[outcome.trial] = replace(outcome, seconds=seconds)
    return [_row(asked, candidate, [held[trial] for trial in asked.trials_of(candidate)]) for candidate in candidates]


def _left(held: Held, trial: Trial) -> tuple[int, Any]:
    before = held.get(trial)
    return (0, None) if before is None else (before.updates, before.state)


def _row(asked: _Asked, candidate: Candidate, outcomes: Sequence[Outcome]) -> Row:
    values = np.array([math.nan if one.diverged else one.reading[asked.metric] for one in outcomes])
    updates = outcomes[0].updates
    return Row(
        candidate,
        score(values.reshape(asked.folds.count, asked.seeds)),
        float(np.mean([one.seconds for one in outcomes])),
        updates,
        updates >= asked.updates(candidate.size),
        any(one.diverged for one in outcomes),
        tuple(replace(one, state=None) for one in outcomes),
    )


def _judge(asked: _Asked, rows: list[Row], assembly: Assembly, folder: Path | None, facts: Mapping[str, Any]) -> Search:
    whole = [row for row in rows if row.complete]
    scores = [row.score for row in whole]
    costs: list[tuple[float, ...]] = [
        ((row.seconds,) if asked.prefer == "seconds" else (row.updates,)) + (-row.candidate.size, row.candidate.lr)
        for row in whole
    ]
    higher = asked.higher
    told = {
        "method": asked.method,
        "folds": asked.folds.count,
        "seeds": asked.seeds,
        "prefer": asked.prefer,
        "until": asked.until,
        "optimizer": assembly.optimizer.name,
        **facts,
        **assembly.facts(),
    }
    top, chosen = whole[best(scores, higher=higher)], whole[choose(scores, costs, higher=higher)]
    return Search(rows, top, chosen, asked.metric, told, folder)


def _refit(assembly: Assembly, found: Search, until: str | Until, folder: Path | None) -> Run:
    size, lr = found.chosen.candidate.size, found.chosen.candidate.lr
    return fit(assembly, size=size, lr=lr, until=until, out=None if folder is None else folder / "refit")


def to_json(found: Search) -> dict[str, Any]:
    """The search as JSON data, each trial with its readings."""
    refit = None if found.refit is None else {"status": found.refit.status, "final": dict(found.refit.final)}
    rows = [
        {
            "size": row.candidate.size,
            "lr": row.candidate.lr,
            "mean": row.score.mean,
            "se": row.score.se,
            "seconds": row.seconds,
            "updates": row.updates,
            "complete": row.complete,
            "diverged": row.diverged,
            "trials": [
                {"fold": one.trial.fold, "seed": one.trial.seed, "seconds": one.seconds, **one.reading}
                for one in row.outcomes
            ],
        }
        for row in found.rows
    ]
    return record.plain(
        {
            "metric": found.metric,
            "best": found.rows.index(found.best),
            "chosen": found.rows.index(found.chosen),
            "candidates": rows,
            "refit": refit,
            **found.facts,
        }
    )


def _require_task(assembly: Assembly) -> None:
    """Refuse tasks whose rows, order or rate are not the search's to choose."""
    task = assembly.task
    if assembly.placed is None:
        why, remedy = "folds are drawn from all rows by number", "data in memory (no feed=, no --stream)"
        raise ArgumentError(must("data", "be arrays in memory", task.data.name, why, remedy))
    if task.order != "permuted":
        shown = task.order if isinstance(task.order, str) else "a function"
        why = "each fold is shuffled anew in each pass"
        raise ArgumentError(must("order", "be 'permuted'", shown, why, "order='permuted'"))
    if callable(task.lr) or assembly.optimizer.lr is None:
        why = "the rates tried are rates from begin to end"
        raise ArgumentError(must("lr", "be left to the search", "a schedule", why, "a named optimiser with lr='auto'"))


def _sizes(sizes: Sequence[int | str], folds: Folds) -> tuple[int, ...]:
    if not sizes:
        raise ArgumentError(must("sizes", "name a size", "nothing", "there is nothing to try", "--sizes 16,64"))
    rows = folds.epoch_size
    known = sorted({resolve_size(size, max(len(folds.of), 1)) if size != "full" else rows for size in sizes})
    if known[-1] > rows:
        be, why = f"be at most the {rows:,} rows that a fold trains on", "a batch never crosses an epoch"
        raise ArgumentError(must("sizes", be, known[-1], why, "--sizes full, or more folds"))
    return tuple(known)


def _rates(lrs: Sequence[float] | None, assembly: Assembly) -> tuple[float, ...]:
    if lrs is None:
        assert assembly.reference_lr is not None
        lrs = [factor * assembly.reference_lr for factor in AROUND]
    if not lrs:
        raise ArgumentError(must("lrs", "name a rate", "nothing", "there is nothing to try", "--lrs 1e-3,1e-2"))
    for lr in lrs:
        if isinstance(lr, bool) or not isinstance(lr, int | float) or not 0 < lr < math.inf:
            why = "a rate of zero learns nothing"
            raise ArgumentError(must("lrs", "be positive numbers", lr, why, "--lrs 1e-3,3e-3,1e-2"))
    return tuple(sorted({float(lr) for lr in lrs}))


def _bounded(until: str | Until) -> Until:
    until = Until.parse(until)
    others = until.seconds, until.target, until.patience
    if others != (None, None, None):
        why = "all trials get the same budget, whatever the machine does"
        raise ArgumentError(must("until", "be epochs, examples or steps", str(until), why, "--until '20 epochs'"))
    return until


def _metric(metric: str | None, assembly: Assembly) -> str:
    known = ["valid_loss", *("valid_" + name for name in assembly.objective.metrics if "/" not in name)]
    if metric is None:
        return "valid_accuracy" if "valid_accuracy" in known else "valid_loss"
    if metric not in known:
        raise ArgumentError(must("metric", "be measured", metric, "the task has others", nearest(metric, known)))
    return metric


def _require_workers(workers: str | Executor) -> None:
    if isinstance(workers, str) and workers not in ("auto", "vmapped"):
        executor_named(workers)
