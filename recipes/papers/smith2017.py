"""Smith et al. 2017: where the rate would fall, let the batch grow. The same curves in fewer updates. Fashion-MNIST.

    LADLE_DATA=FOLDER python recipes/papers/smith2017.py [--out FOLDER] [--seeds 3] [--quick]

SGD with momentum on an MLP. At three places the rate falls to a fifth, or the batch grows five times, or first the one
and then the other: one policy of ladle with three values of `largest`. The last curve begins with five times the rate
and five times the batch. What it gave, and how its verdict is found: smith2017.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.policy.grow_instead_of_decay import GrowInsteadOfDecay

SIZE, RATE, FACTOR, EPOCHS, PLACES = 64, 0.02, 5, 16, (7, 11, 14)
CLOSE_CURVE, CLOSE_ERROR = 1.1, 0.005
"""Curves are the same where after the first place no training loss differs from the falling rate's by more than this
factor, and the last test error by no more than half a point or two standard errors of the difference."""

# name: (first batch, largest batch, rate)
KINDS = {
    "the rate falls": (SIZE, SIZE, RATE),
    "the batch grows, then the rate falls": (SIZE, FACTOR * SIZE, RATE),
    "the batch grows": (SIZE, FACTOR**3 * SIZE, RATE),
    "5 x rate, the batch grows": (FACTOR * SIZE, FACTOR**4 * SIZE, FACTOR * RATE),
}
COLOURS = dict(zip(KINDS, ("lightgray", "tab:blue", "tab:red", "tab:orange"), strict=True))

Curves = dict[str, np.ndarray]


def curves(assembly: Assembly, kind: str, seeds: int, share: float) -> Curves:
    """Updates, training loss and test error at each epoch's end, `f64[seeds, epochs]`; NaN after a divergence.

    `share`: of the epochs, for a quick look.
    """
    (first, largest, rate), rows, epochs = KINDS[kind], assembly.rows, round(EPOCHS * share)
    places = tuple(round(place * share) * rows for place in PLACES)
    policy = GrowInsteadOfDecay(first, FACTOR, places, min(largest, rows), micro_size=1600)
    found = {name: np.full((seeds, epochs), np.nan) for name in ("updates", "loss", "error")}
    for seed in range(seeds):
        run = ladle.fit(assembly, policy=policy, until=f"{epochs} epochs", lr=rate, seed=seed, window=rows)
        if run.status != "diverged":
            lines = run.metrics[1:]
            found["updates"][seed] = [line["updates"] for line in lines]
            found["loss"][seed] = [line["train_loss"] for line in lines]
            found["error"][seed] = [1 - line["valid_accuracy"] for line in lines]
    return found


def compared(found: Curves, base: Curves, first: int) -> dict[str, Any]:
    """Against the falling rate: are the curves the same, by what are they apart, and how many updates are saved."""
    ratio = float(np.exp(np.abs(np.log(found["loss"].mean(0) / base["loss"].mean(0)))[first:].max()))
    last, other = found["error"][:, -1], base["error"][:, -1]
    more, doubt = float(last.mean() - other.mean()), float(np.sqrt((last.var() + other.var()) / max(len(last) - 1, 1)))
    return {
        "same": bool(ratio <= CLOSE_CURVE and abs(more) <= max(CLOSE_ERROR, 2 * doubt)),
        "ratio": ratio,
        "more": more,
        "updates": float(found["updates"][0, -1]),
        "share": float(found["updates"][0, -1] / base["updates"][0, -1]),
    }


def judge(to: dict[str, dict[str, Any]]) -> dict[str, bool]:
    """The paper's statements."""
    _, mixed, grown, high = (to[kind] for kind in KINDS)
    return {
        "the batch grows: the same curve in fewer updates": grown["same"] and grown["share"] < 1,
        "the mixture lies on the same curve": mixed["same"] and mixed["share"] < 1,
        "five times the rate and batch: the same end in fewer updates still": bool(
            high["more"] <= CLOSE_ERROR and high["share"] < grown["share"]
        ),
    }


def draw(found: dict[str, Curves], file: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(9, 5.6), layout="constrained", sharex="col", sharey="row")
    for kind, of in found.items():
        for row, values in enumerate((of["loss"], 100 * of["error"])):
            epochs = np.arange(1, values.shape[1] + 1)
            for axis, x in zip(axes[row], (epochs, of["updates"][0]), strict=True):
                width = 4 if kind == next(iter(KINDS)) else 1.5
                axis.plot(x, np.nanmean(values, 0), color=COLOURS[kind], label=kind, linewidth=width)
                low, high = np.nanmin(values, 0), np.nanmax(values, 0)
                axis.fill_between(x, low, high, color=COLOURS[kind], alpha=0.2, linewidth=0)
    axes[0, 0].set(ylabel="training loss")
    axes[1, 0].set(ylabel="test error, %", xlabel="epochs")
    axes[1, 1].set(xlabel="updates", xscale="log")
    axes[0, 0].legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with fashion_mnist/")
    parser.add_argument("--out", default=".", help="folder for smith2017.png")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="4,800 rows, 4 epochs, one seed: does it run?")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "fashion_mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"smith2017.py: data must hold fashion_mnist/; got {given.data!r}; {remedy}\n")
    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("fashion-mnist")
    data = replace(data, valid=data.test)
    seeds, share = (1, 0.25) if given.quick else (given.seeds, 1.0)
    if given.quick:
        data = replace(data, train={name: leaf[:4800] for name, leaf in data.train.items()})
    model = ladle.models.mlp(784, 128, 128, 10)
    assembly = assemble(ladle.Task(model, ladle.losses.cross_entropy, data, optimizer="momentum"))
    found, to = {}, {}
    print(f"{'':<38} {'updates':>8} {'share':>7} {'test error':>18} {'above':>8} {'losses apart by':>15}  curve")
    for kind in KINDS:
        found[kind] = of = curves(assembly, kind, seeds, share)
        to[kind] = compared(of, found[next(iter(KINDS))], round(PLACES[0] * share))
        last, ours = of["error"][:, -1], to[kind]
        words = f"{last.mean():.2%} +- {last.std():.2%}"
        print(
            f"{kind:<38} {ours['updates']:>8,.0f} {ours['share']:>7.1%} {words:>18} {ours['more']:>+8.2%} "
            f"{ours['ratio']:>15.2f}  {'the same' if ours['same'] else 'another'}",
            flush=True,
        )
    draw(found, Path(given.out, "smith2017.png"))
    said = judge(to)
    for claim, holds in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}")
    held = sum(said.values())
    verdict = "reproduced" if held == 3 else "partly" if said[next(iter(said))] else "not"
    print(f"verdict: {verdict} ({held} of 3)")
    return {"verdict": verdict, "checks": said, "compared": to, "curves": found}


if __name__ == "__main__":
    main()
