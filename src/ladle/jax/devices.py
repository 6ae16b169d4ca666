"""The devices as a record tells of them: their names, and memory in use."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import jax


def device_names() -> list[str]:
    """What JAX calls the local devices."""
    return [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.local_devices()]


def on_host() -> bool:
    """Whether the devices are this machine's own processor, so that its CPU time is theirs."""
    return jax.default_backend() == "cpu"


@lru_cache(1)
def crowded() -> bool:
    """Whether devices of this process share its processor, where one program over several may be on its way at most.

    With more, now and then on busy cores, three devices wait in a sum for a fourth that has no thread (docs/log.md).
    """
    return on_host() and jax.local_device_count() > 1


def memory_bytes() -> int | None:
    """Memory in use now: the device's own count where it keeps one, else this process's resident memory."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_in_use" in stats:
        return int(stats["bytes_in_use"])
    try:
        return int(os.pread(_statm(), 64, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def put(tree: Any) -> None:
    """Send the numbers of a tree of arrays to the device, and wait until they are there."""
    numbers = [leaf for leaf in jax.tree.leaves(tree) if getattr(leaf, "dtype", None) is not None]
    jax.block_until_ready(jax.device_put([leaf for leaf in numbers if leaf.dtype.kind not in "SUO"]))


@lru_cache(1)
def _statm() -> int:
    """This process's own figures, opened once: a line of the record reads them, and opening costs more than reading."""
    return os.open("/proc/self/statm", os.O_RDONLY)
