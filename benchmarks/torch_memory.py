"""Memory of PyTorch updates, traced as fake tensors, against the peak measured in a child; and finders under a limit.

Claims: prediction and peak differ by at most 10 % + 5 MB for four networks at four sizes each, AdamW and SGD, with and
without a gauge; the largest size that is predicted to fit trains an epoch, and is known without a crash.

    python benchmarks/torch_memory.py [--quick]

Hardware and every sample: `results/torch_memory.json`. Part one: n = 1 child a network, optimiser and gauge, the sizes
one after the other, one thread. Part two: twenty limits of address space (RLIMIT_AS above what the process has), a
network of 0.2 MB a row, up to 2048 rows; each search and each epoch in a fork of its own (`peers/torch_finders.py`).
Once with an allocator that gives freed blocks back (MALLOC_MMAP_THRESHOLD_=65536) and once as glibc comes: what it
keeps for itself counts as address space. Lightning: `scale_batch_size`, 3 steps a trial. Accelerate:
`find_executable_batch_size` from 2048 rows, 3 updates a trial. ladle is told 90 % of the limit, as everywhere.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from timing import arguments, headline, save, table

PEERS = Path(__file__).parent / "peers"
sys.path.insert(0, str(PEERS))

from torch_nets import NETS, adamw, loss, sgd  # noqa: E402

from ladle.core.moments import Gauge  # noqa: E402
from ladle.core.spec import BatchSpec  # noqa: E402
from ladle.torch.confirm import Job, confirm  # noqa: E402
from ladle.torch.trace import Updating, trace  # noqa: E402

SHARE, MORE = 0.10, 5e6
LIMITS = tuple(range(30, 230, 10))
"""Megabytes above what the process has."""

ALLOCATORS = {"gives back": {"MALLOC_MMAP_THRESHOLD_": "65536"}, "as it comes": {}}


def predicted_and_measured(name: str, make_optimizer: Any, gauge: Gauge | None, sizes: int) -> Iterator[dict[str, Any]]:
    make, rows, of = NETS[name]
    model, batch = make(), (rows(4), torch.zeros(4, dtype=torch.long))
    specs = [BatchSpec(size, size) for size in of[:sizes]]
    asked = Updating(model, loss, make_optimizer(model.parameters()), batch, gauge)
    began = time.perf_counter()
    predicted = [trace(asked, spec).peak for spec in specs]
    seconds = (time.perf_counter() - began) / len(specs)
    measured = confirm(Job(make, loss, make_optimizer, batch, gauge), specs)
    for spec, by_trace, peak in zip(specs, predicted, measured, strict=True):
        yield {
            "net": name,
            "optimizer": make_optimizer.__name__,
            "gauge": gauge is not None,
            "size": spec.size,
            "predicted_bytes": by_trace,
            "measured_bytes": peak,
            "trace_seconds": seconds,
            "within": abs(by_trace - peak) <= SHARE * peak + MORE,
        }


def searches(limits: tuple[int, ...], allocator: str) -> list[dict[str, Any]]:
    environment = {key: value for key, value in os.environ.items() if key != "MALLOC_MMAP_THRESHOLD_"}
    command = [sys.executable, str(PEERS / "torch_finders.py"), *map(str, limits)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**environment, **ALLOCATORS[allocator]}
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [{"allocator": allocator, **line} for line in lines]


def summed(found: list[dict[str, Any]], allocator: str) -> Iterator[list[Any]]:
    """One row of the table for each finder."""
    for finder in dict.fromkeys(line["finder"] for line in found):
        mine = [line for line in found if line["finder"] == finder and line["allocator"] == allocator]
        seconds = [line["seconds"] for line in mine if "seconds" in line]
        sizes = [line["answer"] for line in mine if line.get("answer")]
        yield [
            finder, allocator, len(mine), len(sizes), sum(line["trains"] for line in mine),
            sum(line.get("crashes", 1) for line in mine), f"{statistics.median(seconds):.2f}",
            f"{statistics.median(sizes):.0f}" if sizes else "-",
        ]  # fmt: skip


def main(quick: bool) -> None:
    ways = [(net, kind, gauge) for net in NETS for kind in (adamw, sgd) for gauge in (None, Gauge())]
    found = [row for way in ways[:: 4 if quick else 1] for row in predicted_and_measured(*way, sizes=2 if quick else 4)]
    print(headline())
    shown = [
        [
            row["net"], row["optimizer"], "yes" if row["gauge"] else "no", row["size"],
            f"{row['predicted_bytes'] / 1e6:.1f}", f"{row['measured_bytes'] / 1e6:.1f}",
            f"{row['predicted_bytes'] / row['measured_bytes']:.3f}", "yes" if row["within"] else "NO",
        ]
        for row in found
    ]  # fmt: skip
    header = ["net", "optimiser", "gauge", "size", "predicted MB", "measured MB", "ratio", "within 10 % + 5 MB"]
    print(table(header, shown), end="\n\n", flush=True)
    limits = LIMITS[::10] if quick else LIMITS
    by_finder = [line for allocator in ALLOCATORS for line in searches(limits, allocator)]
    rows = [row for allocator in ALLOCATORS for row in summed(by_finder, allocator)]
    header = ["finder", "allocator", "limits", "answers", "train an epoch", "crashes", "median s", "median size"]
    print(table(header, rows), end="\n\n")
    print(save("torch_memory", quick=quick, n=1, predictions=found, searches=by_finder))


if __name__ == "__main__":
    main(arguments(__doc__).quick)
