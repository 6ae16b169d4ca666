"""What measuring the gradient noise scale costs: seconds of training with and without it, Fashion-MNIST.

Claims: at most 5 % where updates are accumulated from micro-batches or shared by replicas, at most 15 % where an update
is one micro-batch that is cut in four to be measured, for an MLP 784-256-10 and a small convnet. One update in 16 is
measured (`ladle.moments.Gauge`).

    python benchmarks/noise_overhead.py [--quick]          (LADLE_DATA names the folder of data sets)

Hardware and every sample: `results/noise_overhead.json`. Both programs train the same batches through ladle's own
loop, in turn, in one process; compilation is left out. "Without" is the same program for a loss that is said to be no
sum over examples, which leaves the moments out and nothing else. Replicas are two devices that JAX makes of the host.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import replace
from functools import partial
from typing import Any

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"

import jax
from timing import arguments, headline, interleave, ratio, save, show, table

import ladle
from ladle.api.assembly import Assembly, assemble
from ladle.core.carry import Carry
from ladle.core.duration import Until
from ladle.core.moments import Gauge
from ladle.loop.train import train
from ladle.policy.constant import Constant

MODELS = {
    "mlp": (partial(ladle.models.mlp, 784, 256, 10), 61_440),
    "convnet": (partial(ladle.models.convnet, (28, 28, 1), 10, width=8), 20_480),
}
"""Models, and how many examples one timed part trains on."""

USUAL = Gauge()
CUTS = {
    "4 micro-batches of 128": (512, 128, 1, USUAL),
    "16 micro-batches of 32": (512, 32, 1, USUAL),
    "two replicas of 128": (256, 256, 2, USUAL),
    "one micro-batch of 32": (32, 32, 1, USUAL),
    "one micro-batch of 128": (128, 128, 1, USUAL),
    "one micro-batch of 512": (512, 512, 1, USUAL),
    "4 of 128, every update": (512, 128, 1, Gauge(every=1)),
}
"""Batch size, micro-batch size, how many devices share it, and how it is measured. Nothing is claimed of the last."""


def pair(model: Any, devices: int, gauge: Gauge) -> dict[str, Assembly]:
    data = ladle.data.load("fashion-mnist", valid=0)
    task = ladle.Task(model(), "cross_entropy", data, optimizer="adam", lr=1e-3)
    shared = jax.devices()[:devices]
    measured = assemble(task, gauge=gauge, devices=shared)
    objective = replace(task.objective(), additive=False)
    plain = assemble(task.with_(model=objective, loss=None), devices=shared)
    return {"with": measured, "without": plain}


def seconds(assembly: Assembly, size: int, micro_size: int, examples: int) -> float:
    """Of training on `examples` examples from a fresh state on, compilation left out."""
    policy, feed = Constant(size, micro_size), assembly.feed(0)
    carry = Carry(assembly.engine.step.init(0), feed.start())
    lines = [line for line, _ in train(carry, feed, assembly.engine.step, policy, Until(examples=examples))]
    return lines[-1]["seconds"]


def main(quick: bool) -> None:
    repeats, found, samples = (5 if quick else 15), {}, {}
    for name, (model, examples) in MODELS.items():
        for cut, (size, micro_size, devices, gauge) in CUTS.items():
            both = pair(model, devices, gauge)
            programs = {which: partial(seconds, one, size, micro_size, examples) for which, one in both.items()}
            for program in programs.values():
                program()  # compiles, and touches memory first
            laps = interleave(programs, repeats)
            samples[f"{name}, {cut}"] = laps
            found[f"{name}, {cut}"] = ratio(laps["with"], laps["without"])
    print(headline())
    rows = [[name, show(of), f"{statistics.median(samples[name]['with']):.3g}"] for name, of in found.items()]
    print(table(["model and cut", "with / without", "seconds with"], rows))
    print(save("noise_overhead", quick=quick, n=repeats, ratios=found, samples=samples))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
