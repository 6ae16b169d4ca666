"""`Crew`: workers elsewhere, each asked by a thread of its own; `Kept`: who keeps one; and how a worker answers."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import SimpleQueue
from threading import Lock
from typing import Any, Protocol

from ladle.core.errors import ArgumentError, RunError, must
from ladle.search.threads import Threads


class Gone(Exception):
    """A worker that could not be begun again: others have to do its items."""


class Worker(Protocol):
    """Someone elsewhere who holds the function and answers one item after the other."""

    def __call__(self, item: Any) -> Any:
        """The answer to `item`; a `RunError` where the worker died over it, and it is begun again before the next.

        Raises what the function raised, and `Gone` where it cannot be begun again; nothing of the item is done then.
        """
        ...

    def close(self) -> None: ...


class Crew:
    """`map` over `workers`: who is free takes the next item, answers come in the order of the items."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        self._left, self._leaving = len(self.workers), Lock()
        self._why = ""
        for worker in self.workers:
            self._idle.put(worker)

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        yield from Threads(len(self.workers)).map(self._ask, items)

    def _ask(self, item: Any) -> Any:
        while (worker := self._idle.get()) is not None:
            try:
                answer = worker(item)
            except Gone as error:
                self._leave(str(error))
                continue
            except BaseException:
                self._idle.put(worker)
                raise
            self._idle.put(worker)
            return answer
        self._idle.put(None)  # For the other threads, which wait too.
        return RunError(must("workers", "be there", "none", self._why, "the same with workers that are"))

    def _leave(self, why: str) -> None:
        with self._leaving:
            self._left, self._why = self._left - 1, f"the last could not be begun again ({why})"
            if not self._left:
                self._idle.put(None)

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.close()


def died(item: Any, why: str) -> RunError:
    """The answer to an item over which a worker died."""
    return RunError(must("trial", "end by itself", str(item), why, "fewer workers, or a smaller size"))


class Asked:
    """A worker's side: the function that was `sent`, loaded at the first item."""

    def __init__(self, sent: bytes) -> None:
        self.sent = sent
        self.function: Callable[[Any], Any] | None = None

    def __call__(self, item: Any) -> tuple[bool, Any]:
        """`(True, answer)`, or `(False, error)` where the function raised one: both travel."""
        try:
            self.function = self.function or _loaded(self.sent)
            return True, self.function(item)
        except Exception as error:
            return False, _portable(error)


def serve(receive: Callable[[], bytes], send: Callable[[bytes], None], sent: bytes) -> None:
    """A worker's side over two pipes: answer items until nobody asks."""
    asked = Asked(sent)
    while True:
        try:
            item = pickle.loads(receive())
        except (EOFError, OSError):
            return
        answer = asked(item)
        try:
            message = pickle.dumps(answer)
        except Exception as error:  # An answer that cannot travel.
            message = pickle.dumps((False, _portable(error)))
        send(message)


class Kept(ABC):
    """An `Executor` whose workers live from the first item to `close`, and to each of which the function travels once.

    Another function is given to new workers.
    """

    _crew: Crew | None = None
    _function: Any = None

    @abstractmethod
    def begun(self, sent: bytes) -> Sequence[Worker]:
        """Workers that hold the pickled function `sent`."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Answers in the order of the items. Raises `ArgumentError` for a function that cannot be pickled."""
        if self._crew is None or function is not self._function:
            self.close()
            self._crew, self._function = Crew(self.begun(pickled(function))), function
        yield from self._crew.map(items)

    def close(self) -> None:
        """End the workers."""
        if self._crew is not None:
            self._crew.close()
        self._crew, self._function = None, None


def pickled(function: Any) -> bytes:
    """`function` as bytes, or an `ArgumentError` that says why it cannot travel."""
    try:
        return pickle.dumps(function)
    except Exception as error:  # Whatever a user's object raises when it is asked for its state.
        why = f"it travels to other processes ({type(error).__name__}: {error})"
        remedy = "models, losses and metrics defined in a module, or workers of this process"
        raise ArgumentError(must("task", "be one that can be pickled", "one that cannot", why, remedy)) from None


def _loaded(sent: bytes) -> Callable[[Any], Any]:
    try:
        return pickle.loads(sent)
    except (AttributeError, ImportError) as error:
        why = f"a worker has to find what it is made of ({type(error).__name__}: {error})"
        remedy = "models, losses and metrics in a module that the worker can import"
        raise ArgumentError(must("task", "be one that workers can load", "one that is not", why, remedy)) from None


def _portable(error: Exception) -> Exception:
    """The error itself where it can travel, else its words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RunError(f"{type(error).__name__}: {error}")
    return error
