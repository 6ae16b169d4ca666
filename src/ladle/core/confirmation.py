"""The child process in which a plan's updates are run once: it may be killed for want of memory without harm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ladle.core.errors import RunError

TIMEOUT_SECONDS = 300

BLOCKS = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Blocks of 64 KiB and more come from the system and go back to it: what is resident is what is in use."""


def confirmed_peaks(module: str, given: str, count: int, environment: Mapping[str, str]) -> list[int]:
    """What `python -m module given` prints: the peak bytes of `count` updates, one a line, last of all.

    - `environment`: as `environment_of` takes it.

    Raises `RunError` where it took too long or did not survive, with its last words.
    """
    how: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "env": environment_of(environment)}
    command = [sys.executable, "-m", module, given]
    try:
        done = subprocess.run(command, timeout=TIMEOUT_SECONDS, **how)
    except subprocess.TimeoutExpired:
        why = f"the confirming child process took over {TIMEOUT_SECONDS} s; nothing was confirmed"
        raise RunError(why) from None
    peaks = [int(line) for line in done.stdout.split()[-count:]] if done.returncode == 0 else []
    if len(peaks) != count:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"the confirming child process ended with code {done.returncode}: {last}")
    return peaks


def environment_of(over: Mapping[str, str]) -> dict[str, str]:
    """The environment of such a child: ours, with variables `over` it, and this very ladle first on its path.

    >>> environment_of({"PYTHONPATH": "mine"})["PYTHONPATH"].split(os.pathsep)[-1]
    'mine'
    """
    own = {**os.environ, **BLOCKS, **over}
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), own.get("PYTHONPATH")]))
    return {**own, "PYTHONPATH": path}
