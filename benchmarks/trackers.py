"""What a tracker costs a run of 1,000 record lines: each of the four, and none, in turn.

Claim: at most 2 % of the training, whichever tracker.

    python benchmarks/trackers.py [--quick] [--only NAME ...]

Hardware and every sample: `results/trackers.json`. n = 5 runs of each, in one process, in turn: a perceptron
64-256-256-10, batches of 64, a line of some 20 numbers after every 40 updates, in memory. "training" is the time from
the first line to the last, all sinks included, within each turn as a ratio to that of the run without a tracker. "in
the sink" is the time that the loop spent handing its lines to the tracker, read before and after it; "CPU" is the
processor time of the training process from the first line to the last, likewise as a ratio. On a machine that others
use as well these say more than the ratio of seconds. "its CPU" is the processor time of the tracker's own process.
"before and after" is the rest of the call: assembly, the tracker's start, and the wait until it has everything and has
drawn the curves.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from timing import arguments, headline, ratio, save, show, spread, table

import ladle

SIZE, UPDATES, LINES, ROWS = 64, 40, 1000, 6400


@dataclass
class Watch:
    """A sink that reads the clocks at every line."""

    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def append(self, line: Mapping[str, Any]) -> None:
        self.times.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def message(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


def made(name: str, folder: str) -> list[Any]:
    kinds = {
        "none": lambda: [],
        "tensorboard": lambda: [ladle.track.TensorBoard(folder)],
        "mlflow": lambda: [ladle.track.MLflow(f"sqlite:///{folder}/mlflow.db")],
        "wandb": lambda: [ladle.track.WandB(folder=folder, mode="offline")],
        "trackio": lambda: [ladle.track.Trackio(folder=folder)],
    }
    return kinds[name]()


def fit(task: ladle.Task, name: str, lines: int) -> dict[str, float]:
    """One run: seconds of training, in the tracker's sink, and of the rest of the call."""
    before, after = Watch(), Watch()
    with TemporaryDirectory() as folder:
        started, children = time.perf_counter(), _children()
        until, window = f"{SIZE * UPDATES * lines} examples", SIZE * UPDATES
        sinks = [before, *made(name, folder), after]
        run = ladle.fit(task, SIZE, until=until, window=window, evaluate_every=50 * window, sinks=sinks)
        whole = time.perf_counter() - started
    assert len(after.times) == lines + 1 and run.status == "finished"
    training = after.times[-1] - after.times[0]
    inside = sum(b - a for a, b in zip(before.times[1:], after.times[1:], strict=True))
    return {
        "training": training,
        "cpu": after.cpu[-1] - after.cpu[0],
        "inside_ms": 1e3 * inside,
        "share": 100 * inside / training,
        "rest": whole - training,
        "child": _children() - children,
    }


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    options = arguments(__doc__)
    print(headline())
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 64)).astype(np.float32)
    data = ladle.data.arrays(x, random.integers(0, 10, ROWS).astype(np.int32))
    task = ladle.Task(ladle.models.mlp(64, 256, 256, 10), ladle.losses.cross_entropy, data, optimizer="adam", lr=1e-4)
    names = ["none", *(options.only or ("tensorboard", "mlflow", "wandb", "trackio"))]
    fit(task, "none", 10)  # compiles
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(2 if options.quick else 5):
        for name in names:
            found[name].append(fit(task, name, LINES))
            print(name, {key: round(value, 3) for key, value in found[name][-1].items()}, flush=True)
    column = {name: {key: [one[key] for one in runs] for key in runs[0]} for name, runs in found.items()}
    result = {
        name: {
            "training_ratio": ratio(values["training"], column["none"]["training"]),
            "cpu_ratio": ratio(values["cpu"], column["none"]["cpu"]),
            **{key: spread(samples) for key, samples in values.items()},
        }
        for name, values in column.items()
    }
    header = ["tracker", "training, s", "to none", "CPU to none", "in the sink, %", "before and after, s", "its CPU, s"]
    rows = [
        [name, *(show(one[key]) for key in ("training", "training_ratio", "cpu_ratio", "share", "rest", "child"))]
        for name, one in result.items()
    ]
    print(table(header, rows))
    print(save("trackers", quick=options.quick, results=result, samples=found))


if __name__ == "__main__":
    main()
