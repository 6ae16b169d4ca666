"""`Peers`: what worlds of several processes have in common, whatever they speak by: how they end, and say why.

A subclass says how a value gets from one rank to the others, and which failures are those of another rank.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar

from ladle.core.cursor import Shard
from ladle.core.errors import LadleError, RunError
from ladle.core.watch import Store, Watch

Value = TypeVar("Value")

_RUNS = count()
_busy = False


def busy() -> bool:
    """Whether rank 0 makes something for all, in which no other takes part: a run that it begins then is its own."""
    return _busy


class Peers(ABC):
    """Implements `ladle.core.world.World` for `size` processes, of which this is `rank`."""

    def __init__(self, rank: int, size: int, on_host: int) -> None:
        self.rank, self.size, self.on_host = rank, size, on_host
        self._watch: Watch | None = None

    @abstractmethod
    def told(self, value: Any) -> Any:
        """Rank 0's value, on all ranks."""

    @abstractmethod
    def gathered(self, value: Value) -> list[Value]:
        """Every rank's value, in their order, on all ranks."""

    @abstractmethod
    def store(self) -> Store:
        """Where they met, for the signs of a run."""

    @abstractmethod
    def of_peers(self, error: BaseException) -> bool:
        """Whether what failed is what joins them, of which another rank is the cause."""

    @property
    def shard(self) -> Shard:
        return Shard(self.rank, self.size)

    def first(self, make: Callable[[], Value]) -> Value:
        global _busy
        told: list[Any] = [None, None]
        if self.rank == 0:
            _busy = True
            try:
                told = [make(), None]
            except LadleError as error:  # What is refused is refused on all ranks, and they stay in step.
                told = [None, error]
            finally:
                _busy = False
        told = self.told(told)
        if told[1] is not None:
            raise told[1]
        return told[0]

    @contextmanager
    def watched(self, examples: int, size: int) -> Iterator[Callable[[], None]]:
        assert self._watch is not None
        self.gathered(None)  # A rank that is late, since it keeps the record, does not count as one that hangs.
        with self._watch.window(examples, size) as stepped:
            yield stepped

    def why(self, error: BaseException) -> str:
        own = str(error) or type(error).__name__
        if self._watch is None:
            return own
        if self.of_peers(error) and (heard := self._watch.heard(self._watch.silence + 5)):
            return heard
        return own if isinstance(error, RunError) and own == self._watch.note else f"rank {self.rank}: {own}"

    def __enter__(self) -> Self:
        self._watch = Watch(self.store(), self.rank, self.size, str(next(_RUNS)))
        _leave_at_once()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._watch is not None
        late = error
        if error is None:
            try:
                self.gathered(None)  # Whoever leaves may end: what rank 0 writes is written then.
            except RuntimeError as failed:
                late = failed
        if late is None:
            self._watch.stop(left=True)
            return
        reason = self._watch.tell(self.why(late))
        self._watch.stop(left=False)
        if self.of_peers(late):
            raise RunError(f"the run ended, for {reason}") from late
        if error is None:
            raise late


def _leave_at_once() -> None:
    """What is raised to the top ends this process at once: what else it does at its end may wait for the others."""
    said = sys.excepthook
    if getattr(said, "of_ladle", False):
        return

    def leave(kind: Any, error: Any, trace: Any) -> None:
        said(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    leave.of_ladle = True  # type: ignore[attr-defined]
    sys.excepthook = leave
