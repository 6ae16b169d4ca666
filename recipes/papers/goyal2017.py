"""Goyal et al. 2017: a batch k times larger wants a rate k times higher, reached by a warmup. Fashion-MNIST.

    LADLE_DATA=FOLDER python recipes/papers/goyal2017.py [--out FOLDER] [--seeds 3] [--quick]

SGD with momentum on an MLP, batches of 64, 256, 512, 1,024 and 4,096, with the warmup and without. What it gave, and
how its verdict is found: goyal2017.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optax
from matplotlib.lines import Line2D

import ladle
from ladle.api.assembly import assemble

SIZE, RATE, EPOCHS, WARMUP, FALLS = 64, 0.02, 12, 3, (8, 11)
FACTORS = (1, 4, 8, 16, 64)
COLOURS: dict[int, str] = dict(zip(FACTORS, ("black", "tab:blue", "tab:green", "tab:orange", "tab:red"), strict=True))
HIGHEST = 30
"""Test error of the picture, in per cent."""

CLOSE_CURVE, CLOSE_ERROR = 1.1, 0.005
"""Curves coincide where after the warmup no training loss differs from the smallest batch's by more than this factor,
and the last test error by no more than half a point or two standard errors of the difference."""


def rate_of(factor: float, warm: bool, rows: int) -> Callable[[Any], Any]:
    """Examples drawn -> rate: from `RATE` to `factor * RATE` in a straight line, then a tenth at each of `FALLS`."""
    rise = optax.linear_schedule(RATE if warm else factor * RATE, factor * RATE, WARMUP * rows)
    fall = optax.piecewise_constant_schedule(1.0, {epoch * rows: 0.1 for epoch in FALLS})
    return lambda examples: rise(examples) * fall(examples)


def curves(data: ladle.data.Data, factor: int, warm: bool, seeds: int, epochs: int) -> dict[str, np.ndarray]:
    """Training loss and test error by epoch, `f64[seeds, epochs]`; of a run that diverged the rest is NaN."""
    model = ladle.models.mlp(784, 128, 128, 10)
    task = ladle.Task(
        model, ladle.losses.cross_entropy, data, optimizer="momentum", lr=rate_of(factor, warm, data.rows)
    )
    assembly, found = assemble(task), {name: np.full((seeds, epochs), np.nan) for name in ("loss", "error")}
    for seed in range(seeds):
        run = ladle.fit(assembly, size=SIZE * factor, until=f"{epochs} epochs", seed=seed, window=data.rows)
        if run.status != "diverged":
            lines = run.metrics[1:]
            found["loss"][seed] = [line["train_loss"] for line in lines]
            found["error"][seed] = [1 - line["valid_accuracy"] for line in lines]
    return found


def coincide(found: dict[str, np.ndarray], base: dict[str, np.ndarray]) -> tuple[bool, float, float]:
    """Whether they do, the factor between the training losses after the warmup, and how much higher the error ends."""
    late = slice(min(WARMUP, base["loss"].shape[1] - 1), None)
    ratio = float(np.exp(np.abs(np.log(found["loss"].mean(0) / base["loss"].mean(0)))[late].max()))
    last, first = found["error"][:, -1], base["error"][:, -1]
    more, doubt = float(last.mean() - first.mean()), float(np.sqrt((last.var() + first.var()) / max(len(last) - 1, 1)))
    return bool(ratio <= CLOSE_CURVE and abs(more) <= max(CLOSE_ERROR, 2 * doubt)), ratio, more


def judge(same: dict[tuple[int, bool], bool]) -> dict[str, bool]:
    """The paper's three statements."""
    good = [factor for factor, warm in same if warm and same[factor, True]]
    return {
        "with the rule and the warmup a larger batch gives the same curve": bool(good),
        "without the warmup one of those does not": any(not same[factor, False] for factor in good),
        "beyond some size it does not hold even with the warmup": any(
            not same[factor, True] and factor > max(good, default=1) for factor, warm in same if warm
        ),
    }


def draw(found: dict[tuple[int, bool], dict[str, np.ndarray]], file: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), layout="constrained", sharex=True, sharey="row")
    for (factor, warm), of in found.items():
        for column in (0, 1) if factor == 1 else (int(warm),):
            for axis, values in zip(axes[:, column], (of["loss"], 100 * of["error"]), strict=True):
                if np.isnan(values).all():
                    if values is of["loss"]:
                        words = f"{SIZE * factor:,}: all diverged"
                        axis.text(
                            0.98, 0.96, words, transform=axis.transAxes, ha="right", va="top", color=COLOURS[factor]
                        )
                    continue
                epochs, alive = np.arange(1, values.shape[1] + 1), int((~np.isnan(values[:, -1])).sum())
                if alive < len(values) and values is of["loss"]:
                    words = f"{alive} of {len(values)} seeds; the rest diverged"
                    axis.annotate(
                        words, (epochs[-1], np.nanmean(values[:, -1])), (0, 14), textcoords="offset points", ha="right",
                        fontsize=8, color=COLOURS[factor],
                    )  # fmt: skip
                axis.plot(epochs, np.nanmean(values, 0), color=COLOURS[factor], label=f"{SIZE * factor:,}")
                if values is not of["loss"] and np.nanmean(values[:, -1]) > HIGHEST:
                    words = f"{SIZE * factor:,}: {np.nanmean(values[:, -1]):.0f} % at the end, above the frame"
                    axis.text(0.98, 0.96, words, transform=axis.transAxes, ha="right", va="top", fontsize=8)
                low, high = np.nanmin(values, 0), np.nanmax(values, 0)
                axis.fill_between(epochs, low, high, color=COLOURS[factor], alpha=0.2, linewidth=0)
    for axis, title in zip(axes[0], ("rate x k, no warmup", f"rate x k, warmup of {WARMUP} epochs"), strict=True):
        axis.set(title=title, yscale="log", ylim=(0.15, 8))
        axis.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
        axis.minorticks_off()
    axes[0, 0].set_ylabel("training loss")
    axes[1, 0].set(ylabel="test error, %", ylim=(10, HIGHEST))
    for axis in axes[1]:
        axis.set_xlabel("epochs")
    handles = [Line2D([], [], color=COLOURS[factor], label=f"{SIZE * factor:,}") for factor in {f: 0 for f, _ in found}]
    figure.legend(handles=handles, title="batch size", loc="outside upper center", ncols=len(handles), fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with fashion_mnist/")
    parser.add_argument("--out", default=".", help="folder for goyal2017.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="4,800 rows, two sizes, one seed: does it run?")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "fashion_mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"goyal2017.py: data must hold fashion_mnist/; got {given.data!r}; {remedy}\n")
    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("fashion-mnist")
    data = replace(data, valid=data.test)
    seeds, epochs, factors = given.seeds, EPOCHS, FACTORS
    if given.quick:
        data = replace(data, train={name: leaf[:4800] for name, leaf in data.train.items()})
        seeds, epochs, factors = 1, 2, (1, 64)
    found, same = {(1, True): curves(data, 1, True, seeds, epochs)}, {}
    base = found[1, True]
    print(f"{'batch':>6} {'rate':>6} {'warmup':>7} {'test error':>16} {'above 64':>9} {'losses apart by':>15}  curve")
    print(f"{SIZE:>6,} {RATE:>6} {'-':>7} {base['error'][:, -1].mean():>8.2%} +- {base['error'][:, -1].std():.2%}")
    for factor in factors[1:]:
        for warm in (False, True):
            found[factor, warm] = of = curves(data, factor, warm, seeds, epochs)
            same[factor, warm], ratio, more = coincide(of, base)
            last, said = of["error"][:, -1], "the same" if same[factor, warm] else "another"
            words = f"{last.mean():.2%} +- {last.std():.2%} {more:>+9.2%} {ratio:>15.2f}  {said}"
            if gone := int(np.isnan(last).sum()):
                words = f"{gone} of {seeds} diverged"
            print(f"{SIZE * factor:>6,} {RATE * factor:>6.4g} {'yes' if warm else 'no':>7} {words:>16}", flush=True)
    draw(found, Path(given.out, "goyal2017.png"))
    said = judge(same)
    for claim, holds in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}")
    held = sum(said.values())
    verdict = {3: "reproduced", 2: "partly"}.get(held, "not")
    print(f"verdict: {verdict} ({held} of 3)")
    return {"verdict": verdict, "checks": said, "same": same, "curves": found}


if __name__ == "__main__":
    main()
