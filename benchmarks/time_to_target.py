"""Predicted against actual time to a target, for ten (model, data, size): how good the planner's formula is.

For each model and data a plan is made, one run at batches of 64 is trained to a validation loss, and from these two
`ladle.planner.forecast` tells steps and seconds at two other sizes, before they are run. The rate follows the usual
rule. Medians of three seeds; an evaluation twenty times an epoch tells when the target was reached.

    python benchmarks/time_to_target.py [--quick]          (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/time_to_target.json`.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from timing import arguments, headline, save, table

import ladle
from ladle.api.assembly import Assembly, assemble, resolve_micro
from ladle.planner.forecast import forecast
from ladle.policy import Constant

REFERENCE = 64


def part(name: str, rows: int, **how: Any) -> Any:
    """The first `rows` rows of a data set, a fifth of them to validate."""
    data = ladle.data.load(name, valid=0, **how)
    return ladle.data.arrays(data.train["x"][:rows], data.train["y"][:rows], name=name)


FASHION, MNIST, IMAGE = "fashion-mnist", "mnist", (28, 28, 1)


def cases() -> dict[str, tuple[Any, float, tuple[int, ...]]]:
    """Task, validation loss to reach, sizes to tell."""
    losses, mlp, convnet = ladle.losses, ladle.models.mlp, ladle.models.convnet
    return {
        "digits, mlp 64-64-10, adam": (
            ladle.Task(mlp(64, 64, 10), losses.cross_entropy, ladle.data.load("digits"), lr=1e-3), 0.25, (16, 256),
        ),
        "fashion, mlp 784-128-10, sgd": (
            ladle.Task(mlp(784, 128, 10), losses.cross_entropy, part(FASHION, 30_000), optimizer="sgd", lr=0.05),
            0.42, (16, 512),
        ),
        "fashion, mlp 784-128-10, adam": (
            ladle.Task(mlp(784, 128, 10), losses.cross_entropy, part(FASHION, 30_000), lr=5e-4), 0.40, (16, 512),
        ),
        "mnist, logistic, sgd": (
            ladle.Task(mlp(784, 10), losses.cross_entropy, part(MNIST, 20_000), optimizer="sgd", lr=0.05),
            0.36, (8, 256),
        ),
        "mnist, convnet width 4, adam": (
            ladle.Task(convnet(IMAGE, 10, width=4), losses.cross_entropy, part(MNIST, 6_000), lr=1e-3), 0.25, (16, 256),
        ),
    }  # fmt: skip


def to_target(assembly: Assembly, size: int, target: float, seed: int) -> tuple[float, float]:
    """`(steps, seconds)`; infinite where 60 epochs do not reach the target."""
    every = max(assembly.rows // 20, size)
    run = ladle.fit(
        assembly,
        policy=Constant(size, resolve_micro(size, None)),
        until=f"valid_loss <= {target}, 60 epochs",
        lr=float(assembly.task.lr) * assembly.lr_ratio(size),
        seed=seed,
        evaluate_every=every,
        window=every,
    )
    reached = run.why.startswith("target")
    return (run.final["updates"], run.final["seconds"]) if reached else (math.inf, math.inf)


def main(quick: bool) -> None:
    seeds, rows, found = range(1 if quick else 3), [], {}
    for name, (task, target, sizes) in cases().items():
        assembly = assemble(task)
        plan = ladle.plan(assembly)
        runs = {size: [to_target(assembly, size, target, seed) for seed in seeds] for size in (REFERENCE, *sizes)}
        medians = {size: [statistics.median(column) for column in zip(*of, strict=True)] for size, of in runs.items()}
        for size in sizes:
            told = forecast(plan, size, reference_size=REFERENCE, reference_steps=medians[REFERENCE][0])
            steps, seconds = medians[size]
            found[f"{name}, {size}"] = {
                "steps": steps,
                "steps_predicted": told.steps,
                "seconds": seconds,
                "seconds_predicted": told.seconds,
                "interval": (told.low, told.high),
                "noise_scale": plan.noise.value,
                "error": abs(math.log(told.seconds / seconds)),
                "samples": runs,
            }
            rows.append(
                [f"{name}", f"{size}", f"{told.steps:,.0f}", f"{steps:,.0f}", f"{told.seconds:.3g}", f"{seconds:.3g}",
                 f"{told.seconds / seconds:.2f}"]
            )  # fmt: skip
            print(rows[-1], flush=True)
    print(headline())
    heads = ["model and data", "size", "steps told", "steps", "seconds told", "seconds", "ratio"]
    print(table(heads, rows))
    errors = [of["error"] for of in found.values()]
    middle, worst = math.exp(statistics.median(errors)), math.exp(max(errors))
    print(f"median error of time: a factor of {middle:.2f}; worst {worst:.2f}")
    print(save("time_to_target", quick=quick, n=len(seeds), cases=found, median_factor=middle))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
