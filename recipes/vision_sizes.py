"""What the batch size does to a recipe on images: a plan in a line, and sizes side by side, each at its best rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ladle


def side_by_side(
    task: ladle.Task,
    judge: Callable[[ladle.Run], float],
    *,
    sizes: Sequence[int],
    until: str,
    higher: bool = True,
    factors: Sequence[float] = (0.5, 1.0, 2.0),
    reference: int = 8,
) -> dict[int, tuple[float, float, float]]:
    """`{size: (figure, rate, seconds)}` of the best of the rates lr (size / reference)^(1/2) x `factors`, one seed.

    - `judge`: of a finished run, on its validation part. `reference`: the size that the task's rate is meant for.
    """
    made = ladle.plan(task)
    (low, high), noise = made.within_5_percent, made.noise
    print(f"plan: batches of {made.size}, {low} to {high} at most 5 % slower; bound by {made.bound}", flush=True)
    print(
        f"gradient noise scale {noise.value:,.0f}, {noise.low:,.0f} to {noise.high:,.0f}: {noise.verdict}", flush=True
    )
    found, base = {}, float(task.lr)
    print(f"{'size':>6} {'rate':>8} {'figure':>8} {'updates':>8} {'seconds':>8}   figures at all rates")
    for size in sizes:
        tried = []
        for factor in factors:
            rate = base * (size / reference) ** 0.5 * factor
            run = ladle.fit(task, size=size, lr=rate, until=until, evaluate_every=10**9)
            figure = judge(run) if run.status == "finished" else float("-inf" if higher else "inf")
            tried.append((figure, rate, float(run.final["seconds"]), run.final["updates"]))
        figure, rate, seconds, updates = (max if higher else min)(tried)
        found[size] = figure, rate, seconds
        every = ", ".join(f"{rate:.1e}: {figure:.4g}" for figure, rate, *_ in tried)
        print(f"{size:>6} {rate:>8.1e} {figure:>8.4g} {updates:>8} {seconds:>8.1f}   {every}", flush=True)
    return found
