"""Zeus: the energy counters of GPUs (NVML, AMD SMI) and processors (RAPL).

Zeus's own monitor answers 0 J where it found no counter, and imports for two seconds. Here its devices are asked
themselves: where `get_gpus` or `get_cpus` raises, there is no counter, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ladle.energy.counters import Counter, first_line


def gpu_counters() -> tuple[list[Counter], str]:
    """One counter a visible GPU; none, and why, where there is none or one of them does not count energy."""
    return _found(_gpus)


def cpu_counters() -> tuple[list[Counter], str]:
    """Processor packages and their memory (RAPL); none, and why, where there are none or they may not be read.

    The files that zeus found are read here. Zeus's own reading spawns a process for each that watches it wrap round,
    and that process would import the user's script again.
    """
    return _found(_cpus)


def _found(look: Callable[[Any], list[Counter]]) -> tuple[list[Counter], str]:
    try:
        from zeus import device  # pyright: ignore[reportMissingImports]
        from zeus.exception import ZeusBaseError  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        return [], "zeus is not installed (pip install 'ladle[energy]')"
    except ImportError as error:  # An unofficial pynvml stands in the way of the official one.
        return [], first_line(error)
    try:
        found = look(device)
        for counter in found:  # A counter that cannot be read is none.
            counter.joules()
        return found, "" if found else "no counter"
    except (ZeusBaseError, ImportError, OSError) as error:
        return [], first_line(error)


def _gpus(device: Any) -> list[Counter]:
    gpus = device.get_gpus()
    indices = range(len(gpus))
    if not all(gpus.supports_get_total_energy_consumption(index) for index in indices):
        return []  # A sum over some of the GPUs is nobody's energy.
    return [Counter(f"GPU {i}", lambda i=i: gpus.get_total_energy_consumption(i) / 1000) for i in indices]


def _cpus(device: Any) -> list[Counter]:
    cpus = device.get_cpus()
    return [counter for index in range(len(cpus)) for counter in _package(cpus.cpus[index], index)]


def _package(cpu: Any, index: int) -> list[Counter]:
    """A package and its memory, which RAPL counts apart."""
    if not hasattr(cpu, "rapl_file"):  # Asked of zeus's daemon, which reads for those who may not.
        return [Counter(f"processor {index}", lambda: _total(cpu))]
    if cpu.rapl_file.name == "psys":  # The whole platform: the packages are in it, and have zones of their own.
        return []
    memory = [] if cpu.dram is None else [_file(f"memory {index}", cpu.dram)]
    return [_file(f"processor {index}", cpu.rapl_file), *memory]


def _file(name: str, file: Any) -> Counter:
    def joules() -> float:
        return float(Path(file.energy_uj_path).read_text()) / 1e6

    return Counter(name, joules, wraps_at=file.max_energy_range_uj / 1e6)


def _total(cpu: Any) -> float:
    read = cpu.get_total_energy_consumption()
    return (read.cpu_mj + (read.dram_mj or 0.0)) / 1000
