"""`Patient`: a stream that is waited for in short pieces, so that a run which is asked to end does not wait on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ladle.core.protocols import Stream

PIECE_SECONDS = 0.25


@dataclass(frozen=True)
class Patient:
    """`stream`, which stops waiting where `asked()` says so; implements `ladle.core.protocols.Stream`.

    A stream that answers with fewer events than it was asked for, long before its time is up, has ended.
    """

    stream: Stream
    asked: Callable[[], bool]

    def start(self) -> Any:
        return self.stream.start()

    def read(self, position: Any, count: int, wait_seconds: float) -> tuple[list[Any], Any]:
        end, events = time.monotonic() + wait_seconds, []
        while True:
            piece, began = min(PIECE_SECONDS, max(0.0, end - time.monotonic())), time.monotonic()
            found, position = self.stream.read(position, count - len(events), piece)
            events += found
            short = time.monotonic() - began < piece / 2
            if len(events) == count or short or self.asked() or time.monotonic() >= end:
                return events, position

    def sums(self, before: Any, after: Any) -> dict[str, float]:
        """What the stream has to say of the way between two positions, for those that have."""
        said = getattr(self.stream, "sums", None)
        return {} if said is None else said(before, after)


@dataclass(frozen=True, eq=False)
class Followed:
    """`stream`, with where the last read of it has come to; implements `ladle.core.protocols.Stream`."""

    stream: Any
    last: dict[str, Any] = field(default_factory=dict)

    def start(self) -> Any:
        return self.stream.start()

    def read(self, position: Any, count: int, wait_seconds: float) -> tuple[list[Any], Any]:
        events, after = self.stream.read(position, count, wait_seconds)
        self.last["position"] = after
        return events, after

    def sums(self, before: Any, after: Any) -> dict[str, float]:
        return self.stream.sums(before, after)
