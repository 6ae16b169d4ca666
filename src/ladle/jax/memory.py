"""How much memory is free: on the device, or on the host that is the device."""

from __future__ import annotations

from pathlib import Path

import jax


def device_free_bytes() -> int:
    """Memory that the first local device has left; the host's own where the host is the device."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return host_free_bytes()[0]


def host_free_bytes() -> tuple[int, str]:
    """Host memory this process may still take: free memory, or what a control group leaves, whichever is less."""
    found = [(_meminfo("MemAvailable"), "available host memory")]
    for folder, limit, used, idle in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = _group_left_bytes(Path(folder), limit, used, idle)
        except (OSError, ValueError):
            continue
        found.append((left, "memory left to this container"))
    return min((item for item in found if item[0] is not None), default=(4 << 30, "assumed 4 GiB"))  # type: ignore[type-var,return-value]


def _group_left_bytes(folder: Path, limit: str, used: str, idle: str) -> int:
    """What a control group leaves. Files that the system merely keeps in memory count as used, but give way."""
    left = int((folder / limit).read_text()) - int((folder / used).read_text())
    lines = (folder / "memory.stat").read_text().splitlines()
    return left + sum(int(line.split()[1]) for line in lines if line.split()[0] == idle)


def _meminfo(name: str) -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":")), None)
