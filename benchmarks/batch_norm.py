"""Batch norm after a change of batch size: running averages against statistics counted anew over the training rows.

Claim: after the size goes from 32 to 256, re-estimated statistics give a lower validation loss than running averages.

    python benchmarks/batch_norm.py [--quick]

Digits, MLP 64-128-64-10 with batch norm, ten epochs of batches of 32, then batches of 256 with the rate moved by the
optimiser's rule; beside it the same run left at 32. Two optimisers at two rates. After 1 to 32 updates from the change
on, the validation part is judged twice with the same parameters: by the running averages, and by mean and variance
counted over the 1,438 training rows (`run.evaluate(..., reestimate=True)`). n = 32 seeds (4 with `--quick`). Reported
is the difference of the two losses, a seed's mean over all points, with Student's 95 % interval over seeds. Every
sample: `results/batch_norm.json`, the curves `results/batch_norm.png`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from timing import arguments, headline, save, table

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.core.scaling.coupling import lr_factor
from ladle.core.spec import BatchSpec

SMALL, LARGE, EPOCHS = 32, 256, 10
POINTS = (1, 2, 4, 8, 16, 32)
"""Updates after the change at which the model is judged."""

RATES = (("adam", 1e-3), ("adam", 1e-2), ("momentum", 0.05), ("momentum", 0.2))
"""Optimisers, each at a usual and at a large rate for batches of 32."""


def task(optimizer: str, lr: float) -> Any:
    model = ladle.models.mlp(64, 128, 64, 10, norm="batch")
    return ladle.Task(model, "cross_entropy", ladle.data.load("digits"), optimizer=optimizer, lr=lr)


def losses(assembly: Assembly, lr: float, seed: int, size: int) -> list[tuple[float, float]]:
    """`(by running averages, by statistics counted anew)` at each of `POINTS`, after a change to `size`."""
    engine, data = assembly.engine, assembly.task.data
    step, feed = engine.step, assembly.feed(seed)
    cursor, state = feed.start(), step.init(seed, {"lr": lr})
    for _ in range(EPOCHS):
        spec = BatchSpec(SMALL, SMALL, updates=-(-assembly.rows // SMALL))
        draw, cursor = feed.draw(cursor, spec)
        state, _ = step(state, draw, spec, 1.0)
    factor, found = lr_factor(assembly.rule, size / SMALL), []
    for update in range(1, max(POINTS) + 1):
        spec = BatchSpec(size, size)
        draw, cursor = feed.draw(cursor, spec)
        state, _ = step(state, draw, spec, factor)
        if update in POINTS:
            anew = engine.reestimated(state, dict(data.train))
            found.append(tuple(engine.evaluate(one, data.valid)["valid_loss"] for one in (state, anew)))
    return found


def interval(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval over seeds."""
    mean, error = differences.mean(), stats.sem(differences)
    half = error * stats.t.ppf(0.975, len(differences) - 1)
    return float(mean), float(mean - half), float(mean + half)


def draw(found: dict[str, np.ndarray], path: Path) -> None:
    """The two losses of each run against the updates since the change, means over seeds with their standard errors."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(found) // 2, figsize=(12, 6), constrained_layout=True)
    for axis, (name, values) in zip(axes.T.flat, found.items(), strict=True):
        for at, (label, style) in enumerate((("running averages", "o--"), ("counted anew", "s-"))):
            of = values[:, :, at]
            axis.errorbar(POINTS, of.mean(0), of.std(0, ddof=1) / len(of) ** 0.5, fmt=style, capsize=2, label=label)
        axis.set(xscale="log", xlabel="updates since the change")
        axis.set_title(name, fontsize=10)
        axis.set_xticks(POINTS, map(str, POINTS))
        axis.minorticks_off()
    axes[0, 0].set_ylabel("validation loss")
    axes[0, 0].legend()
    figure.savefig(path, dpi=80)


def main(quick: bool) -> None:
    seeds = range(4 if quick else 32)
    found: dict[str, np.ndarray] = {}
    for optimizer, lr in RATES:
        assembly = assemble(task(optimizer, lr))
        for size in (LARGE, SMALL):
            name = f"{optimizer} {lr:g}, {SMALL} " + ("throughout" if size == SMALL else f"to {size}")
            found[name] = np.array([losses(assembly, lr, seed, size) for seed in seeds])
    rows, told = [], {}
    for name, values in found.items():
        better = (values[:, :, 0] - values[:, :, 1]).mean(1)
        mean, low, high = interval(better)
        running, anew = values.mean((0, 1))
        told[name] = {"running": running, "anew": anew, "lower_by": mean, "low": low, "high": high}
        how_many = f"{(better > 0).sum()} of {len(seeds)}"
        rows.append([name, f"{running:.4f}", f"{anew:.4f}", f"{mean:.4f} ({low:.4f} - {high:.4f})", how_many])
    print(headline())
    print(table(["validation loss", "running", "counted anew", "lower by (95 %)", "seeds where lower"], rows))
    samples = {name: values.round(5).tolist() for name, values in found.items()}
    path = save("batch_norm", quick=quick, n=len(seeds), points=POINTS, runs=told, samples=samples)
    draw(found, path.with_suffix(".png"))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
