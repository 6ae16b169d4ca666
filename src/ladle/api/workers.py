"""Who does the trials of a search and the runs of a comparison: workers by name, or an executor of the user's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.api.assembly import Assembly
from ladle.core.errors import ArgumentError, must
from ladle.search.crew import Crew
from ladle.search.executors import executor_named
from ladle.search.trial import Executor

DEVICES = "devices"


def require_workers(workers: str | Executor, assembly: Assembly, *besides: str) -> None:
    """Refuse what is no worker's name and no executor. `besides`: names that the verb itself knows."""
    if not isinstance(workers, str):
        if not callable(getattr(workers, "map", None)):
            why = "someone has to do the work"
            raise ArgumentError(
                must("workers", "be a name or have a method map", workers, why, "workers='processes:2'")
            )
    elif workers not in besides:
        executor_of(workers, None, lambda number: lambda item: item, assembly)


def executor_of(
    workers: str | Executor, folder: Path | None, on_device: Callable[[int], Callable[[Any], Any]], assembly: Assembly
) -> Executor:
    """The executor that `workers` means.

    - `folder`: for files of the executor. `on_device(number)`: the function for one of the devices of `assembly`.
    """
    if not isinstance(workers, str):
        return workers
    name, _, number = workers.partition(":")
    if name != DEVICES:
        return executor_named(workers, folder)
    here = assembly.engine.devices
    if number and not (number.isdecimal() and 0 < int(number) <= here):
        why = f"there {'is one' if here == 1 else f'are {here}'}, and each does a trial at a time"
        raise ArgumentError(must("workers", f"have a number from 1 to {here}", workers, why, f"{DEVICES}:{here}"))
    return OnDevices(on_device, int(number or here))


def begun_anew(items: Sequence[str]) -> tuple[str, ...]:
    """What is said of items whose worker died; nothing where none did.

    >>> begun_anew(["size 8, seed 0", "size 8, seed 0"])
    ('begun anew, for the worker died: size 8, seed 0 (2 times)',)
    """
    if not items:
        return ()
    told = [f"{item} ({times} times)" if times > 1 else item for item, times in Counter(items).items()]
    return (f"begun anew, for the worker died: {'; '.join(told)}",)


@dataclass
class OnDevices:
    """An `Executor` of one thread for each of `count` devices of this process.

    - `make(number)`: the function on that device alone; made once, at its first item.
    """

    make: Callable[[int], Callable[[Any], Any]]
    count: int
    _crew: Crew | None = None

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Answers of `make`'s functions, which do what `function` does."""
        if self._crew is None:
            self._crew = Crew([_OnDevice(self.make, number) for number in range(self.count)])
        yield from self._crew.map(items)


class _OnDevice:
    """One device, asked by one thread."""

    def __init__(self, make: Callable[[int], Callable[[Any], Any]], number: int) -> None:
        self.make, self.number = make, number
        self.function: Callable[[Any], Any] | None = None

    def __call__(self, item: Any) -> Any:
        if self.function is None:
            self.function = self.make(self.number)
        return self.function(item)

    def close(self) -> None: ...
