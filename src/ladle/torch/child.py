"""The confirming child: make the user's model again, run its updates, and print each one's peak memory in bytes.

    python -m ladle.torch.child JOB

`JOB` is a file as `confirm.py` wrote it. A child can be killed by the system for want of memory without harm to the
parent, and its peak is its own.
"""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ladle.core.spec import BatchSpec
from ladle.torch.confirm import Job
from ladle.torch.tree import cut, mapped, rows_of
from ladle.torch.update import Update

SETTLING = 5
"""Readings of the memory in use, a hundredth of a second apart, of which the lowest counts."""

UPDATES = 3
"""The first makes what the optimiser keeps. With a gauge the first and the third are measured, the second is not."""

WARM = 8
"""Rows of the update that comes first, for the runtime: its threads, its code, its pools."""


def peak_bytes(job: Job, spec: BatchSpec) -> int:
    """Peak memory of updates of `spec`: parameters, averages and rows included, Python and libraries not."""
    device, small = torch.device(job.device), min(WARM, spec.size)
    _run(job, BatchSpec(small, small), device, [])
    before = _settled(device)
    _run(job, spec, device, peaks := [])
    return max(peaks[0] - before, 0)


def _run(job: Job, spec: BatchSpec, device: torch.device, peaks: list[int]) -> None:
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
    peaks.append(_peak(device))


def repeated(batch: Any, rows: int, device: torch.device) -> Any:
    """A batch of so many rows: those of `batch`, over and over."""
    made = cut(batch, 0, rows_of(batch), rows) if rows > rows_of(batch) else cut(batch, 0, rows, rows)
    return mapped(lambda leaf: leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf, made)


def _settled(device: torch.device) -> int:
    """What is in use once the runtime has let go of what was used before."""
    gc.collect()
    readings = []
    for _ in range(SETTLING):
        time.sleep(0.01)
        readings.append(_reset_peak(device))
    return min(readings)


def _reset_peak(device: torch.device) -> int:
    """Give freed memory back, forget the peak so far, and return what is in use now."""
    if device.type != "cpu":
        module = torch.get_device_module(device)
        module.reset_peak_memory_stats(device)
        return int(module.memory_allocated(device))
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        pass  # Then the peak includes earlier ones, and the confirmation errs on the safe side.
    return _status("VmRSS") - _status("RssFile")


def _peak(device: torch.device) -> int:
    """Without the pages of libraries: the first run reads megabytes of code."""
    if device.type != "cpu":
        return int(torch.get_device_module(device).max_memory_allocated(device))
    return _status("VmHWM") - _status("RssFile")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    given: Job = pickle.loads(Path(sys.argv[1]).read_bytes())
    torch.set_num_threads(given.threads)
    for wanted in given.specs:
        print(peak_bytes(given, wanted), flush=True)
