"""`World`: the processes that share one run. What one of them alone knows or does, it tells the others."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
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

    def watched(self, examples: int, size: int) -> AbstractContextManager[Callable[[], None]]:
        """A window of so many examples in batches of `size`. What it gives is called after each step: one that takes
        many times as long as those before it ends the run."""
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

    def watched(self, examples: int, size: int) -> AbstractContextManager[Callable[[], None]]:
        return nullcontext(_nothing)

    def why(self, error: BaseException) -> str:
        return str(error) or type(error).__name__

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: Any) -> None: ...


ALONE = Alone()

LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
"""Variables by which launchers say which process this is, and of how many."""


def said() -> tuple[int, int]:
    """Which process this is, and of how many, as its launcher says; `(0, 1)` where none says so.

    A script that Slurm runs by itself, without `srun`, is one process, whatever the job has.
    """
    for rank, size in LAUNCHERS:
        found = os.environ.get(rank, ""), os.environ.get(size, "")
        if rank == "SLURM_PROCID" and "SLURM_STEP_NODELIST" not in os.environ:
            continue
        if found[1].isdigit():
            return int(found[0]) if found[0].isdigit() else 0, int(found[1])
    index = os.environ.get("JOB_COMPLETION_INDEX", "")
    return (int(index), 1) if index.isdigit() and "KUBERNETES_SERVICE_HOST" in os.environ else (0, 1)


def require_alone(verb: str) -> None:
    """Refuse `verb` to several processes: each would do all of it, and write what the others write."""
    _, size = said()
    if size > 1:
        why, remedy = "each would do the whole of it", "one process, without a launcher; fit and train share a run"
        raise ArgumentError(must(verb, "be asked of one process", f"{size} processes", why, remedy))


def _nothing() -> None: ...
