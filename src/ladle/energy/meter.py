"""`best_meter`: counters where the machine has them, else a labelled model where it was asked for, else the clock."""

from __future__ import annotations

from ladle.core.protocols import Meter
from ladle.energy.clock import ClockMeter
from ladle.energy.codecarbon import ModelMeter, grid_of
from ladle.energy.counters import CounterMeter
from ladle.energy.zeus import cpu_counters, gpu_counters


def best_meter(country: str | None = None, *, accelerator: bool = False) -> Meter:
    """The best meter on this machine for work that runs on the processor, or on an `accelerator`.

    1. Counters, found by zeus: "measured". Work on an accelerator needs the accelerator's; the processor's are added
       where they may be read, and the method says which were. For work on the processor GPUs are left out.
    2. codecarbon's model, "modelled", where `country` (ISO code of three letters) asks for carbon.
    3. Seconds and CPU-seconds alone, "energy: not measured", and why.

    Raises `ArgumentError` for a country without data, or without codecarbon installed.

    >>> used = (meter := best_meter()).start() or meter.stop()
    >>> (used.joules is None) == (used.source is None)
    True
    """
    grid = grid_of(country) if country is not None else None
    gpus, no_gpus = gpu_counters() if accelerator else ([], "")
    cpus, no_cpus = cpu_counters()
    if gpus or (cpus and not accelerator):
        names = ", ".join(counter.name for counter in (*gpus, *cpus))
        without = f"; processor not counted: {no_cpus}" if not cpus else ""
        return CounterMeter((*gpus, *cpus), f"counters of {names}{without}", grid)
    if country is not None:
        return ModelMeter(country)
    return ClockMeter(no_gpus if accelerator else no_cpus)
