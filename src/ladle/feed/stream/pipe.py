"""`PipeStream`: lines of a pipe, such as standard input, as a log."""

from __future__ import annotations

import csv
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ladle.core.errors import ArgumentError, DataError, must
from ladle.feed.stream.clients import until
from ladle.feed.stream.taken import taken_of

AHEAD = 4096
"""Lines that are taken from the pipe before they are asked for, at most: then whoever writes has to wait."""


@dataclass(frozen=True, eq=False)
class PipeStream:
    """Events in lines that come through a pipe; implements `ladle.core.protocols.Stream`.

    - `lines`: an open file of text, or any iterable of lines.
    - `form`: "jsonl", each line as text; "csv", each as `{column: text}`, the first line naming the columns; or None
      for what the first line looks like.

    A pipe gives each line once. The position is the number of events before it: a restarted run has to be given the
    pipe from its beginning again, and passes over what it has learnt. Only the lines after the last position that was
    read from are kept. A thread takes the lines, so that a batch may close before it is full.

    Raises `DataError` for a position that the pipe has passed or ends before.

    >>> stream = PipeStream(["x,y", "1,0", "2,1"])
    >>> stream.read(stream.start(), 5, 1.0)
    ([{'x': '1', 'y': '0'}, {'x': '2', 'y': '1'}], {'taken': 2})
    """

    lines: Iterable[str]
    form: str | None = None
    _live: _Live = field(default_factory=lambda: _Live(), repr=False)

    def __post_init__(self) -> None:
        if self.form not in (None, "csv", "jsonl"):
            why = "that says what an event is"
            raise ArgumentError(must("form", "be 'csv' or 'jsonl'", self.form, why, "form='jsonl'"))

    def start(self) -> dict[str, Any]:
        return {"taken": 0}

    def read(self, position: dict[str, Any], count: int, wait_seconds: float) -> tuple[list[Any], dict[str, Any]]:
        taken, left = taken_of(position, "a pipe"), until(wait_seconds)
        with self._live.changed:
            self._live.begin(self.lines, self.form)
            self._live.forget(taken)
            self._live.room = max(AHEAD, count)
            while self._live.behind(taken) < count and not self._live.ended and (seconds := left()) > 0:
                self._live.changed.wait(min(seconds, threading.TIMEOUT_MAX))
            if self._live.error is not None:
                raise self._live.error
            if self._live.ended and self._live.first + len(self._live.events) < taken:
                why, remedy = "it ended before: it is not the one of the run", "the same lines from the beginning"
                raise DataError(must("position", "be within what the pipe gives", taken, why, remedy))
            first = taken - self._live.first
            events = [self._live.events[at] for at in range(first, min(first + count, len(self._live.events)))]
            return events, {"taken": taken + len(events)}


@dataclass(eq=False)
class _Live:
    """The lines that are here: `events`, of which the first has number `first`; `wanted`: none before it is kept."""

    first: int = 0
    wanted: int = 0
    events: deque[Any] = field(default_factory=deque)
    ended: bool = False
    error: DataError | None = None
    begun: bool = False
    room: int = AHEAD
    changed: Any = field(default_factory=threading.Condition)

    def begin(self, lines: Iterable[str], form: str | None) -> None:
        if not self.begun:
            self.begun = True
            threading.Thread(target=self._take, args=(lines, form), name="ladle-pipe", daemon=True).start()

    def behind(self, taken: int) -> int:
        """Events that are here from number `taken` on."""
        return self.first + len(self.events) - taken

    def forget(self, taken: int) -> None:
        """Keep no event before number `taken`."""
        if taken < self.first:
            why, remedy = f"a pipe gives each line once, and is at {self.first:,}", "the same lines from the beginning"
            raise DataError(must("position", "be one that the pipe has not passed", taken, why, remedy))
        self.wanted = taken
        while self.events and self.first < taken:
            self.events.popleft()
            self.first += 1
        self.changed.notify_all()

    def _take(self, lines: Iterable[str], form: str | None) -> None:
        columns: list[str] | None = None
        try:
            for line in lines:
                if not (text := line.rstrip("\r\n")).strip():
                    continue
                form = form or ("jsonl" if text.lstrip("\ufeff").lstrip().startswith("{") else "csv")
                if form == "csv" and columns is None:
                    columns = _cells(text.lstrip("\ufeff"))
                    continue
                self._put(text if columns is None else _row(columns, text))
        except (OSError, UnicodeError, csv.Error) as error:
            why = " ".join(str(error).split())
            self.error = DataError(must("pipe", "be readable lines of text", "others", why, "UTF-8 text"))
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def _put(self, event: Any) -> None:
        with self.changed:
            while len(self.events) >= self.room:
                self.changed.wait()
            if self.first < self.wanted:  # A line that a restarted run has learnt already.
                self.first += 1
            else:
                self.events.append(event)
            self.changed.notify_all()


def _cells(text: str) -> list[str]:
    return next(csv.reader([text], strict=True))


def _row(columns: list[str], text: str) -> dict[Any, Any]:
    """Cells by column. What is missing is None, what is too much has no name: whoever decodes it will say so."""
    try:
        cells = _cells(text)
    except csv.Error:  # A quote that is not closed.
        return {None: text}
    row: dict[Any, Any] = dict(zip(columns, cells, strict=False))
    row.update(dict.fromkeys(columns[len(cells) :]))
    return {**row, **({None: cells[len(columns) :]} if len(cells) > len(columns) else {})}
