"""Seconds of an update: as many updates at a time as a clock needs, after the first ones, which make what they need."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from ladle.core.spec import BatchSpec

PROBE_SECONDS = 0.01
MOST_UPDATES = 500
"""Updates of one timing."""


def seconds_of(
    update: Callable[[int], None], repeats: int, device: torch.device, pace: float | None = None
) -> np.ndarray:
    """`f64[repeats]` seconds of an update, where `update(n)` makes n of them. `pace`: seconds that it takes, roughly.

    >>> len(seconds_of(lambda updates: None, 2, torch.device("cpu"), pace=1.0))
    2
    """
    if pace is None:
        timed(update, 1, device)
        pace = timed(update, 1, device)
    updates = int(np.clip(PROBE_SECONDS / max(pace, 1e-9), 1, MOST_UPDATES))
    return np.array([timed(update, updates, device) / updates for _ in range(repeats)])


def timed(update: Callable[[int], None], updates: int, device: torch.device) -> float:
    """Seconds that so many updates take, the device's work included."""
    began = time.perf_counter()
    update(updates)
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
    return time.perf_counter() - began


def runnable(spec: BatchSpec, coupled: bool) -> BatchSpec:
    """`spec`, or two rows in the place of one where rows depend on each other: batch norm refuses a single one.

    >>> runnable(BatchSpec(1, 1), coupled=True).size, runnable(BatchSpec(1, 1), coupled=False).size
    (2, 1)
    """
    small = coupled and min(spec.size, spec.micro_size) < 2
    return BatchSpec(max(spec.size, 2), max(spec.micro_size, 2), updates=spec.updates) if small else spec
