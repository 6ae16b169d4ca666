"""Shallue et al. 2019: steps to a target error against the batch size, rates tuned at each. Handwritten digits.

    python recipes/papers/shallue2019.py [--out FOLDER] [--seeds 3] [--quick]

An MLP by plain SGD. `ladle.api.critical_steps.measure_steps` finds the rate with the fewest steps at each size and
fits the hyperbola. What it gave, and how its verdict is found: shallue2019.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import ladle
from ladle.api.critical_steps import measure_steps
from ladle.core.hyperbola import fit_hyperbola
from ladle.critical.answer import Critical

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TARGET, UNTIL = 0.94, "60 epochs"
PERFECT, FLAT = 0.85, 0.15
"""Steps ~ size^-p between two sizes: p of 1 is perfect scaling, which is to say at least PERFECT; p of 0 is the end of
all gains, at most FLAT."""


def measured(sizes: Sequence[int], target: float, seeds: int) -> Critical:
    data = ladle.data.load("digits")
    task = ladle.Task(ladle.models.mlp(64, 64, 10), ladle.losses.cross_entropy, data, optimizer="sgd")
    return measure_steps(task, f"valid_accuracy>={target}", sizes=sizes, seeds=seeds, until=UNTIL, show=True)


def gains(sizes: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """p of steps ~ size^-p between sizes two places apart: `f64[sizes - 2]`."""
    return -np.log(steps[2:] / steps[:-2]) / np.log(sizes[2:] / sizes[:-2])


def judge(found: Critical) -> dict[str, bool]:
    """The paper's statements."""
    reached = [row for row in found.table if row["steps"] is not None]
    p = gains(*(np.array([row[name] for row in reached]) for name in ("size", "steps")))
    between = p[(p < PERFECT) & (p > FLAT)]
    return {
        "perfect scaling: the smallest batches need steps in proportion to 1 / size": bool(p[0] >= PERFECT),
        "diminishing returns: sizes between gain less and less": len(between) > 0,
        "maximal data parallelism: the largest batches save no more steps": bool(p[-1] <= FLAT),
        "every size reaches the target error, once its rate is tuned": len(reached) == len(found.table),
    }


def draw(found: Critical, file: Path) -> None:
    rows = [row for row in found.table if row["steps"] is not None]
    sizes, steps, rates = (np.array([row[name] for row in rows], float) for name in ("size", "steps", "rate"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained", width_ratios=(1.5, 1))
    grid = np.geomspace(sizes[0], sizes[-1], 100)
    fit, low, high = fit_hyperbola(sizes, steps), found["Bc"].low, found["Bc"].high
    left.plot(grid, steps[0] * sizes[0] / grid, ":", color="black", label="perfect scaling")
    left.plot(grid, fit.min_steps + fit.min_examples / grid, color="tab:blue", label="hyperbola")
    spread = [(min(row["seeds"]), max(row["seeds"])) for row in rows]
    errors = np.abs(np.array(spread).T - steps)
    left.errorbar(sizes, steps, errors, fmt="o", color="tab:blue", capsize=3, label="measured, with span of seeds")
    if 0 < low < high < math.inf:
        left.axvspan(low, high, color="tab:red", alpha=0.15, linewidth=0, label="Bc, 95 %")
    target = found.facts["target"].replace("valid_accuracy", "accuracy")
    left.set(xscale="log", yscale="log", xlabel="batch size", ylabel=f"steps to {target}")
    left.set_ylim(0.6 * steps.min(), 1.5 * steps.max())
    left.legend(fontsize=8)
    right.plot(sizes, rates, "o-", color="tab:blue", label="best rate")
    for power, style, name in ((1.0, ":", "linear rule"), (0.5, "--", "square-root rule")):
        right.plot(sizes, rates[0] * (sizes / sizes[0]) ** power, style, color="black", label=name)
    right.set(xscale="log", yscale="log", xlabel="batch size", ylabel="learning rate")
    right.set_ylim(0.7 * rates.min(), 4 * rates.max())
    right.legend(fontsize=8, loc="lower right")
    for axis in (left, right):
        axis.set_xticks(sizes[::2], [f"{size:,.0f}" for size in sizes[::2]])
        axis.minorticks_off()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", default=".", help="folder for shallue2019.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="three sizes, an easy target, one seed: does it run?")
    given = parser.parse_args(args)
    sizes, target, seeds = ((16, 128, 512), 0.7, 1) if given.quick else (SIZES, TARGET, given.seeds)
    found = measured(sizes, target, seeds)
    print(found)
    rows = [row for row in found.table if row["steps"] is not None]
    p = gains(*(np.array([row[name] for row in rows]) for name in ("size", "steps")))
    print(
        "steps ~ size^-p, p around each size:",
        *(f"{row['size']}: {g:.2f}" for row, g in zip(rows[1:-1], p, strict=True)),
    )
    print(f"weight of the hyperbola against a power law: {found.facts['weight']:.4f}")
    draw(found, Path(given.out, "shallue2019.png"))
    said = judge(found)
    for claim, holds in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}")
    held = sum(said.values())
    verdict = "reproduced" if held == len(said) else "partly" if held >= 2 else "not"
    print(f"verdict: {verdict} ({held} of {len(said)})")
    return {"verdict": verdict, "checks": said, "critical": found, "gains": p}


if __name__ == "__main__":
    main()
