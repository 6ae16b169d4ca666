"""`in_turn`: one process of this user after the other, where each would do the same work, and the first keeps it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ladle.core.host import cache_base

MOST_SECONDS = 120.0
"""Longest wait for another process: what it is at may be something else, and long."""

EVERY_SECONDS = 0.05


@contextmanager
def in_turn(name: str) -> Iterator[None]:
    """Hold the lock `name` in the cache's folder; go on without it where there is no such folder, or after a while.

    Workers that begin at once all want the same program. Behind this the first compiles it into the compilation cache,
    and the others read it there. A process that dies leaves the lock to the next one.
    """
    base = cache_base()
    try:
        import fcntl

        file = (base / f"{name}.lock").open("a") if base is not None else None
    except (ImportError, OSError):
        file = None
    if file is None:
        yield
        return
    with file:
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(EVERY_SECONDS)
            except OSError:  # A disk of another machine that knows no locks.
                break
        yield
