"""How much memory an update may take, and how that is known."""

from __future__ import annotations

import torch

from ladle.torch.place import free_bytes

MARGIN = 0.9
"""Share of the free memory that a plan may use; the rest is for the allocator and the rest of the program."""


def limit_bytes(device: torch.device) -> tuple[int, str]:
    """Bytes that a plan may use on `device`, and how that was found.

    On an accelerator: what it has free and what torch holds there without using it.
    """
    if device.type == "cpu":
        return max(int(MARGIN * free_bytes()), 1), f"{MARGIN:.0%} of the host memory available to this process"
    module, unused = torch.get_device_module(device), 0
    if hasattr(module, "memory_reserved") and hasattr(module, "memory_allocated"):
        unused = int(module.memory_reserved(device)) - int(module.memory_allocated(device))
    free = int(module.mem_get_info(device)[0]) if hasattr(module, "mem_get_info") else free_bytes()
    return max(int(MARGIN * (free + unused)), 1), f"{MARGIN:.0%} of the device's free memory"
