"""`compare`: batch sizes side by side on the same data, model, seeds and budget, measured."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ladle.api.assembly import Assembly, assemble, resolve_micro, resolve_size
from ladle.api.baselines import Baselines, baselines_of_best, require_baselines
from ladle.api.comparison import Entrant, measured_of, peaks_of, row_of
from ladle.api.fit import fit
from ladle.api.fitting import fitted
from ladle.api.inference import inferred
from ladle.api.plan import bytes_from
from ladle.api.plan import plan as make_plan
from ladle.api.rates import SECONDS, found_rate
from ladle.api.result_folder import claim, require_free
from ladle.api.run import Run
from ladle.api.run_memory import within_limit
from ladle.api.task import Task
from ladle.api.until import require_measured
from ladle.core import record
from ladle.core.duration import Until
from ladle.core.errors import ArgumentError, DivergedWarning, must
from ladle.core.plan import Plan
from ladle.core.protocols import Sink
from ladle.core.shown import shown
from ladle.core.spec import BatchSpec
from ladle.core.world import require_alone
from ladle.monitor.console import console
from ladle.planner.rate_finding import RateFinding
from ladle.report.table import text

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
    show: Sink | bool = False,
    facts: Mapping[str, Any] | None = None,
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
    if memory is not None:
        assembly = within_limit(assembly, bytes_from(memory))  # Evaluations and sharpness keep it at every size.
    entrants = [_entrant(assembly, name, chosen, lr) for name in wanted]
    if lr == "sweep":
        entrants = _swept(assembly, entrants, until)
    if folder is not None:
        claim(folder, record.COMPARE_FILE, overwrite)
    runs = _runs(assembly, entrants, seeds, until, folder, monitor)
    monitor.message("measuring memory, gradient variance and sharpness")
    with ThreadPoolExecutor(1) as background:  # The child that measures memory has a core of its own meanwhile.
        peaks = background.submit(peaks_of, assembly, entrants)
        measured = [[measured_of(assembly, one, run) for run in of] for one, of in zip(entrants, runs, strict=True)]
        rows = [row_of(assembly, *of_size) for of_size in zip(entrants, runs, measured, peaks.result(), strict=True)]
    if baselines:
        monitor.message("fitting scikit-learn's linear model and gradient boosting to the same rows")
    plain = baselines_of_best(rows, runs) if baselines else None
    described = _describe(assembly, until, lr, seeds, rows, chosen, folder, facts)
    described |= {} if plain is None else {"baselines": record.plain(plain.to_json())}
    if folder is not None:
        _write(folder, described, chosen)
        described = record.read_json(folder / record.COMPARE_FILE)
    monitor.close()
    return Comparison(rows, described, chosen, folder, runs, plain)


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
    assembly: Assembly, entrants: Sequence[Entrant], seeds: int, until: Until, folder: Path | None, monitor: Sink
) -> list[list[Run]]:
    """All runs, by entrant and seed. The sizes of one seed go in turns: the machine's drift is then in the spread."""
    first = [next(i for i, other in enumerate(entrants) if other.same(one)) for one in entrants]
    for entrant, of in zip(entrants, first, strict=True):
        same = "" if entrants[of] is entrant else f", the same as {entrants[of].name}"
        monitor.message(f"{entrant.name}: size {entrant.spec.size}, {seeds} seeds, {_budget(until)}{same}")
    runs: list[list[Run]] = [[] for _ in entrants]
    for seed in range(seeds):
        for number, entrant in enumerate(entrants):
            if first[number] == number:
                runs[number].append(_train(assembly, entrant, until, seed, folder))
    return [runs[of] for of in first]


def _train(assembly: Assembly, entrant: Entrant, until: Until, seed: int, folder: Path | None) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergedWarning)  # The table says it.
        run = fit(
            assembly,
            size=entrant.spec.size,
            micro_size=entrant.spec.micro_size,
            until=until,
            lr=entrant.lr,
            hyper=entrant.hyper,
            seed=seed,
            out=None if folder is None else folder / f"{entrant.name}-seed{seed}",
            checkpoints=False,
            facts={"name": entrant.name},
        )
    if run.status == "interrupted":
        raise KeyboardInterrupt
    return run


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
