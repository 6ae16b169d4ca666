"""`Threads`: work on pieces of a range, by the caller and a few helpers."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from ladle.core.errors import ArgumentError, must

PIECES = 4
"""Pieces for each thread: a slow one holds up the others by a fraction of the whole only."""


class Threads:
    """`count` threads, the caller's own among them; the others start when first needed.

    The caller works too, so a call ends even where all helpers are busy with other calls, or wait for this one.
    A copy in another process starts helpers of its own, whether it came there by pickle or by fork.

    - `count`: None takes one for each core this process may use.
    """

    def __init__(self, count: int | None = None) -> None:
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
            why, remedy = "that many decode at a time", "threads=None for one a core"
            raise ArgumentError(must("threads", "be a whole number, 0 or more, or None", count, why, remedy))
        self.count = len(os.sched_getaffinity(0)) if count is None else max(1, count)
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def spans(self, work: Callable[[int, int], None], count: int, least: int = 1) -> None:
        """`work(start, stop)` on consecutive pieces of `range(count)`, none much shorter than `least`.

        Raises what `work` raises, once no thread works any longer.
        """
        pieces = min(self.count * PIECES, count // max(1, least))
        if self.count == 1 or pieces < 2:
            return work(0, count)
        todo = deque(pairwise(piece * count // pieces for piece in range(pieces + 1)))
        helpers = [self._started().submit(_drain, todo, work) for _ in range(min(self.count, pieces) - 1)]
        try:
            _drain(todo, work)
        finally:
            todo.clear()
            running = [helper for helper in helpers if not helper.cancel()]
            failed = [helper.exception() for helper in running]
        for error in failed:
            if error is not None:
                raise error

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():  # Threads do not survive a fork.
            self._pool = (os.getpid(), ThreadPoolExecutor(self.count, "ladle-source"))
        return self._pool[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Threads, (self.count,)


def _drain(todo: deque[tuple[int, int]], work: Callable[[int, int], None]) -> None:
    while todo:
        try:
            start, stop = todo.popleft()
        except IndexError:  # Another thread took the last one.
            return
        try:
            work(start, stop)
        except BaseException:
            todo.clear()
            raise
