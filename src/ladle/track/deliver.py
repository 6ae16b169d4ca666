"""`deliver`: the notes of a run, one after the other, into a tracker; in a process beside the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.core.protocols import TrackedRun, Tracker
from ladle.track.words import numbers

Note = Mapping[str, Any]
"""One of `begin`, `line`, `message`, `end`, with what it carries; an empty one where nothing came for a while."""

Draw = Callable[[], Path | None]
"""Draws a picture and says where; None where there is nothing to draw."""

EVERY_SECONDS = 1.0
"""Between two flushes."""

UNKNOWN = {"status": "killed", "why": "the run was heard of no more"}
"""How a run ended whose notes stopped without an end."""


@dataclass(frozen=True)
class Earlier:
    """An earlier sitting that the tracker knows by `identity`; the run goes on after `updates`."""

    identity: str
    updates: int


def deliver(
    tracker: Tracker,
    notes: Iterable[Note],
    pictures: Callable[[], Mapping[str, Draw]] = dict,
    opened: Callable[[TrackedRun], None] = lambda run: None,
) -> None:
    """Send the run that `notes` tell of, first `begin`, last `end`, to `tracker`. Raises what the tracker raises.

    - `pictures`: asked for after the end, and drawn one by one.
    - `opened`: told of the tracker's run as soon as there is one.

    Notes that stop before `end` leave a run with the status "killed".
    """
    run: TrackedRun | None = None
    step, flushed = 0, time.monotonic()
    for note in notes:
        if "begin" in note:
            onward = note.get("onward")
            run = tracker.open(note["begin"], note["facts"], Earlier(**onward) if onward else None)
            opened(run)
        elif run is None:
            continue
        elif "line" in note:
            step = int(note["line"].get("updates", step))
            _line(run, note["line"], step, note["when"])
        elif "message" in note:
            run.text("message", note["message"], step)
        elif "end" in note:
            _draw(run, pictures(), step)
            run.close(note["end"])
            return
        if time.monotonic() - flushed >= EVERY_SECONDS:
            run.flush()
            flushed = time.monotonic()
    if run is not None:
        run.close(UNKNOWN)


def _draw(run: TrackedRun, pictures: Mapping[str, Draw], step: int) -> None:
    for name, draw in pictures.items():
        try:
            path = draw()
        except Exception as error:  # A run without a picture is still a run: it may have ended before its second line.
            run.text("message", f"no picture of its {name}: {error}", step)
            continue
        if path is not None:
            run.picture(name, path, step)


def _line(run: TrackedRun, line: Mapping[str, Any], step: int, when: float) -> None:
    run.numbers(numbers(line), step, when)
    if line.get("reason"):
        run.text("decision", str(line["reason"]), step)
