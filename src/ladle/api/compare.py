"""`compare`: batch sizes side by side on the same data, model, seeds and budget, measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ladle.api.assembly import Assembly, assemble, resolve_micro, resolve_size
from ladle.api.baselines import Baselines, baselines_of_best, require_baselines
from ladle.api.comparison import Entrant, measured_of, peaks_of, row_of
from ladle.api.contest import Contest, Lot, runs_of
from ladle.api.fitting import fitted
from ladle.api.inference import inferred
from ladle.api.options import TaskOptions
from ladle.api.plan import bytes_from
from ladle.api.plan import plan as make_plan
from ladle.api.rates import SECONDS, found_rate
from ladle.api.result_folder import claim, require_free
from ladle.api.run import Run
from ladle.api.run_memory import within_limit
from ladle.api.task import Task
from ladle.api.until import require_measured
from ladle.api.workers import begun_anew, require_workers
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, RunError, must
from ladle.core.plan import Plan
from ladle.core.protocols import Sink
from ladle.core.shown import shown
from ladle.core.spec import BatchSpec
from ladle.core.world import require_alone
from ladle.monitor.console import console
from ladle.planner.rate_finding import RateFinding
from ladle.report.table import text
from ladle.search.trial import Executor

SIZES: tuple[int | str, ...] = ("full", 64, 1, "planned")


@dataclass(frozen=True)
class Comparison:
    """The measured batch-size table. `rows`: one mapping per size; `folder`: where the runs are, or None.

    `baselines`: plain models of scikit-learn beside the best size, where they were asked for.
    """

    rows: list[dict[str, Any]]
    facts: Mapping[str, Any]
    plan: Plan | None = None
    folder: Path | None = None
    runs: list[list[Run]] = field(default_factory=list, repr=False)
    baselines: Baselines | None = None

    def __str__(self) -> str:
        said = "" if self.baselines is None else f"\n{self.baselines}"
        return text(self.facts["runs"], self.facts) + said

    def _repr_html_(self) -> str:
        return shown(self, str(self))


def compare(
    task: Task | Assembly,
    *,
    sizes: Sequence[int | str] | None = None,
    seeds: int = 3,
    until: str | Until = "30 epochs",
    lr: float | Literal["auto", "rule", "sweep"] = "auto",
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    memory: int | str | None = None,
    baselines: bool = False,
    workers: str | Executor | None = None,
    show: Sink | bool = False,
    facts: Mapping[str, Any] | None = None,
    options: TaskOptions | None = None,
) -> Comparison:
    """Train `task` at each of `sizes` from the same initial parameters with the same seeds and budget.

    - `sizes`: numbers, "full", or "planned" for what `ladle.plan` chooses; "full", 64, 1 and "planned" where left out,
      without 64 where there are fewer rows.
    - `until`: the budget of every run; in epochs or examples it is the same for all sizes.
    - `lr`: "sweep" takes for each size the rate that ends lowest there: rates around the rule's race over the budget,
      as far as a few seconds go. "rule" moves the task's rate at 64 (or the optimiser's usual one) to each size.
      "auto": "rule" where the task has a number, which is kept, else "sweep". A number is the rate at 64.
    - `out`: the folder for runs, `compare.json`, `curves.png` and `report.html`; None keeps everything in memory.
      `overwrite`: remove the comparison that is in `out` first.
    - `baselines`: fit scikit-learn's linear model and gradient boosting to the same rows too, and say which is better.
    - `workers`: who trains the runs: "devices", "processes:2", "hosts:ssh one,ssh two", "submitit", "ray" or an
      executor, as `ladle.search` takes them; None for this process, one after the other. Losses are the same; seconds
      are those of runs beside each other. A run whose worker died is begun anew, twice at most, and then left out.
    - `options`: how another process makes the task anew, where the task itself does not travel.

    Beside the losses it measures, at each size: peak memory of the update in a child process, examples per second, the
    variance of the batch gradient (tr Sigma / size) and the sharpness (largest Hessian eigenvalue) at the end, the
    generalisation gap (validation minus training loss, both in eval mode) and how busy the device was.
    """
    require_alone("compare")
    if seeds < 1:
        raise ArgumentError(must("seeds", "be at least 1", seeds, "a comparison needs a run", "seeds=3"))
    assembly = task if isinstance(task, Assembly) else assemble(task)
    if baselines:
        require_baselines(assembly.task)
    until = require_measured(Until.parse(until), assembly)
    _require_workers(workers, assembly)
    usual = [size for size in SIZES if isinstance(size, str) or size <= assembly.rows]
    wanted = _unique(usual if sizes is None else sizes, assembly.rows)
    folder = Path(out) if out is not None else None
    if folder is not None:
        require_free(folder, record.COMPARE_FILE, overwrite)
    monitor = show if not isinstance(show, bool) else console(None, quiet=not show)
    if lr == "auto":
        lr = "sweep" if assembly.usual_lr else "rule"
    for line in (
        *inferred(assembly.task.data),
        *(fitted("sizes", usual, SIZES, assembly.rows) if sizes is None else ()),
    ):
        monitor.message(line)
    chosen: Plan | None = None
    if "planned" in wanted:
        monitor.message("planning: memory, throughput, noise scale")
        kept = lr if isinstance(lr, float) else "rule"
        chosen = make_plan(assembly, memory=memory, lr="auto" if lr == "sweep" else kept, until=until)
    if lr == "sweep":
        monitor.message("trying learning rates at each size")
    limit = None if memory is None else bytes_from(memory)
    if limit is not None:
        assembly = within_limit(assembly, limit)  # Evaluations and sharpness keep it at every size.
    entrants = [_entrant(assembly, name, chosen, lr) for name in wanted]
    if lr == "sweep":
        entrants = _swept(assembly, entrants, until)
    if folder is not None:
        claim(folder, record.COMPARE_FILE, overwrite)
    runs = _runs(Contest(options or assembly.task, until, folder, limit, assembly), workers, entrants, seeds, monitor)
    monitor.message("measuring memory, gradient variance and sharpness")
    with ThreadPoolExecutor(1) as background:  # The child that measures memory has a core of its own meanwhile.
        peaks = background.submit(peaks_of, assembly, entrants)
        measured = [[measured_of(assembly, one, run) for run in of] for one, of in zip(entrants, runs, strict=True)]
        rows = [row_of(assembly, *of_size) for of_size in zip(entrants, runs, measured, peaks.result(), strict=True)]
    if baselines:
        monitor.message("fitting scikit-learn's linear model and gradient boosting to the same rows")
    plain = baselines_of_best(rows, runs) if baselines else None
    described = _describe(assembly, until, lr, seeds, rows, chosen, folder, facts)
    described |= {} if workers is None else {"workers": workers if isinstance(workers, str) else type(workers).__name__}
    described |= {} if plain is None else {"baselines": record.plain(plain.to_json())}
    if folder is not None:
        _write(folder, described, chosen)
        described = record.read_json(folder / record.COMPARE_FILE)
    monitor.close()
    return Comparison(rows, described, chosen, folder, runs, plain)


def _require_workers(workers: str | Executor | None, assembly: Assembly) -> None:
    if isinstance(workers, str) and workers.partition(":")[0] in ("threads", "vmapped"):
        why, remedy = "each run has its own seconds and processor time, which threads would share", "'processes:2'"
        raise ArgumentError(must("workers", "be processes or devices", workers, why, remedy))
    if workers is not None:
        require_workers(workers, assembly)


def _unique(sizes: Sequence[int | str], rows: int) -> list[str]:
    """Names of the sizes in the order given, each once."""
    names = [str(size).strip() for size in sizes]
    for name in names:
        if name != "planned":
            resolve_size(name, rows, "sizes")
    if not names:
        raise ArgumentError(
            must("sizes", "name a batch size", "nothing", "there is nothing to compare", "sizes=['full', 64, 1]")
        )
    return list(dict.fromkeys(names))


def _entrant(assembly: Assembly, name: str, plan: Plan | None, lr: float | str) -> Entrant:
    """A size with its rate by rule and what else follows the size, or the plan's."""
    if name == "planned":
        assert plan is not None
        spec, rate, hyper = plan.first, plan.lr, dict(plan.hyper)
    else:
        size = resolve_size(name, assembly.rows)
        spec = BatchSpec(size, resolve_micro(size, None))
        reference, hyper = lr if isinstance(lr, float) else assembly.reference_lr, assembly.moved(size)
        rate = None if reference is None else reference * assembly.lr_ratio(size)
    return Entrant(name, spec, rate, hyper)


def _swept(assembly: Assembly, entrants: Sequence[Entrant], until: Until) -> list[Entrant]:
    """`entrants` with the rate that ends lowest, each size tried once. A plan's own rate is the fastest to a loss."""
    found: dict[BatchSpec, RateFinding] = {}
    for one in entrants:
        if one.lr is not None and one.spec not in found:
            found[one.spec] = found_rate(assembly, one.spec, one.lr, one.hyper, until=until, seconds=SECONDS)
    return [replace(one, lr=of.rate, swept=of.tried) if (of := found.get(one.spec)) else one for one in entrants]


def _runs(
    contest: Contest, workers: str | Executor | None, entrants: Sequence[Entrant], seeds: int, monitor: Sink
) -> list[list[Run]]:
    """All runs, by entrant and seed. The sizes of one seed go in turns: the machine's drift is then in the spread.

    Raises `RunError` where every run of an entrant was lost with its worker.
    """
    first = [next(i for i, other in enumerate(entrants) if other.same(one)) for one in entrants]
    for entrant, of in zip(entrants, first, strict=True):
        same = "" if entrants[of] is entrant else f", the same as {entrants[of].name}"
        budget = _budget(contest.until)
        monitor.message(f"{entrant.name}: size {entrant.spec.size}, {seeds} seeds, {budget}{same}")
    lots = [Lot(entrants[of], seed) for seed in range(seeds) for number, of in enumerate(first) if number == of]
    again: list[str] = []
    done: dict[tuple[int, int], Run | RunError] = {}
    for lot, run in runs_of(contest, workers, lots, again):
        done[entrants.index(lot.entrant), lot.seed] = run
        if isinstance(run, RunError):
            monitor.message(f"left out: {run}")
    for line in begun_anew(again):
        monitor.message(line)
    made = [[run for seed in range(seeds) if isinstance(run := done[of, seed], Run)] for of in first]
    lost = next((done[of, 0] for of, runs in zip(first, made, strict=True) if not runs), None)
    if isinstance(lost, RunError):
        raise lost
    return made


def _budget(until: Until) -> str:
    for value, unit in (
        (until.epochs, "epochs"),
        (until.examples, "examples"),
        (until.updates, "steps"),
        (until.seconds, "s"),
    ):
        if value is not None:
            return f"{value:g} {unit} each"
    return ""


def _describe(
    assembly: Assembly,
    until: Until,
    lr: float | str,
    seeds: int,
    rows: list[dict[str, Any]],
    plan: Plan | None,
    folder: Path | None,
    facts: Mapping[str, Any] | None,
) -> dict[str, Any]:
    rates = {
        "rule": f"{assembly.rule} rule from batches of 64",
        "sweep": "the best of those tried at each size",
    }.get(str(lr), f"{lr} at batches of 64, {assembly.rule} rule")
    return record.plain(
        {
            "folder": str(folder) if folder is not None else None,
            "status": "finished",
            "optimizer": assembly.optimizer.name,
            "budget": _budget(until),
            "lr": rates,
            "seeds": seeds,
            **assembly.facts(),
            "runs": rows,
            "plan": plan.to_json() if plan is not None else None,
            **(facts or {}),
        }
    )


def _write(folder: Path, described: dict[str, Any], plan: Plan | None) -> None:
    """compare.json, then what is drawn from it."""
    from ladle import report
    from ladle.report.checks import study_findings
    from ladle.report.load import load_compare

    record.write_json(folder / record.COMPARE_FILE, described)
    found = study_findings(load_compare(folder))  # They read the runs too: how far each loss still fell.
    record.write_json(folder / record.COMPARE_FILE, {**described, "findings": [one.to_json() for one in found]})
    report.write_curves(folder)
    report.write_answers(folder)
    if plan is not None:
        report.write_plan_figure(plan.to_json(), folder / "plan.png")
    report.write_report([folder], folder / "report.html")
