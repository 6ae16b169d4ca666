"""Trials in processes of their own: each loads JAX afresh, and one that dies takes only its own trial with it."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ladle.search.crew import Crew, died, pickled, serve
from ladle.search.threads import cores


class Processes:
    """An `Executor` of `count` new processes (the cores of this one, where left out), started by "spawn".

    They live from the first trial to `close`, and the function travels to each once. A script that uses them keeps its
    own work under `if __name__ == "__main__":`, for each process imports it again. Raises `ArgumentError` for a
    function that cannot be pickled. A process that died is replaced before the next item.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or cores()
        self._function: Any = None
        self._crew: Crew | None = None

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        if self._crew is None or function is not self._function:
            self.close()
            sent, self._function = pickled(function), function
            self._crew = Crew([_Child(sent) for _ in range(self.count)])
        yield from self._crew.map(items)

    def close(self) -> None:
        """End the processes."""
        if self._crew is not None:
            self._crew.close()
        self._function, self._crew = None, None


class _Child:
    """One process, asked by one thread."""

    def __init__(self, function: bytes) -> None:
        self.function = function
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.function), daemon=True)
        self.process.start()
        theirs.close()

    def __call__(self, item: Any) -> Any:
        if self.pipe.closed:
            self._start()
        try:
            self.pipe.send_bytes(pickle.dumps(item))
            good, answer = pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.close()
            return died(item, f"its process ended with code {self.process.exitcode}")
        if not good:
            raise answer
        return answer

    def close(self) -> None:
        self.pipe.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()


def _serve(pipe: Any, sent: bytes) -> None:
    """The child's side."""
    serve(pipe.recv_bytes, pipe.send_bytes, sent)
