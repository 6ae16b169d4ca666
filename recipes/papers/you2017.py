"""You et al. 2017: rates by layer (LARS) keep what the linear rule loses at large batches. Fashion-MNIST.

    LADLE_DATA=FOLDER python recipes/papers/you2017.py [--out FOLDER] [--seeds 3] [--quick]

A deep MLP: SGD with momentum against LARS as in the paper and as in optax, at a small and a large batch, for as many
epochs. Rates rise over the first epochs and fall as (1 - t)^2; they are tuned on validation rows by seeds of their own.
What it gave, and how its verdict is found: you2017.md.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ladle
from ladle.api.assembly import Assembly, assemble

ROWS, EPOCHS, WARMUP, SMALL, LARGE, TUNING_SEEDS = 8192, 16, 2, 64, 1024, (8, 9)
RATES = {
    "momentum": [2.0**k for k in range(-6, 0)],
    "lars_paper": [2.0**k for k in range(1, 7)],
    "lars": [2.0**k for k in range(1, 7)],
}
COLOURS = dict(zip(RATES, ("tab:gray", "tab:blue", "tab:orange"), strict=True))
HYPER = {"momentum": 0.9}
CLOSE = 0.01
"""Accuracy is kept where the mean is lower by no more than this, or than two standard errors of the difference."""

LOWEST = 60
"""Of the picture, in per cent."""

Found = dict[str, np.ndarray]


def schedule(total: float, warmup: float) -> Callable[[Any], Any]:
    """Examples drawn -> share of the rate."""
    return lambda examples: jnp.minimum(examples / warmup, 1.0) * (1 - jnp.minimum(examples / total, 1.0)) ** 2


def learner(data: ladle.data.Data, optimizer: str, epochs: int) -> Assembly:
    model = ladle.models.mlp(784, 64, 64, 64, 64, 10)
    rate = schedule(epochs * data.rows, WARMUP * data.rows)
    return assemble(ladle.Task(model, ladle.losses.cross_entropy, data, optimizer=optimizer, lr=rate, hyper=HYPER))


def accuracy(assembly: Assembly, size: int, rate: float, seed: int, epochs: int, test: Any = None) -> float:
    """After `epochs`, on the validation rows or on `test`; 0 where the run diverged."""
    rows = assembly.rows
    run = ladle.fit(assembly, size=size, lr=rate, seed=seed, until=f"{epochs} epochs", evaluate_every=epochs * rows)
    if run.status == "diverged":
        return 0.0
    return run.final["valid_accuracy"] if test is None else assembly.engine.evaluate(run.state, test)["valid_accuracy"]


def compared(data: ladle.data.Data, rates: dict[str, list[float]], seeds: int, epochs: int) -> dict[str, Found]:
    """By optimiser: validation accuracy of each rate at both sizes, and test accuracy of the seeds at the best ones."""
    found: dict[str, Found] = {}
    for name, tried in rates.items():
        assembly = learner(data, name, epochs)
        test = assembly.engine.place(dict(data.test or {}))
        found[name] = of = {"tried": np.array(tried)}
        wanted = {}
        for key, size in (("small", SMALL), ("large", LARGE)):
            each = [[accuracy(assembly, size, rate, seed, epochs) for seed in TUNING_SEEDS] for rate in tried]
            of[f"{key} tuning"] = np.mean(each, 1)
            wanted[key] = size, tried[int(of[f"{key} tuning"].argmax())]
        if name == "momentum":
            wanted["linear rule"] = LARGE, wanted["small"][1] * LARGE / SMALL
        for key, (size, rate) in wanted.items():
            of[f"{key} rate"] = np.array(rate)
            of[key] = np.array([accuracy(assembly, size, rate, seed, epochs, test) for seed in range(seeds)])
            words = f"{of[key].mean():>8.2%} +- {of[key].std():.2%}"
            print(f"{name:<11} {size:>6,} {rate:>8.4g} {key:<12} {words}", flush=True)
    return found


def lower(one: np.ndarray, other: np.ndarray) -> float:
    """By how much `one` is below `other`, beyond what is `CLOSE` or doubtful: positive where accuracy was lost."""
    doubt = math.sqrt((one.var() + other.var()) / max(len(one) - 1, 1))
    return float(other.mean() - one.mean() - max(CLOSE, 2 * doubt))


def judge(found: dict[str, Found]) -> dict[str, bool]:
    """The paper's statements, optax's LARS, and whether LARS is ahead where the other's rate was tuned too."""
    momentum, paper, optax = (found[name] for name in RATES)
    best = max((momentum["small"], paper["small"]), key=np.mean)
    return {
        "momentum with the linear rule and a warmup loses accuracy at the large batch": lower(
            momentum["linear rule"], momentum["small"]
        )
        > 0,
        "LARS as in the paper keeps it": lower(paper["large"], best) <= 0,
        "LARS as in optax keeps it": lower(optax["large"], best) <= 0,
        "LARS is ahead there of momentum whose rate was tuned there": lower(momentum["large"], paper["large"]) > 0,
    }


def draw(found: dict[str, Found], file: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.7), layout="constrained", sharey=True)
    for axis, name, title in zip(axes, RATES, ("momentum", "LARS, paper", "LARS, optax"), strict=True):
        of, colour = found[name], COLOURS[name]
        for key, size, style in (("small", SMALL, "o--"), ("large", LARGE, "o-")):
            tuning = 100 * of[f"{key} tuning"]
            axis.plot(of["tried"], tuning, style, color=colour, markersize=4, label=f"batch {size:,}, tuning")
            low, high = 100 * of[key].min(), 100 * of[key].max()
            middle = 100 * of[key].mean()
            shape = "s" if key == "small" else "D"
            axis.errorbar(
                of[f"{key} rate"], middle, [[middle - low], [high - middle]], fmt=shape, color="black", capsize=4,
                markerfacecolor=colour, markersize=8, label=f"batch {size:,}, test",
            )  # fmt: skip
        if name == "momentum":
            rule = 100 * of["linear rule"].mean()
            rate, at = float(of["linear rule rate"]), max(rule, LOWEST + 1)
            words = "diverges" if rule == 0 else f"{rule:.0f} %" + (", below the frame" if rule < at else "")
            axis.plot(rate, at, "v" if rule < at else "X", color="tab:red", label="linear rule, test")
            axis.annotate(
                words, (rate, at), (-8, 0), textcoords="offset points", ha="right", va="center", fontsize=8,
                color="tab:red",
            )  # fmt: skip
        axis.set(xscale="log", xlabel="peak learning rate", title=title, ylim=(LOWEST, 90))
        axis.set_xticks(of["tried"][::2], [f"{rate:.3g}" for rate in of["tried"][::2]])
        axis.minorticks_off()
        axis.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 0.08))
    axes[0].set_ylabel("accuracy, %")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with fashion_mnist/")
    parser.add_argument("--out", default=".", help="folder for you2017.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="2,048 rows, one rate each, one seed: does it run?")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "fashion_mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"you2017.py: data must hold fashion_mnist/; got {given.data!r}; {remedy}\n")
    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("fashion-mnist")
    rows, rates, seeds, epochs = ROWS, RATES, given.seeds, EPOCHS
    if given.quick:
        rows, rates, seeds, epochs = 2048, {name: tried[5:6] for name, tried in RATES.items()}, 1, 3
    parts = ((data.train, rows), (data.valid, 4000))
    train, valid = ({name: leaf[:most] for name, leaf in part.items()} for part, most in parts)
    data = replace(data, train=train, valid=valid)
    print(f"{'optimiser':<11} {'batch':>6} {'rate':>8} {'rate tuned':<12} {'test accuracy':>17}")
    found = compared(data, rates, seeds, epochs)
    draw(found, Path(given.out, "you2017.png"))
    said = judge(found)
    for claim, holds in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}")
    lost, kept, _, ahead = said.values()
    verdict = "reproduced" if lost and kept and ahead else "partly" if lost and (kept or ahead) else "not"
    print(f"verdict: {verdict}")
    return {"verdict": verdict, "checks": said, "found": found}


if __name__ == "__main__":
    main()
