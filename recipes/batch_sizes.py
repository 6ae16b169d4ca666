"""What the batch size does to a recipe: a plan in a line, and sizes side by side, each at the best of a few rates."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ladle


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """The option `--sizes [FILE]`; `given.sizes` is None where it was not asked for, and "" without a file."""
    help = "a plan, and sizes side by side; FILE, such as recipes/results/sizes.json, takes their numbers"
    parser.add_argument("--sizes", nargs="?", const="", metavar="FILE", help=help)


def line_of(plan: ladle.Plan) -> str:
    """The size, those that are as good, and the noise scale."""
    (low, high), noise = plan.within_5_percent, plan.noise
    scale = f"{noise.value:,.0f} ({noise.low:,.0f} to {noise.high:,.0f}, {noise.verdict})"
    return f"{plan.size}, as good {low} to {high}, bound by {plan.bound}; noise scale {scale}"


def numbers_of(plan: ladle.Plan) -> dict[str, Any]:
    """The same for a file, without what JSON has no number for."""
    (low, high), noise = plan.within_5_percent, plan.noise
    scale = {"noise": noise.value, "noise_low": noise.low, "noise_high": noise.high}
    known = {name: round(value, 1) if math.isfinite(value) else None for name, value in scale.items()}
    return {"size": plan.size, "low": low, "high": high, "bound": plan.bound, **known, "verdict": noise.verdict}


def side_by_side(
    task: ladle.Task | Callable[[int], ladle.Task],
    plan: ladle.Plan,
    *,
    sizes: Sequence[int],
    until: str,
    reference: int,
    judge: Callable[[ladle.Run], float] | None = None,
    higher: bool = False,
    most: int = 4,
    seeds: int = 1,
    judgements: int = 8,
) -> dict[str, Any]:
    """Print the plan and a table of `sizes`; the same as a mapping.

    - `task`: or a function of the size, where the order of its rows goes by it. A schedule is multiplied as a whole,
      and a moving average of the weights spans as many examples at every size.
    - `judge`: of a finished run, on its validation part; its loss where left out. `higher`: whether more is better.
    - `reference`: the size that the task's rate is meant for. From factor (size / reference)^(1/2) the rate is doubled
      and halved until neither is better, `most` rates in all, on seed 0; the other seeds have the best rate alone.
    - `judgements`: of a run, in even parts of its examples; when a loss was reached lies between two of them.

    The last column is the seconds of training after which a size first had the validation loss that every size
    reached: what a plan makes small. Infinite where a size only diverged.
    """
    print(f"plan: {line_of(plan)}", flush=True)
    print(f"{'size':>6} {'rate':>8} {'figure':>8} {'updates':>8} {'seconds':>8}   factors of the rate: figure, seed 0")
    tasks = task if callable(task) else lambda _: task
    rows, paths = [], []
    for size in sizes:
        one = tasks(size)
        told = ladle.Until.parse(until)
        examples = told.examples or (told.epochs or 1) * one.data.rows
        moved, known = (size / reference) ** 0.5, float(one.lr(0.0) if callable(one.lr) else one.lr)
        base = moved * (1.0 if callable(one.lr) else known)  # What a schedule is multiplied by.
        ema = {} if one.ema is None else {"ema": one.ema ** (size / reference)}
        every = max(int(examples / judgements), size)
        how = {"size": size, "until": until, "hyper": ema, "restore": "last", "evaluate_every": every}
        train = partial(_judged, one, judge, higher, how)
        tried = climbed(lambda factor, base=base, train=train: train(base * factor, 0), higher, most)
        factor = _best(tried, higher)
        runs = [tried[factor], *(train(base * factor, seed) for seed in range(1, seeds))]
        figures = [figure for figure, _ in runs]
        row = {"size": size, "rate": known * moved * factor, "figure": sum(figures) / seeds, "figures": figures}
        row |= {"updates": runs[0][1].final["updates"], "seconds": runs[0][1].final["seconds"]}
        row["tried"] = {f"{each:g}": figure for each, (figure, _) in sorted(tried.items())}
        rows.append(row)
        paths.append(path_of(runs[0][1]))
        shown = ", ".join(f"{each}: {figure:.4g}" for each, figure in row["tried"].items())
        numbers = f"{row['rate']:>8.1e} {row['figure']:>8.4g} {row['updates']:>8} {row['seconds']:>8.1f}"
        print(f"{size:>6} {numbers}   {shown}", flush=True)
    level = max(min((loss for _, loss in path), default=math.inf) for path in paths)
    for row, path in zip(rows, paths, strict=True):
        row["seconds_to"] = reached(path, level)
    times = ", ".join(f"{row['size']}: {row['seconds_to']:.1f} s" for row in rows)
    print(f"to the validation loss {level:.4g}, which all reached: {times}", flush=True)
    return {"plan": numbers_of(plan), "until": until, "seeds": seeds, "higher": higher, "level": level, "rows": rows}


Found = tuple[float, ladle.Run]


def _judged(task: ladle.Task, judge: Any, higher: bool, how: Mapping[str, Any], rate: float, seed: int) -> Found:
    run = ladle.fit(task, lr=rate, seed=seed, **how)
    if run.status == "diverged":
        return -math.inf if higher else math.inf, run
    return run.final[loss_of(run)] if judge is None else judge(run), run


def climbed(train: Callable[[float], Found], higher: bool, most: int) -> dict[float, Found]:
    """Factors of the rate and what came of them: the better neighbours of the best so far, `most` in all."""
    tried = {1.0: train(1.0)}
    while len(tried) < most:
        best = _best(tried, higher)
        ahead = [factor for factor in (2 * best, best / 2) if factor not in tried]
        if not ahead:
            break
        tried[ahead[0]] = train(ahead[0])
    return tried


def _best(tried: Mapping[float, Found], higher: bool) -> float:
    return (max if higher else min)(tried, key=lambda factor: tried[factor][0])


def loss_of(run: ladle.Run) -> str:
    """That of the averaged weights where the task keeps an average."""
    return "valid_loss" if run.assembly.task.ema is None else "valid_ema_loss"


def path_of(run: ladle.Run) -> list[tuple[float, float]]:
    """Seconds of training and the validation loss at each evaluation; none of a run that diverged."""
    name = loss_of(run)
    known = [(line["seconds"], line[name]) for line in run.metrics if line.get(name) is not None]
    return [] if run.status == "diverged" else known


def reached(path: Sequence[tuple[float, float]], level: float) -> float:
    """The seconds at which the line through `path` first comes down to `level`.

    >>> reached([(0.0, 3.0), (2.0, 1.0), (4.0, 2.0)], 2.0)
    1.0
    """
    before = None
    for seconds, loss in path:
        if loss <= level:
            if before is None or before[1] <= level:
                return seconds
            share = (before[1] - level) / (before[1] - loss)
            return before[0] + share * (seconds - before[0])
        before = seconds, loss
    return math.inf


def keep(file: str, recipe: str, figure: str, found: Mapping[str, Any], part: str = "") -> None:
    """Put a sweep beside the others of `file`, with its command and date; nothing without a file.

    - `recipe`: its name and options, "forecast --net tcn". `figure`: what the sweep's figures are. `part`: which of
      several sweeps of one command it is.
    """
    if not file:
        return
    path, (program, _, options) = Path(file), recipe.partition(" ")
    command = f"python recipes/{program}.py {options} --sizes --until '{found['until']}'".replace("  ", " ")
    kept = json.loads(path.read_text()) if path.exists() else {}
    entry = {"figure": figure, "command": command, "date": time.strftime("%Y-%m-%d"), **found}
    kept[f"{recipe}, {part}" if part else recipe] = rounded(entry)
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def rounded(value: Any) -> Any:
    """Numbers to four digits, and null for those that JSON has no word for."""
    if isinstance(value, Mapping):
        return {name: rounded(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(of) for of in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
