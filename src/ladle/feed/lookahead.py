"""`Ahead`: results of pure jobs, worked out by threads or processes before they are asked for.

Threads by default: NumPy, pyarrow and Pillow read and decode without Python's lock, and on free-threaded Python
everything does. Processes for decoding written in Python.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from ladle.core.errors import RunError
from ladle.core.spec import require_count
from ladle.feed.readers import Readers


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
    - `after(key)`: what will be asked for next; None: nothing, as far as is known. `name(key)`: what a job reads, for
      the error of a lost process.
    - `workers`: how many work at once; 0 works nothing ahead. `processes`: in processes instead of threads.
    - `depth`: jobs begun and not yet asked for, at most: what bounds memory. `2 * workers` by default.
    - `readers`: workers that several share, instead of its own. `timeout`: seconds to wait for a result; 0: for ever.

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
        readers: Readers | None = None,
        check: Callable[[], None] | None = None,
        timeout: float = 0,
    ) -> None:
        workers = default_workers() if workers is None else workers
        self.readers = Readers(job, workers, processes, check=check) if readers is None else readers
        self.workers = self.readers.workers
        self.depth = require_count("depth", 2 * self.workers or 1 if depth is None else depth)
        self.missed = 0
        """How often something else was asked for than what had been read: then that was thrown away."""
        self._job, self._after, self._name, self._timeout = job, after, name, timeout or None
        self._queue: deque[tuple[Any, Future[Any]]] = deque()
        self._next: Any = None

    def get(self, key: Any) -> Any:
        """The result of job `key`; begins those after it. Raises what the job raised.

        Raises `RunError` where a process died: killed, or out of memory; and where `timeout` is over.
        """
        if not self.workers:
            return self._job(key)
        if not self._queue or self._queue[0][0] != key:
            self.missed += bool(self._queue)
            self.forget()
            self._next = key
            self._fill(1)
        _, future = self._queue.popleft()
        self._fill(self.depth)
        # Waited for first: a TimeoutError out of `result` may also be the job's own, or come from a signal.
        if self._timeout is not None and not wait([future], self._timeout).done:
            self.close()
            why = f"{self._name(key)} took longer than timeout={self._timeout} seconds to read"
            raise RunError(f"{why}; try a larger timeout, or workers=0 to see where it waits")
        try:
            return future.result()
        except RunError as error:
            if not str(error).startswith("a reading process died"):
                raise
            self.close()
            remedy = "try fewer workers, or workers=0 to see its error here"
            raise RunError(f"{error} while {self._name(key)} was read, or soon after; {remedy}") from None

    def forget(self) -> None:
        """Throw away what was read ahead."""
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()
        self._next = None

    def close(self) -> None:
        """End the workers. Nothing is lost: what comes next is a function of its key."""
        self.forget()
        self.readers.close()

    def _fill(self, depth: int) -> None:
        while len(self._queue) < depth and self._next is not None:
            self._queue.append((self._next, self.readers.submit(self._next)))
            self._next = self._after(self._next)
