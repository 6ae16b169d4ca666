"""Keskar et al. 2017: large batches end in sharp minima, and sharp minima do not generalise. Fashion-MNIST, 6,000 rows.

    LADLE_DATA=FOLDER python recipes/papers/keskar2017.py [--out FOLDER] [--seeds 5] [--quick]

Adam on an MLP, batches of 32 and of a tenth of the rows, each until the training loss is 0.02. Sharpness by the largest
eigenvalue of the Hessian and by the paper's Metric 2.1. The large batch a second time at four times the rate, about as
by the square-root rule. What it gave, and how its verdict is found: keskar2017.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import ladle
from ladle.api.assembly import Assembly, assemble

ROWS, SMALL, LARGE, RATE = 6000, 32, 600, 1e-3
UNTIL = "300 epochs, train_loss <= 0.02"
MODEL = ladle.models.mlp(784, 128, 64, 10)
BOXES = (5e-4, 1e-3)
# name: (size of a batch, rate, colour)
KINDS = {
    "small": (SMALL, RATE, "tab:blue"),
    "large": (LARGE, RATE, "tab:red"),
    "large, 4 x rate": (LARGE, 4 * RATE, "tab:orange"),
}


@jax.jit
def loss(params: Any, rows: Any) -> jax.Array:
    outputs, _ = MODEL.apply(params, (), rows["x"], keys=None, weight=jnp.ones(len(rows["y"])), train=False)
    return ladle.losses.cross_entropy(outputs, rows["y"]).mean()


def box_sharpness(params: Any, rows: Any, epsilon: float, steps: int = 20) -> float:
    """Metric 2.1 in the whole space: 100 (max f - f) / (1 + f) over the box |z_i| <= epsilon (|x_i| + 1) around x.

    The maximum is that of `steps` signed ascents, each brought back into the box: first by a fifth of it, then by less.
    """
    half = jax.tree.map(lambda x: epsilon * (jnp.abs(x) + 1), params)
    begin = highest = float(loss(params, rows))
    ascent, here = jax.jit(jax.grad(loss)), params
    for step in range(steps):
        share = 0.4 * (1 - step / steps)
        up = ascent(here, rows)
        here = jax.tree.map(
            lambda h, x, w, u: jnp.clip(h + share * w * jnp.sign(u), x - w, x + w),  # noqa: B023
            here, params, half, up,
        )  # fmt: skip
        highest = max(highest, float(loss(here, rows)))
    return 100 * (highest - begin) / (1 + begin)


def trained(assembly: Assembly, size: int, rate: float, seed: int, until: str) -> dict[str, Any]:
    """One run, and what is measured where it ends."""
    run = ladle.fit(assembly, size=size, lr=rate, until=until, seed=seed, evaluate_every=10**9)
    rows, data = assembly.measured_feed(seed).data, assembly.task.data
    return {
        "state": run.state,
        "epochs": run.final["epoch"],
        "valid": run.final["valid_accuracy"],
        **assembly.engine.evaluate(run.state, rows, prefix="train_"),
        **assembly.engine.evaluate(run.state, data.test, prefix="test_"),
        "eigenvalue": assembly.engine.sharpness(run.state, rows),
        **{f"box {epsilon:g}": box_sharpness(run.params, rows, epsilon) for epsilon in BOXES},
    }


def line(assembly: Assembly, one: Any, other: Any, places: np.ndarray) -> list[dict[str, float]]:
    """Losses and accuracies at `(1 - a) one + a other`: small at 0, large at 1."""
    rows, test, found = assembly.measured_feed(0).data, assembly.task.data.test, []
    for a in places:
        params = jax.tree.map(lambda p, q: (1 - a) * p + a * q, one.params, other.params)  # noqa: B023
        state = one._replace(params=jax.tree.map(lambda p: p.astype(jnp.float32), params))
        found.append(assembly.engine.evaluate(state, rows, "train_") | assembly.engine.evaluate(state, test, "test_"))
    return found


def differs(more: Sequence[dict[str, Any]], less: Sequence[dict[str, Any]], name: str) -> tuple[float, float]:
    """Mean difference of the pairs with one seed, and its standard error."""
    apart = np.array([m[name] - s[name] for m, s in zip(more, less, strict=True)])
    return float(apart.mean()), float(apart.std(ddof=1) / np.sqrt(len(apart))) if len(apart) > 1 else float("inf")


def judge(found: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[bool, str]]:
    small, large, high = found.values()

    def sharper(name: str) -> tuple[bool, str]:
        of = [[one[name] for one in kind] for kind in (large, small)]
        always = all(big > little for big, little in zip(*of, strict=True))
        return always, f"{np.mean(of[0]):.3g} against {np.mean(of[1]):.3g}"

    gap, doubt = differs(small, large, "test_accuracy")
    left, left_doubt = differs(small, high, "test_accuracy")
    flatter = all(of["eigenvalue"] < other["eigenvalue"] for of, other in zip(high, large, strict=True))
    return {
        "large is sharper by the eigenvalue, at every seed": sharper("eigenvalue"),
        "large is sharper by Metric 2.1, box 0.0005, at every seed": sharper("box 0.0005"),
        "large is sharper by Metric 2.1, box 0.001, at every seed": sharper("box 0.001"),
        "large generalises worse": (gap > 2 * doubt, f"{100 * gap:.2f} +- {100 * doubt:.2f} points of test accuracy"),
        "(not the paper's) large at the higher rate is flatter, at every seed": (
            flatter,
            f"behind small by {100 * left:.2f} +- {100 * left_doubt:.2f} points",
        ),
    }


def draw(found: dict[str, list[dict[str, Any]]], places: np.ndarray, way: list[dict[str, float]], file: Path) -> None:
    figure, (bars, left) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    names = ["eigenvalue", *(f"box {epsilon:g}" for epsilon in BOXES)]
    for number, (kind, of) in enumerate(found.items()):
        values = np.array([[one[name] for name in names] for one in of])
        at = np.arange(len(names)) + 0.25 * (number - 1)
        bars.bar(at, values.mean(0), 0.22, color=KINDS[kind][2], alpha=0.6, label=kind)
        bars.plot(at, values.T, ".", color="black", markersize=4)
    bars.set(xticks=range(len(names)), xticklabels=["eigenvalue", *(f"Metric 2.1, {e:g}" for e in BOXES)])
    bars.set(yscale="log", ylabel="sharpness")
    bars.legend(fontsize=8)
    right = left.twinx()
    for part, style in (("train", "-"), ("test", "--")):
        left.plot(places, [one[f"{part}_loss"] for one in way], style, color="tab:purple", label=part)
        right.plot(places, [100 * one[f"{part}_accuracy"] for one in way], style, color="tab:green")
    left.set(yscale="log", xlabel="small batch at 0, large batch at 1", ylim=(0.01, 10))
    left.set_ylabel("cross-entropy", color="tab:purple")
    right.set_ylabel("accuracy, %", color="tab:green")
    left.legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main(args: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("LADLE_DATA", ""), help="folder with fashion_mnist/")
    parser.add_argument("--out", default=".", help="folder for keskar2017.png")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="3 epochs, one seed: does it run?")
    given = parser.parse_args(args)
    if not given.data or not Path(given.data, "fashion_mnist").is_dir():
        remedy = "try --data FOLDER, or LADLE_DATA=FOLDER"
        parser.exit(2, f"keskar2017.py: data must hold fashion_mnist/; got {given.data!r}; {remedy}\n")
    os.environ["LADLE_DATA"] = given.data
    data = ladle.data.load("fashion-mnist")
    data = replace(data, train={name: leaf[:ROWS] for name, leaf in data.train.items()})
    assembly = assemble(ladle.Task(MODEL, ladle.losses.cross_entropy, data, optimizer="adam"))
    until, seeds = ("3 epochs", range(1)) if given.quick else (UNTIL, range(given.seeds))
    found = {
        kind: [trained(assembly, size, rate, seed, until) for seed in seeds] for kind, (size, rate, _) in KINDS.items()
    }
    columns = ["epochs", "train_loss", "valid", "test_loss", "test_accuracy", "eigenvalue", "box 0.0005", "box 0.001"]
    print(f"{'':<16}" + "".join(f"{name:>14}" for name in columns))
    for kind, of in found.items():
        print(f"{kind:<16}" + "".join(f"{np.mean([one[name] for one in of]):>14.4g}" for name in columns))
    places = np.linspace(-1, 2, 7 if given.quick else 31)
    way = line(assembly, found["small"][0]["state"], found["large"][0]["state"], places)
    draw(found, places, way, Path(given.out, "keskar2017.png"))
    said = judge(found)
    for claim, (holds, numbers) in said.items():
        print(f"{'holds' if holds else 'does not':<9} {claim}: {numbers}")
    *sharp, worse = [holds for claim, (holds, _) in said.items() if not claim.startswith("(")]
    verdict = "reproduced" if all(sharp) and worse else "partly" if all(sharp) or worse else "not"
    print(f"verdict: {verdict}")
    return {"verdict": verdict, "checks": said, "found": found}


if __name__ == "__main__":
    main()
