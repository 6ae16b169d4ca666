"""Trials in threads of this process: compiled programs let go of Python's lock, so as many run as there are cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Threads:
    """An `Executor` of `count` threads (the cores of this process, where left out).

    >>> list(Threads(2).map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """

    count: int | None = None

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        pool = ThreadPoolExecutor(self.count or cores())
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(cancel_futures=True)  # After a failure, or ctrl-C, no further trial begins.


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
