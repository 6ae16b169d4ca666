"""Plans against truth: what today's planned size and rate cost, over the best of whole sweeps that are kept as data.

Nine small (model, data, optimiser) cases were trained at every size and rate, with several seeds, until three
validation losses were reached (`truth/sweep.py`, kept in `results/plan_truth/`). Any planner is judged by looking its
size and rate up in them (`truth/judge.py`): nothing is trained again.

A plan that is told no target is judged at all three: one size and rate cannot be the best at every one of them, and on
the news none is within 1.4 times the best of each. `--told` plans each target by itself.

    python benchmarks/plan_against_truth.py                     plan every case now, judge, print the table
    python benchmarks/plan_against_truth.py --told              plan every case for each target, judge each at its own
    python benchmarks/plan_against_truth.py --plans FILE        judge the plans of a result file again
    python benchmarks/plan_against_truth.py --sweep [CASE ...]  train (minutes a case), write the kept data
    python benchmarks/plan_against_truth.py --times [CASE ...]  time an update at each size; a quiet machine, please

`--label` names the result: `results/plan_against_truth_LABEL.json` and `.md`. Seconds are of the machine that the kept
file names: on another one run `--times` first, or the sizes that are planned for it are held against another's speed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from timing import RESULTS, headline, machine, save, table
from truth.cases import CASES
from truth.judge import Sweep, Verdict, close, judged

import ladle
from ladle.core import record
from ladle.planner.sure import SURE
from ladle.planner.tryout import PASSES

KEPT = RESULTS / "plan_truth"

HEADS = (
    *("case", "planned", "rate", "best", "rate", "x time: easy", "medium", "hard"),
    *("within 5 %", "of them so", "rate inside"),
)


def kept_at(case: str) -> Any:
    return KEPT / f"{case.replace(', ', '-')}.json"


def swept(case: str) -> None:
    """Train the whole sweep of a case and keep it."""
    from truth.sweep import PER_DECADE, sweep

    print(case, flush=True)
    began = time.process_time()
    found = sweep(CASES[case], lambda line: print(line, flush=True))
    spent = round(time.process_time() - began)
    write(case, {"case": case, "per_decade": PER_DECADE, **compact(found), "cpu_seconds": spent, "swept_on": facts()})


def compact(found: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep as it is kept: four digits, None for what was not reached, a letter a seed for how its cell ended."""
    cells = [
        {
            "size": cell["size"],
            "place": cell["place"],
            "updates": [[float(f"{x:.4g}") if math.isfinite(x) else None for x in one] for one in cell["updates"]],
            "ended": "".join(why[0] for why in cell["why"]),
        }
        for cell in found["cells"]
    ]
    return {**found, "cells": cells}


def write(case: str, content: Mapping[str, Any]) -> None:
    """One line a cell: a hundred of them are 20 kB."""
    KEPT.mkdir(parents=True, exist_ok=True)
    cells = ",\n".join(json.dumps(cell, separators=(",", ":")) for cell in content["cells"])
    rest = json.dumps({name: value for name, value in content.items() if name != "cells"}, indent=1)
    kept_at(case).write_text(f'{rest[:-2]},\n "cells": [\n{cells}\n]}}\n', encoding="utf-8")


def timed(case: str) -> None:
    """Time an update at each size of a case that is kept."""
    from truth.sweep import seconds

    kept = record.read_json(kept_at(case))
    least = {str(size): float(f"{value:.4g}") for size, value in seconds(CASES[case]).items()}
    print(case, least, flush=True)
    write(case, {**kept, "seconds": least, "timed_on": facts()})


def facts() -> dict[str, Any]:
    """Machine and versions, as far as they bear on a sweep."""
    of = machine()
    return {
        **of,
        "versions": {name: of["versions"][name] for name in ("ladle", "jax", "numpy") if name in of["versions"]},
    }


def planned(case: str, seed: int, target: float | None = None) -> dict[str, Any]:
    """Today's plan of a case, as far as it is judged; for a run to `target`, where it is told one."""
    task = CASES[case].make()
    began = time.perf_counter()
    made = ladle.plan(task, seed=seed, until=None if target is None else f"{PASSES} epochs, valid_loss <= {target}")
    took, told = time.perf_counter() - began, made.number("lr")
    interval = None if told is None or told.low is None or told.high is None else (told.low, told.high)
    sure = made.number("within_confidence")
    return {
        "size": made.size, "lr": made.lr, "within": list(made.within_5_percent),
        "confidence": None if sure is None else sure.value,
        "interval": interval, "bound": made.bound, "took": took,
    }  # fmt: skip


def judge(case: str, plan: Mapping[str, Any]) -> Verdict:
    of = {name: plan[name] for name in ("size", "lr", "within", "interval")}
    return judged(Sweep.from_json(record.read_json(kept_at(case))), **of)


def row(case: str, plan: Mapping[str, Any], verdict: Verdict) -> list[str]:
    """A line of the table; the best cell is that of the hard target."""
    size, rate, _ = verdict.best[-1]
    held = sum(close(ratio) for _, _, ratio in verdict.within)
    low, high = plan["within"]
    told = verdict.rate_inside
    return [
        case, f"{plan['size']}", f"{plan['lr']:.3g}", f"{size}", f"{rate:.2g}", *map(str, verdict.ratios),
        f"{low} - {high}", f"{held} of {len(verdict.within)}",
        "no interval" if told is None else f"{sum(told)} of {len(told)}",
    ]  # fmt: skip


def summary(verdicts: Sequence[Verdict], confidences: Sequence[float | None]) -> list[str]:
    """What the planner is held to, in sentences. `confidences`: of what each plan calls "within 5 %", None for none."""
    medians, every = [one.median.value for one in verdicts], [x.value for one in verdicts for x in one.ratios]
    pairs = [close(ratio) for one in verdicts for _, _, ratio in one.within]
    told = [all(one.rate_inside) for one in verdicts if one.rate_inside is not None]
    lines = [
        f"Planned size and rate over the best cell: median {statistics.median(every):.2f}, worst {max(every):.2f} of "
        f"{len(every)} (case, target) pairs; {sum(x <= 1.3 for x in every)} within 1.3. By cases (their median "
        f"target): median {statistics.median(medians):.2f}, worst {max(medians):.2f}."
    ]
    if pairs:
        bare = sum(ratio.value <= 1.05 for one in verdicts for _, _, ratio in one.within)
        lines.append(
            f'"Within 5 %": {sum(pairs)} of {len(pairs)} (size, target) pairs cost at most 5 % more beyond two '
            f"standard errors ({sum(pairs) / len(pairs):.0%}), {bare} by their mean."
        )
    said = [(sure, close(x)) for one, sure in zip(verdicts, confidences, strict=True) if sure for *_, x in one.within]
    if said:
        held = [so for sure, so in said if sure >= SURE]
        rest = [(sure, so) for sure, so in said if sure < SURE]
        alone = f"; of {len(rest)} named alone, less surely, {sum(so for _, so in rest)}"
        alone += f" ({sum(sure for sure, _ in rest):.1f} by their own confidences)" if rest else ""
        lines.append(f"Of {len(held)} pairs promised with {SURE:.0%}, {sum(held)} hold{alone}.")
    inside = f"{sum(told)} of {len(told)}" if told else "no plan has one"
    return [*lines, f"Best rate in the plan's interval at every target: {inside}."]


def replay(cases: Sequence[str], plans: Mapping[str, Any] | None, label: str, seed: int) -> None:
    made = {case: planned(case, seed) if plans is None else plans[case] for case in cases}
    verdicts = {case: judge(case, plan) for case, plan in made.items()}
    sure = [made[case].get("confidence") for case in cases]
    rows = [row(case, made[case], verdicts[case]) for case in cases]
    lines = [table(HEADS, rows), *summary([verdicts[case] for case in cases], sure)]
    took = [plan["took"] for plan in made.values()]
    lines.append(f"A plan took {statistics.median(took):.1f} s in the median, {max(took):.1f} s at most.")
    text = "\n\n".join([headline(), *lines])
    print(text)
    name, quick = f"plan_against_truth_{label}", len(cases) < len(CASES)
    found = {case: [(x.value, x.error, x.least) for x in one.ratios] for case, one in verdicts.items()}
    path = save(name, quick=quick, plans=made, ratios=found, summary=lines[1:])
    path.with_suffix(".md").write_text(f"# Plans against truth: {label}\n\n{text}\n", encoding="utf-8")
    print(path)


def told(cases: Sequence[str], plans: Mapping[str, Any] | None, label: str, seed: int) -> None:
    """Plans for each target by itself, each judged at its own."""
    rows, ratios, made = [], [], {}
    for case in cases:
        for number, target in enumerate(CASES[case].targets):
            plan = planned(case, seed, target) if plans is None else plans[f"{case}, {target}"]
            verdict = judge(case, plan)
            (size, rate, _), ratio = verdict.best[number], verdict.ratios[number]
            inside = verdict.rate_inside is not None and verdict.rate_inside[number]
            made[f"{case}, {target}"], ratios = {**plan, "ratio": ratio.value, "error": ratio.error}, [*ratios, ratio]
            planned_cell, best_cell = (f"{plan['size']}", f"{plan['lr']:.3g}"), (f"{size}", f"{rate:.2g}")
            end = (f"{ratio}", f"{ratio.error:.2f}", "yes" if inside else "no")
            rows.append([case, f"{target}", *planned_cell, *best_cell, *end])
    values, took = [ratio.value for ratio in ratios], [plan["took"] for plan in made.values()]
    lines = [
        table(("case", "target", "planned", "rate", "best", "rate", "x time", "error", "rate inside"), rows),
        f"Planned for the target over the best cell: median {statistics.median(values):.2f}, worst {max(values):.2f}; "
        f"{sum(value <= 1.3 for value in values)} of {len(values)} within 1.3.",
        f"A plan took {statistics.median(took):.1f} s in the median, {max(took):.1f} s at most.",
    ]
    text = "\n\n".join([headline(), *lines])
    print(text)
    path = save(f"plan_against_truth_{label}_told", quick=len(cases) < len(CASES), plans=made, summary=lines[1:])
    path.with_suffix(".md").write_text(f"# Plans for a target against truth: {label}\n\n{text}\n", encoding="utf-8")
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, what in (("sweep", "train and keep"), ("times", "time an update at each size of"), ("only", "judge")):
        parser.add_argument(f"--{name}", nargs="*", metavar="CASE", help=f"{what} these cases; all where none is named")
    parser.add_argument("--plans", metavar="FILE", help="judge the plans of this result file again")
    parser.add_argument("--told", action="store_true", help="plan each target by itself")
    parser.add_argument("--label", default="today", help="names the result")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kept = [case for case in CASES if kept_at(case).exists()]
    if given.sweep is None and given.times is None:
        plans = None if given.plans is None else record.read_json(given.plans)["plans"]
        (told if given.told else replay)(given.only or kept, plans, given.label, given.seed)
    for cases, work in ((given.sweep, swept), (given.times, timed)):
        for case in [] if cases is None else cases or CASES:
            work(case)


if __name__ == "__main__":
    main()
