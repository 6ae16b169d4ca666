"""How many devices: the forecast against published tables, and against forced devices of this machine.

Claims: a line fitted to the two smallest entries of a published table tells the others within 10 %; two forced devices
of this machine reach 0.9 of the speed-up that the plan forecasts, where each has a core of its own.

    python benchmarks/scale.py [--quick]

Published figures are data below, each with its source. The unit of a table is what sums over the network or the bus: a
GPU within a machine, a machine of eight GPUs beyond it. Every sample: `results/scale.json`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from timing import arguments, headline, save, show, spread, table

from ladle.core.scaling.devices import Link, fit_growing

WITHIN = 0.1
"""Error of a forecast that the claims allow."""

TENSORFLOW = (
    "TensorFlow benchmarks, May 2017, synthetic data (github.com/tensorflow/docs, commit 62da04c0, "
    "site/en/r1/guide/performance/benchmarks.md)"
)
DLPERF = "DLPerf benchmark test report v1.0, August 2020 (github.com/Oneflow-Inc/DLPerf, commit 0770fdf8, reports/)"
MLPERF = (
    "MLPerf training v0.7, NVIDIA, BERT on DGX A100, result_0.txt of 1, 2 and 32 machines "
    "(github.com/mlcommons/training_results_v0.7, commit c6640611)"
)
GOYAL = "Goyal et al. 2017, arXiv 1706.02677v2, sections 4.1, 4.3 and 5.5"


@dataclass(frozen=True)
class Published:
    """A table: `entries` of (units, rows of a unit in a batch, seconds of an update); the first `fitted` are fitted."""

    name: str
    source: str
    entries: tuple[tuple[int, float, float], ...]
    fitted: int = 2


def by_speed(name: str, source: str, rows: float, speeds: dict[int, float]) -> Published:
    """A table of examples per second by number of units, each with `rows` examples of every batch."""
    return Published(name, source, tuple((n, rows, n * rows / speed) for n, speed in speeds.items()))


def tensorflow() -> list[Published]:
    """One machine: units are GPUs. Several: machines of eight, and their 1-GPU entry is left out."""
    gpus = (1, 2, 4, 8)
    p100 = {
        "InceptionV3": (64, (142, 284, 569, 1131)), "ResNet-50": (64, (219, 422, 852, 1734)),
        "ResNet-152": (64, (91.8, 181, 356, 716)), "AlexNet": (512, (2987, 5658, 10509, 17822)),
        "VGG16": (64, (154, 295, 584, 1081)),
    }  # fmt: skip
    k80 = {"InceptionV3": (64, (229, 459, 902, 1783)), "ResNet-50": (64, (378, 751, 1388, 2744)),
           "ResNet-152": (32, (146, 291, 565, 981))}  # fmt: skip
    one = [by_speed(f"{name}, 8 P100 of a DGX-1", TENSORFLOW, rows, dict(zip(gpus, found, strict=True)))
           for name, (rows, found) in p100.items()]  # fmt: skip
    several = [by_speed(f"{name}, 8 machines of 8 K80", TENSORFLOW, 8 * rows, dict(zip(gpus, found, strict=True)))
               for name, (rows, found) in k80.items()]  # fmt: skip
    return [*one, *several]


def dlperf() -> list[Published]:
    """Units are machines of eight V100, joined by 100 Gbit/s InfiniBand."""
    machines = (1, 2, 4)
    resnet = {
        "OneFlow": (128, (2969.45, 5906.55, 11711.18)), "TensorFlow 1.15": (128, (2721.98, 5099.42, 9514.64)),
        "MXNet": (96, (2947.72, 5684.68, 10419.21)), "PyTorch": (128, (2719.07, 5307.21, 10632.33)),
        "PaddlePaddle": (128, (2625.38, 4895.27, 9348.17)), "TensorFlow 2.3": (128, (2458.74, 4849.68, 9418.44)),
    }  # fmt: skip
    bert = {
        "OneFlow": (32, (1042.98, 1890.26, 3715.08)), "TensorFlow 1.15": (32, (806.56, 1090.20, 1923.68)),
        "MXNet": (32, (928.03, 1136.44, 1895.50)), "PaddlePaddle": (32, (615.12, 1116.02, 2073.60)),
    }  # fmt: skip
    return [
        by_speed(f"{model}, {name}, machines of 8 V100", DLPERF, 8 * rows, dict(zip(machines, found, strict=True)))
        for model, rows_of in (("ResNet-50", resnet), ("BERT base", bert))
        for name, (rows, found) in rows_of.items()
    ]


def mlperf() -> Published:
    """Seconds of an update between two stamps of each log, and the rows of a machine; batches differ, as they chose.

    1 machine: updates 5771 to 5833. 2: 3671 to 3732. 32: 539 to 585.
    """
    stamps = {
        1: (8 * 32, 1593139842.621115, 1593139858.0445082, 62),
        2: (8 * 27, 1593141637.9135787, 1593141652.294145, 61),
        32: (8 * 20, 1592976359.7293737, 1592976369.4931865, 46),
    }
    rows = tuple((n, each, (end - start) / updates) for n, (each, start, end, updates) in stamps.items())
    return Published("BERT, machines of 8 A100", MLPERF, rows)


def judged(found: Published) -> list[dict[str, Any]]:
    """The entries that were not fitted, as forecast, with the error of the seconds (and so of the speed)."""
    row, link = fit_growing(found.entries[: found.fitted])
    first = found.entries[0]
    made = []
    for units, rows, seconds in found.entries[found.fitted :]:
        guess = rows * row + link.seconds(1.0, units)
        ideal = first[2] / first[1] * rows
        made.append(
            {
                "table": found.name,
                "source": found.source,
                "units": units,
                "published_seconds": seconds,
                "forecast_seconds": guess,
                "error": guess / seconds - 1,
                "published_efficiency": ideal / seconds,
                "forecast_efficiency": ideal / guess,
            }
        )
    return made


def goyal() -> list[dict[str, Any]]:
    """What the paper states in words, told from the hardware it states. Figures 7 and 8 have no numbers beside them.

    An epoch of 1.28 million images takes "over 16 minutes" at batches of 256 on one machine of eight P100; a gradient
    has 100 MB, a machine 50 Gbit/s. Stated of 44 machines: an update takes 12 % longer, efficiency is about 90 %, an
    epoch takes "about 30 seconds". No delay is stated, and none is counted; nor is what they hide behind the gradient.
    """
    images, alone, link = 1.28e6, 16 * 60 / (1.28e6 / 256), Link.from_text("50Gbit/s")
    update = alone + link.seconds(100e6, 44)
    return [
        {"what": "update, 44 machines over 1", "stated": 1.12, "forecast": update / alone},
        {"what": "efficiency, 44 machines", "stated": 0.9, "forecast": alone / update},
        {"what": "seconds of an epoch, 44 machines", "stated": 30.0, "forecast": update * images / (44 * 256)},
    ]


CHILD = """
import json, sys
import numpy as np
import ladle
rng = np.random.default_rng(0)
data = ladle.data.arrays(rng.standard_normal((8192, 512), dtype=np.float32), rng.integers(0, 10, 8192))
task = ladle.Task(ladle.models.mlp(512, 1024, 1024, 10), ladle.losses.cross_entropy, data, optimizer="sgd", lr=0.01)
plan = ladle.plan(task, devices=[1, 2], size=2048, budget=3.0, lr="rule")
names = ("allreduce_latency_seconds", "allreduce_byte_seconds", "gradient_bytes")
numbers = {name: plan.number(name).value for name in names}
entries = [{**e, "forecast": e["compute_seconds"] + e["allreduce_seconds"]} for e in plan.curves["devices"]]
print(json.dumps({"entries": entries, **numbers}))
"""


def forced() -> dict[str, Any]:
    """A plan of a process with two devices, each of one thread, and what two of them were measured to take."""
    flags = "--xla_cpu_multi_thread_eigen=false"
    chosen = {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "LADLE_CACHE": "off"}
    done = subprocess.run([sys.executable, "-c", CHILD], env={**os.environ, **chosen}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def here(repeats: int) -> dict[str, Any]:
    """The machine's own part, `repeats` processes."""
    samples = [forced() for _ in range(repeats)]
    two = [next(entry for entry in sample["entries"] if entry["devices"] == 2) for sample in samples]
    one = [next(entry for entry in sample["entries"] if entry["devices"] == 1) for sample in samples]
    return {
        "samples": samples,
        "one_seconds": spread([entry["seconds"] for entry in one]),
        "two_seconds": spread([entry["seconds"] for entry in two]),
        "forecast_over_measured": spread([entry["forecast"] / entry["seconds"] for entry in two]),
        # The plan's line was measured before: what one device took beside two is another minute of the machine.
        "speedup": spread([a["seconds"] / b["seconds"] for a, b in zip(one, two, strict=True)]),
        "forecast_speedup": spread([a["forecast"] / b["forecast"] for a, b in zip(one, two, strict=True)]),
    }


def published_table(rows: Sequence[dict[str, Any]]) -> str:
    header = ["table", "units", "published s", "forecast s", "error", "efficiency", "forecast", f"within {WITHIN:.0%}"]
    return table(
        header,
        [
            [
                row["table"], row["units"], f"{row['published_seconds']:.4g}", f"{row['forecast_seconds']:.4g}",
                f"{row['error']:+.1%}", f"{row['published_efficiency']:.0%}", f"{row['forecast_efficiency']:.0%}",
                "yes" if abs(row["error"]) <= WITHIN else "NO",
            ]
            for row in rows
        ],
    )  # fmt: skip


def main(quick: bool) -> None:
    rows = [row for found in (*tensorflow(), *dlperf(), mlperf()) for row in judged(found)]
    errors = [abs(row["error"]) for row in rows]
    print(headline())
    print(published_table(rows), end="\n\n")
    inside = f"{sum(error <= WITHIN for error in errors)} of {len(rows)} within {WITHIN:.0%}"
    print(f"error: median {statistics.median(errors):.1%}, worst {max(errors):.1%}, {inside}", end="\n\n")
    stated = goyal()
    lines = [
        [row["what"], f"{row['stated']:g}", f"{row['forecast']:.3g}", f"{row['forecast'] / row['stated'] - 1:+.1%}"]
        for row in stated
    ]
    print(table(["Goyal et al. 2017", "stated", "forecast", "error"], lines), end="\n\n")
    machine = here(1 if quick else 3)
    reached, told = show(machine["speedup"]), show(machine["forecast_speedup"])
    print(f"two forced devices: speed-up {reached}, forecast {told}; one: {show(machine['one_seconds'], unit=' s')}")
    print(save("scale", quick=quick, published=rows, goyal=stated, goyal_source=GOYAL, forced=machine))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
