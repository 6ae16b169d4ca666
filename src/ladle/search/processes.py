"""Trials in processes of their own: each loads JAX afresh, and one that dies takes only its own trial with it."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

from ladle.core.errors import ArgumentError, RunError, must
from ladle.search.threads import Threads, cores


class Processes:
    """An `Executor` of `count` new processes (the cores of this one, where left out), started by "spawn".

    They live from the first trial to `close`, and the function travels to each once. A script that uses them keeps its
    own work under `if __name__ == "__main__":`, for each process imports it again. Raises `ArgumentError` for a
    function that cannot be pickled. A process that died is replaced before the next item.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or cores()
        self._function: Any = None
        self._idle: SimpleQueue[_Child] = SimpleQueue()
        self._children: list[_Child] = []

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        if function is not self._function:
            self.close()
            sent, self._function = pickled(function), function
            self._children = [_Child(sent) for _ in range(self.count)]
            for child in self._children:
                self._idle.put(child)
        yield from Threads(self.count).map(self._ask, items)

    def _ask(self, item: Any) -> Any:
        child = self._idle.get()  # There are as many threads as children: never empty for long.
        try:
            return child(item)
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.close()
        self._function, self._children, self._idle = None, [], SimpleQueue()


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
            why = f"its process ended with code {self.process.exitcode}"
            return RunError(must("trial", "end by itself", str(item), why, "workers='threads', or a smaller size"))
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
    """The child's side: answer items until the pipe is closed."""
    function = None
    while True:
        try:
            item = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            function = pickle.loads(sent) if function is None else function
            answer = pickle.dumps((True, function(item)))
        except Exception as error:
            answer = pickle.dumps((False, _portable(error)))
        pipe.send_bytes(answer)


def pickled(function: Any) -> bytes:
    """`function` as bytes, or an `ArgumentError` that says why it cannot travel."""
    try:
        return pickle.dumps(function)
    except Exception as error:  # Whatever a user's object raises when it is asked for its state.
        why = f"it travels to other processes ({type(error).__name__}: {error})"
        remedy = "workers='threads', or models, losses and metrics defined in a module"
        raise ArgumentError(must("task", "be one that can be pickled", "one that cannot", why, remedy)) from None


def _portable(error: Exception) -> Exception:
    """The error itself where it can travel, else its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RunError(f"{type(error).__name__}: {error}")
    return error
