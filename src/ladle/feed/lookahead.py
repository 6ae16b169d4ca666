"""`Ahead`: results of pure jobs, worked out by threads or processes before they are asked for.

Threads by default: NumPy, pyarrow and Pillow read and decode without Python's lock, and on free-threaded Python
everything does. Processes for decoding written in Python.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ladle.core.errors import ArgumentError, RunError, must
from ladle.core.spec import require_count
from ladle.feed.workers import context_for


def free_threaded() -> bool:
    """Whether this Python runs threads without a global lock (PEP 703)."""
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


def default_workers() -> int:
    """Threads that read ahead: two, so that one reads while another decodes; all cores where no lock is shared."""
    cores = os.cpu_count() or 1
    return cores if free_threaded() else min(2, cores)


class Ahead:
    """Results of pure jobs, in the order they are asked for, worked out before they are.

    - `job(key)`: the work; a function of its key alone. For processes it must be picklable; it travels there once.
    - `after(key)`: what will be asked for next. `name(key)`: what a job reads, for the error of a lost process.
    - `workers`: how many work at once; 0 works nothing ahead. `processes`: in processes instead of threads.
    - `depth`: jobs begun and not yet asked for, at most: what bounds memory. `2 * workers` by default.

    A job that fails raises in `get`, in its turn: what was only read ahead never fails a run. Raises `ArgumentError`
    for numbers that cannot be.

    >>> squares = Ahead(lambda n: n * n, lambda n: n + 1, workers=2)
    >>> [squares.get(n) for n in (1, 2, 3, 7)], squares.missed
    ([1, 4, 9, 49], 1)
    >>> squares.close()
    """

    def __init__(
        self,
        job: Callable[[Any], Any],
        after: Callable[[Any], Any],
        *,
        workers: int | None = None,
        processes: bool = False,
        depth: int | None = None,
        name: Callable[[Any], str] = str,
    ) -> None:
        self.workers = default_workers() if workers is None else workers
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 0:
            why, remedy = "it counts readers", "workers=2, or 0 to read nothing ahead"
            raise ArgumentError(must("workers", "be a whole number from 0 on", workers, why, remedy))
        self.depth = require_count("depth", 2 * self.workers or 1 if depth is None else depth)
        self.missed = 0
        """How often something else was asked for than what had been read: then that was thrown away."""
        self._job, self._after, self._name = job, after, name
        self._executor, self._run = _executor(job, self.workers, processes)
        self._close = weakref.finalize(self, _shut, self._executor) if self._executor else lambda: None
        self._queue: deque[tuple[Any, Future[Any]]] = deque()
        self._next: Any = None

    def get(self, key: Any) -> Any:
        """The result of job `key`; begins those after it. Raises what the job raised.

        Raises `RunError` where a process died: killed, or out of memory.
        """
        if self._executor is None:
            return self._job(key)
        try:
            if not self._queue or self._queue[0][0] != key:
                self.missed += bool(self._queue)
                self.forget()
                self._next = key
                self._fill()
            _, future = self._queue.popleft()
            self._fill()
            return future.result()
        except BrokenProcessPool:
            lost = self._name(key)
            self.close()
            raise RunError(
                f"a reading process died (killed, or out of memory) while {lost} was read, or soon after; "
                "try fewer workers, or workers=0 to see its error here"
            ) from None

    def forget(self) -> None:
        """Throw away what was read ahead."""
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()
        self._next = None

    def close(self) -> None:
        """End the workers. Nothing is lost: what comes next is a function of its key."""
        self.forget()
        self._close()

    def _fill(self) -> None:
        assert self._executor is not None
        while len(self._queue) < self.depth:
            self._queue.append((self._next, self._executor.submit(self._run, self._next)))
            self._next = self._after(self._next)


_here: Callable[[Any], Any] | None = None
"""In a reading process: its job."""


def _install(job: Callable[[Any], Any]) -> None:
    global _here
    _here = job


def _run_here(key: Any) -> Any:
    assert _here is not None
    return _here(key)


def _executor(job: Callable[[Any], Any], workers: int, processes: bool) -> tuple[Executor | None, Callable[[Any], Any]]:
    if workers == 0:
        return None, job
    if not processes:
        return ThreadPoolExecutor(workers, thread_name_prefix="ladle-read"), job
    pool = ProcessPoolExecutor(workers, mp_context=context_for(job), initializer=_install, initargs=(job,))
    return pool, _run_here


def _shut(executor: Executor) -> None:
    executor.shutdown(wait=False, cancel_futures=True)
