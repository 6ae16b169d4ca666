"""`Labelled`: events whose labels come later, by their id. What waits is in the position, and so in the checkpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ladle.core.errors import ArgumentError, DataError, must
from ladle.core.protocols import Stream
from ladle.core.spec import require_count

GONE = ("", None)
"""What a cell holds where nothing is said yet."""


@dataclass(frozen=True)
class Labelled:
    """Joins events with labels that come later on the same stream; implements `ladle.core.protocols.Stream`.

    - `stream`: of mappings, or of JSON objects as bytes or text. `id`, `target`: what they call the two.
    - `keep`: an event whose label has not come within so many further events has expired: it is left out, and counted.
      Time is counted in events, so that a restarted run lets the same ones expire.

    An event without `target` (missing, empty, null) waits; one with `id` and `target` alone is a label; one with all of
    it is whole. What comes out are whole events, in the order in which their labels came. The position holds where
    reading goes on, the events that wait, and counts.

    Raises `DataError` for an event without an id, a second event under an id that waits, and where twice `keep`
    events have come and not one label.

    >>> from ladle.feed import IteratorStream
    >>> events = [{"id": 1, "x": 5}, {"id": 2, "x": 6}, {"id": 1, "y": 0}]
    >>> stream = Labelled(IteratorStream(events), "id", "y")
    >>> stream.read(stream.start(), 2, 0)[0]
    [{'id': 1, 'x': 5, 'y': 0}]
    """

    stream: Stream
    id: str
    target: str
    keep: int = 10_000

    def __post_init__(self) -> None:
        require_count("keep", self.keep)
        if self.id == self.target:
            why, remedy = "an id says which event a label is of", "id='id'"
            raise ArgumentError(must("id", "be another column than the target", self.id, why, remedy))

    def start(self) -> dict[str, Any]:
        return {"at": self.stream.start(), "read": 0, "waiting": [], "labels": 0, "unknown": 0, "expired": 0}

    def read(self, position: dict[str, Any], count: int, wait_seconds: float) -> tuple[list[Any], dict[str, Any]]:
        joining = _Joining.of(self, position)
        end, whole = time.monotonic() + wait_seconds, []
        while len(whole) < count:
            events, at = self.stream.read(joining.at, count - len(whole), max(0.0, end - time.monotonic()))
            for event in events:
                whole += joining.took(event)
            joining.at = at
            if not events:  # None came in that time; or before it is up, and then none will.
                break
        return whole, joining.position()

    def sums(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float]:
        """What the record is to say of the way from one position to another: labels without an event, and expiries."""
        names = {"unknown": "labels_unknown", "expired": "labels_expired"}
        return {said: float(after[name] - before[name]) for name, said in names.items() if after[name] != before[name]}


@dataclass
class _Joining:
    """A position on its way."""

    of_: Labelled
    at: Any
    read: int
    waiting: dict[str, tuple[int, dict[str, Any]]]
    labels: int
    unknown: int
    expired: int

    @classmethod
    def of(cls, labelled: Labelled, position: Any) -> _Joining:
        try:
            waiting = {_key(event[labelled.id]): (int(number), event) for number, event in position["waiting"]}
            counts = (int(position[name]) for name in ("labels", "unknown", "expired"))
            return cls(labelled, position["at"], int(position["read"]), waiting, *counts)
        except (KeyError, TypeError, ValueError):
            be, why = "be one of labels that come later", "it is where reading goes on"
            raise DataError(must("position", be, position, why, "the cursor of this feed")) from None

    def position(self) -> dict[str, Any]:
        waiting = [[number, event] for number, event in self.waiting.values()]
        counts = {name: getattr(self, name) for name in ("read", "labels", "unknown", "expired")}
        return {"at": self.at, "waiting": waiting, **counts}

    def took(self, given: Any) -> list[dict[str, Any]]:
        """The whole event that one more makes, if it does."""
        self.read += 1
        whole = self._joined(_fields(given, self.read))
        while self.waiting and (first := next(iter(self.waiting.items())))[1][0] <= self.read - self.of_.keep:
            del self.waiting[first[0]]
            self.expired += 1
            if not self.labels and self.read >= 2 * self.of_.keep:
                got = f"{self.read:,} events and no label in {self.of_.target}"
                why, remedy = "an event is learnt with its label", "keep=N for labels that come later than that"
                raise DataError(must("labels", f"come within {self.of_.keep:,} events", got, why, remedy))
        return whole

    def _joined(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        id, target = self.of_.id, self.of_.target
        if event.get(id) in GONE:
            why, remedy = "labels are joined by it", f"a value under {id!r}, or another id"
            raise DataError(must(f"event {self.read:,}", f"have an id under {id!r}", event, why, remedy))
        key, known = _key(event[id]), {name for name, value in event.items() if value not in GONE} - {id}
        if target not in known:
            if key in self.waiting:
                why, remedy = "an event under it waits for its label already", "ids that are given once"
                raise DataError(must(f"event {self.read:,}", "have an id of its own", event[id], why, remedy))
            self.waiting[key] = self.read, event
            return []
        self.labels += 1
        if known != {target}:
            return [event]
        if key not in self.waiting:
            self.unknown += 1
            return []
        return [{**self.waiting.pop(key)[1], target: event[target]}]


def _key(id: Any) -> str:
    return str(id)


def _fields(given: Any, number: int) -> dict[str, Any]:
    """An event as a mapping that JSON can hold."""
    try:
        event = json.loads(given) if isinstance(given, bytes | str) else given
        return {str(name): value.tolist() if hasattr(value, "tolist") else value for name, value in event.items()}
    except (ValueError, AttributeError, RecursionError):
        got = given if len(repr(given)) < 120 else f"{repr(given)[:117]}..."
        why, remedy = "labels are joined by name", 'JSON objects, {"id": 1, "x": 0.5}'
        raise DataError(must(f"event {number:,}", "be an object with names", got, why, remedy)) from None
