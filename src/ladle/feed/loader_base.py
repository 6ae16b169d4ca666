"""`LoaderBase`: what loaders by number and over streams share: where they stand, copies, names that loops read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ladle.core.cursor import Cursor
from ladle.core.errors import ArgumentError, must
from ladle.feed.loader_names import Names

READ = (
    "collate_fn", "pin_memory", "timeout", "persistent_workers", "generator", "prefetch_factor",
    "multiprocessing_context", "in_order",
)  # fmt: skip
"""What loops and libraries read of a `DataLoader`, as it was given."""

REPLACED = ("shuffle", "sampler", "batch_sampler", "num_workers", "generator", "prefetch_factor")
"""Arguments that have become others by the time a loader is made."""


class Made:
    """An attribute that a loader is made with, and that stays: an assignment is refused, where it would do nothing."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self.read = read
        self.__doc__ = read.__doc__

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def __get__(self, loader: Any, owner: Any = None) -> Any:
        return self if loader is None else self.read(loader)

    def __set__(self, loader: Any, value: Any) -> None:
        why, remedy = "readers have it already", f"a new Loader with {self.name}="
        raise ArgumentError(must(self.name, "stay as it is", type(value).__name__, why, remedy))


class LoaderBase(ABC):
    """A loader with names, readers, and a place where it stands."""

    _names: Names
    _dataset: Any
    _batch_size: int
    _depth: int | None
    _how: dict[str, Any]
    _given: tuple[Any, dict[str, Any]]
    _at: tuple[int, int]
    """Position after the last batch handed out, and its pass."""

    @property
    def num_workers(self) -> int:
        """Processes that read. May be set between passes."""
        return self._how["workers"] if self._how["processes"] else 0

    @num_workers.setter
    def num_workers(self, value: int) -> None:
        self._read_by(replace(self._names, num_workers=value))

    @property
    def worker_init_fn(self) -> Any:
        """Called in each reading process. May be set between passes, as Lightning does to seed workers."""
        return self._names.worker_init_fn

    @worker_init_fn.setter
    def worker_init_fn(self, value: Any) -> None:
        names = replace(self._names, worker_init_fn=value, num_workers=None)
        names.check()
        self._read_by(names, **self._how)

    @abstractmethod
    def _read_by(self, names: Names, workers: int | None = None, processes: bool = False) -> None:
        """Begin readers as `names` say."""

    def _now(self, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments that make a loader like this one."""
        given = {**given, "worker_init_fn": self._names.worker_init_fn}
        return {**given, **self._how, "depth": self._depth, "batch_size": self._batch_size}

    @Made
    def dataset(self) -> Any:
        """What was handed over, by number."""
        return self._dataset

    @property
    def epoch(self) -> int:
        """The pass that the loop is in: that of the last batch handed out, and the next one once it has ended."""
        return self._at[1]

    @property
    def cursor(self) -> Cursor:
        """Where the loader stands: after the last batch handed out."""
        return Cursor(self._at[0])


def _as_given(name: str) -> Made:
    made = Made(lambda loader: getattr(loader._names, name))
    made.name = name
    return made


for _name in READ:
    setattr(LoaderBase, _name, _as_given(_name))


def made_again(kind: Any, data: Any, given: dict[str, Any], state: dict[str, Any]) -> Any:
    """A loader that was copied, or came from another process: it stands where the first one stood."""
    loader = kind(data, **given)
    loader.load_state_dict(state)
    return loader
