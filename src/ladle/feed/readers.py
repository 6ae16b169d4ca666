"""`Readers`: who works out pure jobs: the caller, threads of this process, or processes, begun when first asked."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ladle.core.errors import ArgumentError, must
from ladle.feed.source.generators import shared_here
from ladle.feed.workers import Processes


class Readers:
    """Works out `job(key)`, ahead of who asks where there are workers.

    - `workers`: how many work at once; 0: the caller. `processes`: in processes instead of threads.
    - `start(number)`: called in each process first. `context`: how processes are begun.
    - `check`: called after the first job of threads, which the caller works out itself: what is not for threads can
      be found out there.

    Raises `ArgumentError` for a number that cannot be.
    """

    def __init__(
        self,
        job: Callable[[Any], Any],
        workers: int,
        processes: bool = False,
        *,
        start: Callable[[int], Any] | None = None,
        context: str | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            why, remedy = "it counts readers", "workers=2, or 0 to read nothing ahead"
            raise ArgumentError(must("workers", "be a whole number from 0 on", workers, why, remedy))
        self.workers, self.processes = workers, processes and workers > 0
        self.job, self._start, self._context, self._check = job, start, context, check
        self._threads: ThreadPoolExecutor | None = None
        self._run = job
        self._close: Callable[[], Any] = _nothing

    def submit(self, key: Any) -> Future[Any]:
        """The answer to come. Raises where processes cannot be begun."""
        if self._threads is None:
            self._begin()
            if self.workers and not self.processes and self._check is not None:
                return self._first(key)
        if self._threads is None:
            return done(self.job, key)
        return self._threads.submit(self._run, key)

    def close(self) -> None:
        """End them. Another `submit` begins anew."""
        self._close()
        self._threads, self._close = None, _nothing

    def _begin(self) -> None:
        if not self.workers:
            return
        ends: list[Callable[[], None]] = []
        if self.processes:  # Before the threads: a fork should have as few beside it as can be.
            self._run = Processes(self.job, self.workers, self._start, self._context)
            ends.append(self._run.close)
        threads = ThreadPoolExecutor(self.workers, "ladle-read", initializer=shared_here)
        self._threads = threads
        self._close = weakref.finalize(self, _shut, threads, ends)

    def _first(self, key: Any) -> Future[Any]:
        answer = done(self.job, key)
        try:
            assert self._check is not None
            self._check()
        except BaseException:
            self.close()
            raise
        self._check = None
        return answer


def done(job: Callable[[Any], Any], key: Any) -> Future[Any]:
    """A job that the caller has worked out."""
    future: Future[Any] = Future()
    try:
        future.set_result(job(key))
    except Exception as error:
        future.set_exception(error)
    return future


def _nothing() -> None:
    pass


def _shut(threads: ThreadPoolExecutor, ends: list[Callable[[], None]]) -> None:
    threads.shutdown(wait=False, cancel_futures=True)
    for end in ends:
        end()
