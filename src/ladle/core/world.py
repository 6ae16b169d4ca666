"""`World`: the processes that share one run. What one of them alone knows or does, it tells the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from ladle.core.cursor import Shard
from ladle.core.errors import ArgumentError, must

Value = TypeVar("Value")


class World(Protocol):
    """The processes that share one run, from `with` to its end.

    Every process makes the same calls in the same order. One that leaves by an exception ends the others.
    """

    @property
    def rank(self) -> int:
        """Which of them this is; 0 keeps the record."""
        ...

    @property
    def size(self) -> int: ...

    @property
    def on_host(self) -> int:
        """How many of them are on this machine, and so share its memory."""
        ...

    @property
    def shard(self) -> Shard:
        """Which part of each batch this process reads."""
        ...

    def first(self, make: Callable[[], Value]) -> Value:
        """What rank 0 makes, on all ranks, or what it refuses with a `LadleError`. The others wait for it."""
        ...

    def gathered(self, value: Value) -> list[Value]:
        """Every rank's value, in their order, on all ranks."""
        ...

    def why(self, error: BaseException) -> str:
        """Why a run ended by `error`: where another rank was the cause, that rank's reason."""
        ...

    def __enter__(self) -> World: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@dataclass(frozen=True)
class Alone:
    """One process, which agrees with itself; implements `World`.

    >>> with Alone() as world:
    ...     world.first(lambda: 3), world.gathered("a"), world.shard.count
    (3, ['a'], 1)
    """

    rank: int = 0
    size: int = 1
    on_host: int = 1

    @property
    def shard(self) -> Shard:
        return Shard()

    def first(self, make: Callable[[], Value]) -> Value:
        return make()

    def gathered(self, value: Value) -> list[Value]:
        return [value]

    def why(self, error: BaseException) -> str:
        return str(error) or type(error).__name__

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: Any) -> None: ...


ALONE = Alone()


def require_alone(verb: str) -> None:
    """Refuse `verb` to several processes: each would do all of it, and write what the others write."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    if ranks.isdigit() and int(ranks) > 1:
        why, remedy = "every rank would do the whole of it", "one process, without torchrun; fit and train share a run"
        raise ArgumentError(must(verb, "be asked of one process", f"WORLD_SIZE={ranks}", why, remedy))
