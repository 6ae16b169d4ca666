"""What of this process lies in memory, now and at most: what is its own, without the pages of libraries.

Libraries are read from files as they are run; a first run reads megabytes of code, which is no part of an update.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

SETTLING = 5
"""Readings of the memory in use, a hundredth of a second apart, of which the lowest counts."""


def reset_peak() -> int:
    """Give freed memory back to the system, forget the peak so far, and return the bytes in use now."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        pass  # Then the peak includes earlier ones, and a confirmation errs on the safe side.
    return _status("VmRSS") - _status("RssFile")


def peak() -> int:
    """The most bytes that were in use since the peak was reset.

    >>> peak() > 1_000_000
    True
    """
    return _status("VmHWM") - _status("RssFile")


def settled(reset: Callable[[], int]) -> int:
    """The least of several answers of `reset`, once a library has let go of memory: it does so a little later."""
    readings = []
    for _ in range(SETTLING):
        time.sleep(0.01)
        readings.append(reset())
    return min(readings)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))
