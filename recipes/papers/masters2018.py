"""Masters and Luschi 2018: at a fixed rate per example, small batches do best and bear most rates. Fashion-MNIST.

    LADLE_DATA=FOLDER python recipes/papers/masters2018.py [--out FOLDER] [--seeds 3] [--quick]

An MLP by plain SGD at every pair of a batch size m and a base rate. The rate is base x m, so that all cells in a row of
the heat map move equally far per example. What it gave, and how its verdict is found: masters2018.md.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optax

import ladle
from ladle.api.assembly import assemble

ROWS, EPOCHS = 4096, 8
SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
EXPONENTS = (-12, -11, -10, -9, -8, -7, -6, -5)
"""Base rates are two to the power of these."""

SMALL, LARGE, CLOSE = 32, 256, 0.02
"""The paper's best sizes are at most SMALL. A rate is good where accuracy is within CLOSE of the best of the whole map;
sizes from LARGE on are held against the small ones."""


def accuracies(
    data: ladle.data.Data, sizes: Sequence[int], exponents: Sequence[int], seeds: int, epochs: int
) -> np.ndarray:
    """Test accuracy after `epochs`, `f64[exponents, sizes, seeds]`; 0 for a run that diverged."""
    fall = optax.linear_schedule(1.0, 0.0, epochs * data.rows)  # In examples: the same for all sizes.
    task = ladle.Task(ladle.models.mlp(784, 64, 64, 10), ladle.losses.cross_entropy, data, optimizer="sgd", lr=fall)
    assembly, found = assemble(task), np.zeros((len(exponents), len(sizes), seeds))
    for place in np.ndindex(found.shape):
        exponent, size, seed = exponents[place[0]], sizes[place[1]], place[2]
        how = {"until": f"{epochs} epochs", "evaluate_every": epochs * data.rows, "seed": seed}
        run = ladle.fit(assembly, size=size, lr=2.0**exponent * size, **how)
        found[place] = run.final["valid_accuracy"] if run.status == "finished" else 0.0
    return found


def best_cells(found: np.ndarray) -> np.ndarray:
    """Accuracies of the seeds at each size's best rate, `f64[sizes, seeds]`."""
    return found[found.mean(2).argmax(0), np.arange(found.shape[1])]


def good_rates(found: np.ndarray) -> np.ndarray:
    """How many rates, factors of two apart, are good at each size: `i64[sizes]`."""
    mean = found.mean(2)
    return (mean >= mean.max() - CLOSE).sum(0)


def judge(found: np.ndarray, sizes: Sequence[int]) -> dict[str, bool]:
    """The paper's statements."""
    best, width, m = best_cells(found), good_rates(found), np.array(sizes)
    top, last = best[int(best.mean(1).argmax())], best[-1]
    doubt = math.sqrt((top.var() + last.var()) / max(len(top) - 1, 1))
    return {
        f"the best accuracy is found at batches of {SMALL} or fewer": bool(m[best.mean(1).argmax()] <= SMALL),
        f"batches of {m[-1]:,} are worse at any rate, by over two standard errors": bool(
            top.mean() - last.mean() > 2 * doubt
        ),
        f"more rates are good at every size up to {SMALL} than at any from {LARGE} on": bool(
            width[m <= SMALL].min() > width[m >= LARGE].max()
        ),
        "the range of good rates never widens as the batch grows": bool((np.diff(width) <= 0).all()),
    }


def draw(found: np.ndarray, sizes: Sequence[int], exponents: Sequence[int], file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained", width_ratios=(1.5, 1))
    mean = 100 * found.mean(2)
    image = left.imshow(mean, origin="lower", aspect="auto", cmap="viridis", vmin=mean.max() - 12, vmax=mean.max())
    for row, column in np.ndindex(mean.shape):
        dark = mean[row, column] < mean.max() - 5
        text = f"{mean[row, column]:.0f}" if found[row, column].min() > 0 else "\N{MULTIPLICATION SIGN}"
        left.text(column, row, text, ha="center", va="center", fontsize=8, color="w" if dark else "k")
    left.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
    left.set_yticks(range(len(exponents)), [f"$2^{{{exponent}}}$" for exponent in exponents])
    left.set(
        xlabel="batch size m",
        ylabel="base rate (rate / m)",
        title="test accuracy, % (\N{MULTIPLICATION SIGN}: a run diverged)",
    )
    figure.colorbar(image, ax=left, extend="min")
    best = 100 * best_cells(found)
    right.fill_between(sizes, best.min(1), best.max(1), color="tab:blue", alpha=0.2, linewidth=0)
    right.plot(sizes, best.mean(1), "o-", color="tab:blue", label="at the best rate of each size")
    for shown, colour in ((-10, "tab:orange"), (-8, "tab:red")):
        if shown in exponents:
            line = 100 * found[list(exponents).index(shown)].mean(1)
            right.plot(sizes, line, ".--", color=colour, label=f"at base rate $2^{{{shown}}}$")
    right.axvspan(2, SMALL, color="gray", alpha=0.12, linewidth=0, label="best sizes in the paper")
    right.set(xscale="log", xlabel="batch size m", ylim=(mean.max() - 12, mean.max() + 1), title="test accuracy, %")
    right.set_xticks(sizes[::2], [f"{size:,}" for size in sizes[::2]])
    right.minorticks_off()
    right.legend(fontsize=8, loc="lower left")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with fashion_mnist/")
    parser.add_argument("--out", default=".", help="folder for masters2018.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1,024 rows, two sizes and rates: does it run?")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "fashion_mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"masters2018.py: data must hold fashion_mnist/; got {given.data!r}; {remedy}\n")
    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("fashion-mnist")
    rows, sizes, exponents, seeds, epochs = ROWS, SIZES, EXPONENTS, given.seeds, EPOCHS
    if given.quick:
        rows, sizes, exponents, seeds, epochs = 1024, (32, 1024), (-9, -7), 1, 2
    data = replace(data, train={name: leaf[:rows] for name, leaf in data.train.items()}, valid=data.test)
    found = accuracies(data, sizes, exponents, seeds, epochs)
    print(f"{'batch':>6} {'best base':>9} {'rate':>8} {'test accuracy':>18} {'good rates':>10}")
    for column, (size, best) in enumerate(zip(sizes, best_cells(found), strict=True)):
        base, good = 2.0 ** exponents[found.mean(2).argmax(0)[column]], good_rates(found)[column]
        print(f"{size:>6,} {base:>9.4g} {base * size:>8.4g} {best.mean():>9.2%} +- {best.std():.2%} {good:>10}")
    draw(found, sizes, exponents, Path(given.out, "masters2018.png"))
    said = judge(found, sizes)
    for claim, holds in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}")
    held = sum(said.values())
    verdict = "reproduced" if held == len(said) else "partly" if held else "not"
    print(f"verdict: {verdict} ({held} of {len(said)})")
    return {"verdict": verdict, "checks": said, "accuracies": found}


if __name__ == "__main__":
    main()
