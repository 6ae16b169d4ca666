"""What the batch size does to a recipe: a plan in a line, and sizes side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ladle


def line_of(plan: ladle.Plan) -> str:
    """The size, those that are as good, and the noise scale."""
    (low, high), noise = plan.within_5_percent, plan.noise
    scale = f"{noise.value:,.0f} ({noise.low:,.0f} to {noise.high:,.0f}, {noise.verdict})"
    return f"{plan.size}, as good {low} to {high}, bound by {plan.bound}; noise scale {scale}"


def compared(task: ladle.Task, sizes: Sequence[int | str], until: str, seeds: int = 3) -> list[dict[str, Any]]:
    """The rows of `ladle.compare`, which is printed; the rate of each size is raced."""
    table = ladle.compare(task.with_(lr="auto"), sizes=sizes, seeds=seeds, until=until)
    print(table)
    return table.rows


def side_by_side(
    task: ladle.Task,
    judge: Callable[[ladle.Run], float],
    *,
    sizes: Sequence[int],
    until: str,
    higher: bool = True,
    factors: Sequence[float] = (0.5, 1.0, 2.0),
    reference: int = 8,
    averaged: bool = False,
) -> dict[int, tuple[float, float, float]]:
    """`{size: (figure, rate, seconds)}` of the best of the rates lr (size / reference)^(1/2) x `factors`, one seed.

    - `judge`: of a finished run, on its validation part. `reference`: the size that the task's rate is meant for.
    - `averaged`: the moving average of the weights is over as many examples at each size; else over as many updates.
    """
    print(f"plan: {line_of(ladle.plan(task))}", flush=True)
    found, base = {}, float(task.lr)
    print(f"{'size':>6} {'rate':>8} {'figure':>8} {'updates':>8} {'seconds':>8}   figures at all rates")
    for size in sizes:
        tried, keeps = [], {"ema": task.ema ** (size / reference)} if averaged and task.ema else {}
        for factor in factors:
            rate = base * (size / reference) ** 0.5 * factor
            run = ladle.fit(task.with_(**keeps), size=size, lr=rate, until=until, evaluate_every=10**9)
            figure = judge(run) if run.status == "finished" else float("-inf" if higher else "inf")
            tried.append((figure, rate, float(run.final["seconds"]), run.final["updates"]))
        figure, rate, seconds, updates = (max if higher else min)(tried)
        found[size] = figure, rate, seconds
        every = ", ".join(f"{rate:.1e}: {figure:.4g}" for figure, rate, *_ in tried)
        print(f"{size:>6} {rate:>8.1e} {figure:>8.4g} {updates:>8} {seconds:>8.1f}   {every}", flush=True)
    return found
