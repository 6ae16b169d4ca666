"""The confirming child: make the user's model again, run its updates, and print each one's peak memory in bytes.

    python -m ladle.torch.child JOB

`JOB` is a file as `confirm.py` wrote it. A child can be killed by the system for want of memory without harm to the
parent, and its peak is its own.
"""

from __future__ import annotations

import gc
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ladle.core import resident
from ladle.core.spec import BatchSpec
from ladle.torch.confirm import Job
from ladle.torch.tree import cut, mapped, rows_of
from ladle.torch.update import Update

UPDATES = 3
"""The first makes what the optimiser keeps. With a gauge the first and the third are measured, the second is not."""

WARM = 8
"""Rows of the update that comes first, for the runtime: its threads, its code, its pools."""


def peak_bytes(job: Job, spec: BatchSpec) -> int:
    """Peak memory of updates of `spec`: parameters, averages and rows included, Python and libraries not."""
    device, small = torch.device(job.device), min(WARM, spec.size)
    _run(job, BatchSpec(small, small), device)
    gc.collect()
    before = resident.settled(lambda: _reset_peak(device))
    return max(_run(job, spec, device) - before, 0)


def _run(job: Job, spec: BatchSpec, device: torch.device) -> int:
    """Updates of a new model, and what was in memory at most since it was made."""
    torch.manual_seed(0)
    model = job.make_model().to(device).train()
    optimizer = job.make_optimizer(model.parameters())
    batch = repeated(job.batch, spec.size, device)
    gauge = None if job.gauge is None else replace(job.gauge, every=2)
    update = Update(
        model, optimizer, micro_size=min(spec.micro_size, spec.size), gauge=gauge, clip=job.clip, warn=False
    )
    gc.collect()
    _reset_peak(device)  # What initial values were drawn in is no part of an update.
    for _ in range(UPDATES):
        update(batch, job.loss)
    return _peak(device)


def repeated(batch: Any, rows: int, device: torch.device) -> Any:
    """A batch of so many rows: those of `batch`, over and over."""
    made = cut(batch, 0, rows_of(batch), rows) if rows > rows_of(batch) else cut(batch, 0, rows, rows)
    return mapped(lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf, made)


def _reset_peak(device: torch.device) -> int:
    """Give freed memory back, forget the peak so far, and return what is in use now."""
    if device.type != "cpu":
        module = torch.get_device_module(device)
        module.reset_peak_memory_stats(device)
        return int(module.memory_allocated(device))
    return resident.reset_peak()


def _peak(device: torch.device) -> int:
    if device.type != "cpu":
        return int(torch.get_device_module(device).max_memory_allocated(device))
    return resident.peak()


if __name__ == "__main__":
    given: Job = pickle.loads(Path(sys.argv[1]).read_bytes())
    torch.set_num_threads(given.threads)
    for wanted in given.specs:
        print(peak_bytes(given, wanted), flush=True)
