"""How much memory is free: on the device, or on the host that is the device."""

from __future__ import annotations

import jax

from ladle.core.host import host_free_bytes


def device_free_bytes() -> int:
    """Memory that the first local device has left; the host's own where the host is the device."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return host_free_bytes()[0]
