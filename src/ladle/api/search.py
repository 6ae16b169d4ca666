"""`search`: batch sizes and learning rates tried by cross-validation, and the cheapest of the best chosen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ladle.api.assembly import Assembly, assemble
from ladle.api.fit import fit
from ladle.api.inference import inferred
from ladle.api.options import TaskOptions
from ladle.api.result_folder import claim
from ladle.api.run import Run
from ladle.api.search_result import Search, to_json, unfinished
from ladle.api.search_space import adapted, require_way, space_of
from ladle.api.search_trials import Runner, Work
from ladle.api.task import Task
from ladle.api.workers import begun_anew
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.world import require_alone
from ladle.monitor.console import Console, console
from ladle.search.choice import judge
from ladle.search.methods import METHODS, PROPOSED
from ladle.search.trial import Executor


def search(
    task: Task | Assembly,
    *,
    sizes: Sequence[int | str] | None = None,
    lrs: Sequence[float] | None = None,
    folds: int | None = None,
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
    overwrite: bool = False,
    show: Console | bool = False,
    options: TaskOptions | None = None,
) -> Search:
    """Cross-validate batch sizes and learning rates on the training part of the task's data.

    - `sizes`, `lrs`: the grid. A rate is used as it is at every size: no rule moves it. Where left out, 0.3, 1 and 3
      times the task's rate, or the optimiser's usual one; and 16, 32, 64 and 128, as far as the rows of a fold go.
    - `folds`: each is left out once, trained without, and judged on; stratified where there are classes. Where left
      out 5, or as many as each can have two classes. `seeds`: runs of each with other initial parameters and orders.
    - `until`: the budget of every trial, in epochs (of the rows that a fold trains on), examples or steps.
    - `method`: "grid" tries all; "halving" all for a short time and ever fewer for longer, three at least to the end;
      "model" lets Optuna propose `trials` candidates between the smallest and largest of `sizes` and of `lrs`, hopeless
      ones ended early. Chosen is among the candidates trained to the end.
    - `metric`: "valid_accuracy", "valid_loss", ...: read at the end of the budget on the fold left out.
    - `prefer`: which size is cheapest among those within one standard error of the best: that of the fewest measured
      `seconds` (median over its trials of all rates), or of the fewest `updates` (the largest; the same answer on every
      machine). Of one size, the better mean.
    - `workers`: "threads" (of one program; usual on processors), "vmapped" (all trials of a size as one program; usual
      on accelerators), "devices" (each has trials of its own), "processes", "submitit", "ray", each perhaps with a
      number ("processes:4"); "hosts:ssh one,ssh two", a worker for each command; or an executor.
    - `micro_size`: the one compiled size; chosen where left out.
    - `refit`: train the choice on the whole training part; the validation part, which no fold holds, then judges it.
    - `seed`: of the folds and of proposals. `out`: the folder for `search.json`; `overwrite`: remove
      the search that is there first.
    - `options`: how another process makes the task anew, where the task itself does not travel.

    A trial whose worker died is begun anew, twice at most; one that cannot end then counts as diverged, and
    `Row.failed` says why. Where the search itself is ended, by ctrl-C or an error, `search.json` holds the trials
    finished so far.

    Raises `ArgumentError` before any work for what cannot be right.

    >>> import ladle
    >>> task = ladle.Task(ladle.models.linear(64, 10), ladle.losses.cross_entropy, ladle.data.load("digits"))
    >>> found = search(task, sizes=[16, 64], lrs=[1e-3, 1e-2], folds=3)  # doctest: +SKIP
    >>> found.chosen.candidate  # doctest: +SKIP
    Candidate(size=64, lr=0.01)
    """
    require_alone("search")
    assembly = task if isinstance(task, Assembly) else assemble(task)
    space = space_of(assembly, sizes=sizes, lrs=lrs, folds=folds, seeds=seeds, until=until, metric=metric, seed=seed)
    require_way(
        assembly, method=method, trials=trials, prefer=prefer, workers=workers, micro_size=micro_size, refit=refit
    )
    folder = Path(out) if out is not None else None
    if folder is not None:  # Before the work: workers may write there too.
        claim(folder, record.SEARCH_FILE, overwrite)
    proposed = {"trials": trials or PROPOSED} if method == "model" else {}
    runner = Runner(options or assembly.task, space, micro_size, assembly)
    with Work(runner, workers, folder) as work, _kept(work, folder):
        monitor = show if not isinstance(show, bool) else console(None, quiet=not show)
        for line in (*inferred(assembly.task.data), *adapted(space, sizes, folds)):
            monitor.message(line)
        monitor.message(f"{method}: {space.describe(*proposed.values())}")
        began = time.perf_counter()
        rows = METHODS[method](space, work, **proposed)
        spent = time.perf_counter() - began
        for line in begun_anew(work.again):
            monitor.message(line)
        monitor.close()
        best, chosen = judge(rows, prefer=prefer, higher=space.higher)
    facts: dict[str, Any] = {
        "method": method,
        "folds": space.folds.count,
        "seeds": space.seeds,
        "prefer": prefer,
        "until": space.until,
        "optimizer": assembly.optimizer.name,
        "workers": work.name,
        "trials_seconds": spent,
        **({"begun_anew": work.again} if work.again else {}),
        **assembly.facts(),
    }
    found = _written(Search(rows, best, chosen, space.metric, facts, folder))
    return _written(replace(found, refit=_refit(assembly, found, until))) if refit else found


@contextmanager
def _kept(work: Work, folder: Path | None) -> Iterator[None]:
    """Whatever ends the work, what was finished is written."""
    try:
        yield
    except BaseException as error:
        if folder is not None and work.finished:
            record.write_json(folder / record.SEARCH_FILE, unfinished(work.finished, error))
        raise


def _written(found: Search) -> Search:
    if found.folder is not None:
        record.write_json(found.folder / record.SEARCH_FILE, to_json(found))
    return found


def _refit(assembly: Assembly, found: Search, until: str | Until) -> Run:
    size, lr = found.chosen.candidate.size, found.chosen.candidate.lr
    return fit(assembly, size=size, lr=lr, until=until, out=None if found.folder is None else found.folder / "refit")
