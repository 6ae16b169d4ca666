"""784 x 60,000 as six mini-batches of 10,000, in turn, with an update after each: the second job of the seeds.

Claim: it runs through the public API, and the loss is less smooth than full-batch descent but trends downward.

    python benchmarks/split_784x60000.py [--quick]        (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/split_784x60000.json`; the curve: `results/split_784x60000.png`. n = 1 run of 10
epochs (60 updates) of MNIST, MLP 784-256-10, Adam 1e-3. A record line for each mini-batch (`window=10_000`), whose loss
is that of 10,000 examples just before the update by them. ladle cuts every epoch anew, so that the mini-batch of one
column is not the same 10,000 examples in the next row.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from timing import RESULTS, arguments, headline, save, table

import ladle

SIZE, PARTS = 10_000, 6


def train(epochs: int) -> ladle.Run:
    data = ladle.data.load("mnist", valid=0)
    assert data.train["x"].shape == (PARTS * SIZE, 28, 28)
    task = ladle.Task(ladle.models.mlp(784, 256, 10), ladle.losses.cross_entropy, data, "adam", 1e-3)
    return ladle.fit(task, size=SIZE, until=f"{epochs} epochs", window=SIZE)


def test_accuracy(run: ladle.Run) -> float:
    test = run.assembly.task.data.test
    return float((run.outputs(test["x"]).argmax(-1) == test["y"]).mean())


def draw(losses: list[float], epochs: int) -> str:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    means = [sum(losses[PARTS * e : PARTS * (e + 1)]) / PARTS for e in range(epochs)]
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(range(1, len(losses) + 1), losses, ".-", label="mini-batch of 10,000")
    axes.plot([PARTS * (e + 0.5) + 0.5 for e in range(epochs)], means, "k--", label="mean of an epoch's six")
    for e in range(1, epochs):
        axes.axvline(PARTS * e + 0.5, color="0.85", zorder=0)
    axes.set(
        xlabel="update (six an epoch)", ylabel="training loss", yscale="log", title="784 x 60,000 in six mini-batches"
    )
    axes.legend()
    path = RESULTS / "split_784x60000.png"
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
    return str(path)


def trend(losses: list[float]) -> dict[str, Any]:
    """First and last epoch's mean, and at how many updates the loss rose."""
    rises = sum(after > before for before, after in pairwise(losses))
    return {"first_epoch": sum(losses[:PARTS]) / PARTS, "last_epoch": sum(losses[-PARTS:]) / PARTS, "rises": rises}


def main(quick: bool) -> None:
    epochs = 3 if quick else 10
    run = train(epochs)
    lines = [line for line in run.metrics if "train_loss" in line]
    losses = [line["train_loss"] for line in lines]
    assert len(losses) == PARTS * epochs and all(line["size"] == SIZE for line in lines)
    found, right = trend(losses), test_accuracy(run)
    print(headline())
    rows = [[e + 1, *(f"{loss:.4f}" for loss in losses[PARTS * e : PARTS * (e + 1)])] for e in range(epochs)]
    print(table(["epoch", *(f"mini-batch {part + 1}" for part in range(PARTS))], rows), end="\n\n")
    print(f"mean loss of the first epoch {found['first_epoch']:.4f}, of the last {found['last_epoch']:.4f}")
    print(f"the loss rose at {found['rises']} of {len(losses) - 1} updates; {run.final['seconds']:.2f} s of training")
    print(f"test accuracy {right:.4f}")
    print(draw(losses, epochs))
    print(save("split_784x60000", quick=quick, n=1, losses=losses, trend=found, test_accuracy=right, samples=lines))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
