"""The seeds' job through ladle's public API: 1000 x 10 random regression, 64 epochs at 64 and at full batch.

    python benchmarks/peers/seed_ladle.py CURVES.png [FITS]

Prints one JSON object: seconds of the first fit of each size (it compiles), and for each of FITS further fits of the
same compiled programs two readings: `seconds` around the whole of `fit` (initial parameters, records, everything but
the compilation) and ladle's own `train_seconds` inside it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

import ladle

EPOCHS = 64


def job() -> ladle.Task:
    rng = np.random.default_rng()
    x, y = rng.standard_normal((1000, 10)), rng.standard_normal(1000)
    data = ladle.data.arrays(x, y, valid=0, kind="regression")
    return ladle.Task(ladle.models.mlp(10, 50, 1), ladle.losses.mse, data, optimizer="sgd", lr=0.01)


def timed(task: Any, size: int | str) -> tuple[ladle.Run, float]:
    started = time.perf_counter()
    run = ladle.fit(task, size=size, until=f"{EPOCHS} epochs")
    return run, time.perf_counter() - started


def losses(run: ladle.Run) -> list[float]:
    return [line["train_loss"] for line in run.metrics if "train_loss" in line]


def draw(runs: dict[str, ladle.Run], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.figure(figsize=(10, 6))
    for (name, run), marker in zip(runs.items(), "os", strict=True):
        label = "full batch" if name == "full" else f"batches of {name}"
        plt.plot(range(1, EPOCHS + 1), losses(run), label=label, marker=marker)
    plt.xlabel("epoch")
    plt.ylabel("training loss")
    plt.legend()
    plt.grid(True)
    plt.tight_layout()
    plt.savefig(path)


def main(path: str, fits: int) -> None:
    task = job()
    first = {name: timed(task, size) for name, size in (("64", 64), ("full", "full"))}
    draw({name: run for name, (run, _) in first.items()}, path)
    again = []
    for _ in range(fits):
        seconds, train_seconds = {}, {}
        for name in first:
            # A task of its own each time, put together anew: the programs are those of the first.
            later, seconds[name] = timed(job(), int(name) if name != "full" else "full")
            train_seconds[name] = later.final["seconds"]
        again.append({"seconds": seconds, "train_seconds": train_seconds})
    first_seconds = {name: seconds for name, (_, seconds) in first.items()}
    curves = {name: losses(run) for name, (run, _) in first.items()}
    print(json.dumps({"first_seconds": first_seconds, "fits": again, "losses": curves}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
