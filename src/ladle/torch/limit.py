"""How much memory an update may take, and how that is known."""

from __future__ import annotations

import resource
from pathlib import Path

import torch

from ladle.torch.place import free_bytes

MARGIN = 0.9
"""Share of the free memory that a plan may use; the rest is for the allocator and the rest of the program."""


def limit_bytes(device: torch.device) -> tuple[int, str]:
    """Bytes that a plan may use on `device`, and how that was found.

    On an accelerator: what it has free and what torch holds there without using it.
    """
    if device.type == "cpu":
        free, left = free_bytes(), _address_space_left()
        if left is not None and left < free:
            return max(int(MARGIN * left), 1), f"{MARGIN:.0%} of the address space left to this process"
        return max(int(MARGIN * free), 1), f"{MARGIN:.0%} of the host memory available to this process"
    module, unused = torch.get_device_module(device), 0
    if hasattr(module, "memory_reserved") and hasattr(module, "memory_allocated"):
        unused = int(module.memory_reserved(device)) - int(module.memory_allocated(device))
    free = int(module.mem_get_info(device)[0]) if hasattr(module, "mem_get_info") else free_bytes()
    return max(int(MARGIN * (free + unused)), 1), f"{MARGIN:.0%} of the device's free memory"


def _address_space_left() -> int | None:
    """What `ulimit -v` leaves; None where it limits nothing, or the system does not say."""
    top = resource.getrlimit(resource.RLIMIT_AS)[0]
    if top == resource.RLIM_INFINITY:
        return None
    try:
        return top - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None
