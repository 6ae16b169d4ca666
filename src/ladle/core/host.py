"""What the host has for this process: memory that is left, and the folder where things are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_base() -> Path | None:
    """`$LADLE_CACHE`, else `ladle/` in the user's cache folder; None where `LADLE_CACHE` is off."""
    chosen = os.environ.get("LADLE_CACHE")
    if chosen == "off":
        return None
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ladle"


def host_free_bytes() -> tuple[int, str]:
    """Host memory this process may still take: free memory, or what a control group leaves, whichever is less."""
    found = [(_meminfo("MemAvailable"), "available host memory")]
    for folder, limit, used, idle in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            left = group_left_bytes(Path(folder), limit, used, idle)
        except (OSError, ValueError):
            continue
        found.append((left, "memory left to this container"))
    return min((item for item in found if item[0] is not None), default=(4 << 30, "assumed 4 GiB"))  # type: ignore[type-var,return-value]


def group_left_bytes(folder: Path, limit: str, used: str, idle: str) -> int:
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
