"""`IteratorStream`: any Python iterator, as a log that begins anew when it must be read again."""

from __future__ import annotations

import copy
import inspect
import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.stream.taken import taken_of

STATE_BYTES = 100_000
"""A larger state is no position: it would be written with every checkpoint."""

LOSES = "BufferShuffled"
"""Begins the name of what shuffles in `datasets`: in a buffer, whose content is not in the state and is lost."""


@dataclass(frozen=True, eq=False)
class IteratorStream:
    """What an iterator gives, in its order; implements `ladle.core.protocols.Stream`.

    - `make`: one of
      - a function without arguments that makes the iterable anew: after a restart it is called again, and the events
        up to the position are taken and thrown away. That costs as much as reading them did.
      - a function of one argument, the number of events taken: `make(1000)` gives the events from number 1000 on.
      - an iterable: a list, a `torch.utils.data.IterableDataset`, a `datasets.IterableDataset`. One that has
        `state_dict()` and `load_state_dict()`, with a state that is small JSON, is brought to the position by those.
      - an iterator, such as a generator: it is read once, and a restarted run cannot go on with it.
    - `by_state`: False never trusts a state: events are skipped instead. A state is as exact as its library: one that
      leaves out a buffer loses what is in it. That of `datasets` when it shuffles is known to, and never trusted.
    - `memory`: events kept to be read again, at least those of the last read.

    The same events must come every time; nothing can check that. The position is the number of events taken, and the
    state where there is one. The iterator is waited for as long as it takes: it knows of no `wait_seconds`.

    Raises `ArgumentError` for what cannot be iterated over, `DataError` where an iterator would have to begin anew and
    cannot, or ends before the position.

    >>> stream = IteratorStream(lambda: range(5))
    >>> events, position = stream.read(stream.start(), 3, 0)
    >>> events, position, stream.read(position, 3, 0)[0]
    ([0, 1, 2], {'taken': 3}, [3, 4])
    """

    make: Callable[..., Iterable[Any]] | Iterable[Any]
    by_state: bool = True
    memory: int = 1024
    _live: _Live = field(default_factory=lambda: _Live(), repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.make, Iterable) and not callable(self.make):
            why, remedy = "events are taken from it", "IteratorStream(lambda: open_events())"
            raise ArgumentError(must("make", "be an iterable or make one", self.make, why, remedy))

    def start(self) -> dict[str, Any]:
        return {"taken": 0}

    def read(self, position: dict[str, Any], count: int, wait_seconds: float) -> tuple[list[Any], dict[str, Any]]:
        taken = taken_of(position, "an iterator")
        with self._live.lock:
            live = self._live
            if not live.reaches(taken):
                self._begin(taken, position.get("state"))
            events = live.replay(taken, count)
            fresh: list[Any] = []
            try:
                fresh.extend(islice(live.iterator, count - len(events)))
            finally:  # What came before an error is not taken twice.
                if fresh:
                    live.keep(fresh, max(self.memory, count), self._state())
            events += fresh
            return events, self._position(taken + len(events))

    def __getstate__(self) -> dict[str, Any]:  # Another process begins anew.
        return {name: value for name, value in vars(self).items() if name != "_live"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _live=_Live())

    def _begin(self, taken: int, state: Any) -> None:
        live = self._live
        if isinstance(self.make, Iterator) and (taken or live.taken is not None):
            got, why = f"{taken}, where it stands at {live.taken or 0}", "an iterator gives each event once"
            remedy = "a function that makes it anew: IteratorStream(lambda: events())"
            raise DataError(must("position", "be where the iterator stands or shortly before", got, why, remedy))
        live.forget()
        live.source = source = self._made(taken)
        if state is not None and self.by_state and _has_state(source):
            source.load_state_dict(state)
            at = taken
        else:
            at = taken if _places(self.make) else 0
        live.iterator, live.taken = iter(source), taken
        if sum(1 for _ in islice(live.iterator, taken - at)) < taken - at:
            live.forget()
            why, remedy = "the iterator ended before it: it is not the one of the run", "the same events"
            raise DataError(must("position", "be within what the iterator gives", taken, why, remedy))

    def _made(self, taken: int) -> Any:
        if isinstance(self.make, Iterable):
            return _pristine(self.make)
        made = self.make(taken) if _places(self.make) else self.make()
        if not isinstance(made, Iterable):
            raise ArgumentError(must("make", "make an iterable", made, "events are taken from it", "iter(events)"))
        return made

    def _state(self) -> Any:
        source = self._live.source
        trusted = self.by_state and _has_state(source) and not _loses(source)
        return _small_json(source.state_dict()) if trusted else None

    def _position(self, taken: int) -> dict[str, Any]:
        """A state is that of where the iterator stands: positions before it are reached by skipping."""
        live = self._live
        return {"taken": taken, **({"state": live.state} if live.taken == taken and live.state is not None else {})}


@dataclass(eq=False)
class _Live:
    """An iterator in use: how many events were taken of it, the last of them, its state. Never says what is read."""

    iterator: Iterator[Any] = field(default_factory=lambda: iter(()))
    source: Any = None
    taken: int | None = None
    last: deque[Any] = field(default_factory=deque)
    state: Any = None
    lock: Any = field(default_factory=threading.Lock)

    def forget(self) -> None:
        self.iterator, self.source, self.taken, self.state = iter(()), None, None, None
        self.last.clear()

    def reaches(self, taken: int) -> bool:
        return self.taken is not None and self.taken - len(self.last) <= taken <= self.taken

    def replay(self, taken: int, count: int) -> list[Any]:
        assert self.taken is not None
        first = taken - (self.taken - len(self.last))
        return list(islice(self.last, first, first + count))

    def keep(self, fresh: list[Any], memory: int, state: Any) -> None:
        assert self.taken is not None
        self.taken, self.state = self.taken + len(fresh), state
        self.last.extend(fresh)
        while len(self.last) > memory:
            self.last.popleft()


def _places(make: Any) -> bool:
    """Whether `make` takes the number of events to begin after."""
    if isinstance(make, Iterable):
        return False
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _pristine(source: Any) -> Any:
    """The source itself, or a copy of one with a state: a state that was loaded would stay when it begins anew."""
    if not _has_state(source):
        return source
    try:
        return copy.deepcopy(source)
    except Exception as error:
        got, why = f"{type(source).__name__}, which cannot be copied: {error}", "it begins anew after a restart"
        raise ArgumentError(
            must("make", "be a function that makes it anew", got, why, "IteratorStream(lambda: ...)")
        ) from None


def _has_state(source: Any) -> bool:
    return hasattr(source, "state_dict") and hasattr(source, "load_state_dict")


def _loses(source: Any) -> bool:
    """Whether a dataset of `datasets` shuffles in a buffer, somewhere in the chain it is made of."""
    if isinstance(source, list | tuple):
        return any(map(_loses, source))
    kind = type(source)
    if kind.__module__ != "datasets.iterable_dataset":
        return False
    return kind.__name__.startswith(LOSES) or any(map(_loses, getattr(source, "__dict__", {}).values()))


def _small_json(state: Any) -> Any:
    """The state where it is small JSON, else None: then events are skipped instead."""
    try:
        text = json.dumps(state)
    except (TypeError, ValueError):
        return None
    return json.loads(text) if len(text) <= STATE_BYTES and json.loads(text) == state else None
