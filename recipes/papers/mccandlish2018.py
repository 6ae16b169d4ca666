"""McCandlish et al. 2018: the gradient noise scale of MNIST, its growth, and steps against examples. MNIST.

    LADLE_DATA=FOLDER python recipes/papers/mccandlish2018.py [--out FOLDER] [--seeds 3] [--quick]

First a convnet by SGD, measured as it trains (`ladle.Gauge`). Then a small MLP on images of 14 x 14: steps to two
targets at many sizes, rates tuned at each, with the hyperbola. What it gave, and how its verdict is found:
mccandlish2018.md.
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

import ladle
from ladle.api.assembly import assemble
from ladle.api.critical_steps import measure_steps
from ladle.core.hyperbola import fit_hyperbola
from ladle.core.noise import estimate
from ladle.critical.answer import Critical

SIZE, RATE, EPOCHS, WINDOWS, PARTS = 128, 0.05, 6, 18, 4
PAPER, LIKE = 900, (400, 2000)
"""The paper's average noise scale for MNIST, and which averages of another network count as like it."""

SIZES, TARGETS, ROWS = (4, 8, 16, 32, 64, 128, 256, 512, 1024), (0.85, 0.91), 8192
MEAN, SD = 0.1307, 0.3081  # Of the pixels.


def mnist(folder: str) -> ladle.data.Data:
    os.environ["LADLE_DATA"] = folder
    data = ladle.data.load("mnist")
    return replace(data, valid={name: leaf[:2000] for name, leaf in data.valid.items()})


def normalised(data: ladle.data.Data) -> ladle.data.Data:
    train, valid = ({"x": (part["x"] - MEAN) / SD, "y": part["y"]} for part in (data.train, data.valid))
    return replace(data, train=train, valid=valid)


def quartered(data: ladle.data.Data) -> ladle.data.Data:
    """Fewer and smaller images, each pixel the mean of four."""

    def small(part: Any, rows: int) -> dict[str, Any]:
        return {"x": part["x"][:rows].reshape(-1, 14, 2, 14, 2).mean((2, 4)), "y": part["y"][:rows]}

    return normalised(replace(data, train=small(data.train, ROWS), valid=small(data.valid, 1000), input_shape=(14, 14)))


def noise_along(data: ladle.data.Data, seeds: int, share: float = 1.0) -> dict[str, np.ndarray]:
    """Along one run of each seed: `examples`, `loss`, `value`, `low`, `high` of the noise scale, `f64[seeds, windows]`.

    Every update is cut into `PARTS`; a window of updates makes one estimate, a ratio of averages. `whole` is one such
    ratio over all updates of the run, `f64[seeds]`.
    """
    task = ladle.Task(
        ladle.models.convnet((28, 28, 1), 10, width=8), ladle.losses.cross_entropy, data, optimizer="sgd", lr=RATE
    )
    gauge, total = ladle.Gauge(every=1, parts=PARTS), int(share * EPOCHS * data.rows)
    assembly = assemble(task, gauge=gauge)
    names = {"loss": "train_loss", "value": "noise_scale", "low": "noise_scale_low", "high": "noise_scale_high"}
    found = {name: [] for name in ("examples", *names, "whole")}
    for seed in range(seeds):
        run = ladle.fit(
            assembly, size=SIZE, until=f"{total} examples", window=total // WINDOWS, evaluate_every=total, seed=seed
        )
        found["examples"].append([line["examples"] for line in run.metrics[1:]])
        for name, key in names.items():
            found[name].append([math.nan if line.get(key) is None else line[key] for line in run.metrics[1:]])
        found["whole"].append(whole(run).value)
        said = " ".join(f"{value:.0f}" for value in found["value"][-1])
        told = f"noise scale {said}; in one ratio {found['whole'][-1]:.0f}"
        print(f"seed {seed}: accuracy {run.final['valid_accuracy']:.2%}, {told}", flush=True)
    return {name: np.array(values, float) for name, values in found.items()}


def tradeoff(
    data: ladle.data.Data, target: float, sizes: Sequence[int], seeds: int
) -> tuple[Critical, ladle.NoiseScale]:
    """Steps to the target at each size, and the noise scale of a run to it in the middle one at its best rate."""
    task = ladle.Task(ladle.models.mlp(196, 32, 10), ladle.losses.cross_entropy, data, optimizer="sgd")
    found = measure_steps(task, f"valid_accuracy>={target}", sizes=sizes, seeds=seeds, until="40 epochs")
    row = found.table[len(found.table) // 2]
    run = ladle.fit(
        task, size=row["size"], lr=row["rate"], until=f"{math.ceil(row['steps'])} steps", gauge=ladle.Gauge(every=1)
    )
    return found, whole(run)


def whole(run: ladle.Run) -> ladle.NoiseScale:
    """Of all updates of a run: sums are added and divided once."""
    moments = ladle.Moments()
    for line in run.metrics:
        moments = moments.merge(ladle.Moments.from_sums(line))
    return estimate(moments)


def mean(values: np.ndarray) -> float:
    """Of what is known: a window whose |G|^2 cannot be told from zero has no value."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def growth(values: np.ndarray) -> tuple[float, float]:
    """From the first third of the windows to the last: by what factor, and by how many standard errors."""
    early, late = (part[np.isfinite(part)] for part in (values[: len(values) // 3], values[-(len(values) // 3) :]))
    if min(early.size, late.size) < 2:
        return math.nan, 0.0
    error = math.sqrt(early.var(ddof=1) / early.size + late.var(ddof=1) / late.size)
    return float(late.mean() / early.mean()), float((late.mean() - early.mean()) / error) if error else 0.0


def judge(
    noise: dict[str, np.ndarray], found: dict[float, Critical], scales: dict[float, ladle.NoiseScale]
) -> dict[str, bool]:
    """The paper's statements."""
    average, growths = mean(noise["value"]), [growth(of) for of in noise["value"]]
    easy, hard = (found[target]["Bc"] for target in sorted(found))
    return {
        f"the average noise scale of a CNN on MNIST is like {PAPER}: {LIKE[0]} to {LIKE[1]:,}": bool(
            LIKE[0] <= average <= LIKE[1]
        ),
        "it grows in training, by over two standard errors from the first third to the last, at every seed": all(
            error > 2 for _, error in growths
        ),
        "steps against examples lie on the hyperbola rather than on a power law, at every target": all(
            one.facts["weight"] > 0.95 for one in found.values()
        ),
        "the critical size is larger for the harder target": hard.value > easy.value,
        "the noise scale of a run to a target is within a factor of two of its critical size": all(
            0.5 < scales[target].value / one["Bc"].value < 2 for target, one in found.items()
        ),
    }


def draw(noise: dict[str, np.ndarray], found: dict[float, Critical], file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for seed, value in enumerate(noise["value"]):
        examples, low, high = (noise[name][seed] for name in ("examples", "low", "high"))
        left.plot(examples, value, "o-", color=f"C{seed}", markersize=4, label=f"seed {seed}")
        left.fill_between(
            examples, low, np.nan_to_num(high, nan=1e5).clip(max=1e5), color=f"C{seed}", alpha=0.15, linewidth=0
        )
    average = mean(noise["value"])
    left.axhline(average, color="black", linewidth=1, label=f"average {average:,.0f}")
    left.axhline(PAPER, color="tab:red", linestyle=":", label=f"average in the paper, {PAPER}")
    left.set(yscale="log", ylim=(5, 5000), xlabel="examples", ylabel="noise scale", title="a convnet as it trains")
    left.xaxis.set_major_formatter(lambda examples, _: f"{examples / 1000:,.0f}k")
    left.legend(fontsize=8, loc="lower right")
    for colour, (target, one) in zip(("tab:blue", "tab:orange"), found.items(), strict=False):
        rows = [row for row in one.table if row["steps"] is not None]
        sizes, steps = (np.array([row[name] for row in rows], float) for name in ("size", "steps"))
        fit, grid = fit_hyperbola(sizes, steps), np.geomspace(sizes[0] / 1.3, 1.3 * sizes[-1], 100)
        line, critical = fit.min_steps + fit.min_examples / grid, one["Bc"]
        right.plot(line, line * grid, color=colour)
        name = f"{target:.0%}: Bc {critical.value:.0f} ({critical.low:.0f} to {critical.high:.0f})"
        right.plot(steps, steps * sizes, "o", color=colour, label=name)
        right.plot(2 * fit.min_steps, 2 * fit.min_examples, "D", color=colour, markersize=9, markeredgecolor="black")
    right.set(
        xscale="log", yscale="log", xlabel="steps", ylabel="examples", title="an MLP to an accuracy, by batch size"
    )
    right.legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with mnist/")
    parser.add_argument("--out", default=".", help="folder for mccandlish2018.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="a twentieth of a run, three sizes, one seed: does it run?"
    )
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"mccandlish2018.py: data must hold mnist/; got {given.data!r}; {remedy}\n")
    data = mnist(given.data)
    seeds, share, sizes, targets = given.seeds, 1.0, SIZES, TARGETS
    if given.quick:
        seeds, share, sizes, targets = 1, 0.05, (32, 256, 1024), (0.6, 0.75)
    noise, small = noise_along(normalised(data), seeds, share), quartered(data)
    average = mean(noise["value"])
    print(f"average {average:,.0f}; of each seed", *(f"{mean(one):,.0f}" for one in noise["value"]))
    print("growth from the first third to the last:", *(f"x{growth(one)[0]:.2g}" for one in noise["value"]))
    found, scales = {}, {}
    for target in targets:
        found[target], scales[target] = tradeoff(small, target, sizes, seeds)
        print(f"\nto {target:.0%}\n{found[target]}")
        scale = scales[target]
        print(f"weight of the hyperbola against a power law: {found[target].facts['weight']:.4f}")
        print(f"noise scale of such a run: {scale.value:.0f} ({scale.low:.0f} to {scale.high:.0f})\n", flush=True)
    draw(noise, found, Path(given.out, "mccandlish2018.png"))
    said = judge(noise, found, scales)
    for claim, holds in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}")
    held = sum(said.values())
    verdict = "reproduced" if held == len(said) else "partly" if held >= 3 else "not"
    print(f"verdict: {verdict} ({held} of {len(said)})")
    return {"verdict": verdict, "checks": said, "average": average, "noise": noise, "critical": found}


if __name__ == "__main__":
    main()
