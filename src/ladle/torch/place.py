"""Arrays as tensors on a device, and the devices as a record tells of them: their names, and their memory."""

from __future__ import annotations

import os
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from ladle.core.host import host_free_bytes
from ladle.torch.tree import mapped


def device_of(devices: Any = None) -> torch.device:
    """The device that is meant: the one that is named, the accelerator, or the processor.

    >>> device_of("cpu")
    device(type='cpu')
    """
    if devices is not None:
        return torch.device(devices[0] if isinstance(devices, list | tuple) else devices)
    return accelerator() or torch.device("cpu")


def accelerator() -> torch.device | None:
    """The accelerator that is there. A build for CUDA names one on machines without any, too."""
    if not hasattr(torch, "accelerator") or not torch.accelerator.is_available():
        return None
    return torch.accelerator.current_accelerator()


def placed(tree: Any, device: torch.device) -> Any:
    """A tree of arrays as tensors there. On the processor they share the arrays' memory, where their type is torch's.

    Whole numbers become int64, as torch's losses want their classes; bytes stay bytes.
    """
    return mapped(partial(_tensor, device=device), tree)


def _tensor(leaf: Any, device: torch.device) -> Any:
    if isinstance(leaf, np.ndarray):
        wide = leaf.astype(np.int64, copy=False) if leaf.dtype.kind in "iu" and leaf.dtype.itemsize > 1 else leaf
        native = wide if wide.dtype.isnative else wide.astype(wide.dtype.newbyteorder("="))
        # A tensor of memory that may not be written to would be undefined if it were.
        leaf = torch.from_numpy(native if native.flags.writeable else native.copy())
    return leaf.to(device) if isinstance(leaf, torch.Tensor) else leaf


def device_names() -> list[str]:
    """What torch calls the device that computes."""
    device = device_of()
    if device.type == "cpu":
        return [f"cpu:0 torch {torch.get_num_threads()} threads"]
    module = torch.get_device_module(device)
    name = module.get_device_name(device) if hasattr(module, "get_device_name") else device.type
    return [f"{device.type}:{device.index or 0} {name}"]


def used_bytes() -> int | None:
    """Memory in use now: the accelerator's own count, else this process's resident memory."""
    device = device_of()
    if device.type != "cpu":
        module = torch.get_device_module(device)
        return int(module.memory_allocated(device)) if hasattr(module, "memory_allocated") else None
    try:
        return int(os.pread(_statm(), 64, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def free_bytes() -> int:
    """Memory that the device has left; the host's own where the host is the device."""
    device = device_of()
    if device.type != "cpu":
        module = torch.get_device_module(device)
        if hasattr(module, "mem_get_info"):
            return int(module.mem_get_info(device)[0])
    return host_free_bytes()[0]


@lru_cache(1)
def _statm() -> int:
    """This process's own figures, opened once: a line of the record reads them, and opening costs more than reading."""
    return os.open("/proc/self/statm", os.O_RDONLY)
