"""Trials in processes of their own: each loads JAX afresh, and one that dies takes only its own trial with it."""

from __future__ import annotations

import multiprocessing
import pickle
from typing import Any

from ladle.search.crew import Kept, died, serve
from ladle.search.threads import cores


class Processes(Kept):
    """An `Executor` of `count` new processes (the cores of this one, where left out), started by "spawn".

    They live from the first trial to `close`, and the function travels to each once. A script that uses them keeps its
    own work under `if __name__ == "__main__":`, for each process imports it again. Raises `ArgumentError` for a
    function that cannot be pickled. A process that died is replaced before the next item.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or cores()

    def begun(self, sent: bytes) -> list[_Child]:
        return [_Child(sent) for _ in range(self.count)]


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
