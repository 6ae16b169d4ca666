"""A small run, told note by note, and a tracker that writes down what it is asked; shared by the tests of this room."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ladle.core.protocols import Onward
from ladle.track.deliver import Draw, deliver

FACTS = {"status": "running", "size": 8, "optimizer": {"name": "sgd", "lr": 0.1}, "plan": {"size": 8, "rungs": [8, 16]}}
LINES = [
    {"examples": 0, "updates": 0, "valid_loss": 2.0},
    {"examples": 80, "updates": 10, "valid_loss": 1.0, "train_loss": 1.5, "noise_scale": None},
    {"examples": 240, "updates": 20, "valid_loss": 0.5, "size": 16, "reason": "batch size 8 -> 16"},
]
END = {
    **FACTS,
    "status": "stopped",
    "why": "patience 1",
    "final": LINES[-1],
    "best": {"metric": "valid_loss", "value": 0.5, "examples": 240},
}
NOTES: list[dict[str, Any]] = [
    {"begin": "run-1", "facts": FACTS, "folder": None, "until": -1},
    {"message": "a word before"},
    *({"line": line, "when": 1e9 + index} for index, line in enumerate(LINES)),
    {"end": END},
]


def pictures(folder: Path) -> dict[str, Draw]:
    """Two pictures, and one that there is nothing to draw of."""
    return {"curves": lambda: pixel(folder / "curves.png"), "plan": lambda: None,
            "answers": lambda: pixel(folder / "answers.png")}  # fmt: skip


def pixel(path: Path) -> Path:
    """The smallest PNG there is: one grey pixel."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\x80")),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


DELIVERED = """
import sys
from pathlib import Path
from ladle import track
from ladle.track.deliver import deliver
from ladle.track.fakes_test import NOTES, pictures
tracker = {tracker}
onward = {onward!r}
notes = [{{**NOTES[0], "onward": onward}}, *NOTES[1:]]
deliver(tracker, notes, lambda: pictures(Path({folder!r})), lambda run: print(run.identity))
"""
"""For a process of its own: libraries of trackers set up threads, and things for the end of the process."""


def code(tracker: str, folder: Path, onward: Mapping[str, Any] | None = None) -> str:
    return DELIVERED.format(tracker=tracker, folder=str(folder), onward=onward)


@dataclass
class Diary:
    """A tracker, and its one run."""

    said: list[Any] = field(default_factory=list)
    identity: str = "diary"

    def open(self, name: str, facts: Mapping[str, Any], onward: Onward | None = None) -> Diary:
        self.said.append(("open", name, onward and onward.updates))
        return self

    def numbers(self, values: Mapping[str, float], step: int, when: float) -> None:
        self.said.append((step, values))

    def text(self, kind: str, words: str, step: int) -> None:
        self.said.append((step, kind, words))

    def picture(self, name: str, path: Path, step: int) -> None:
        self.said.append((step, name, path.name))

    def flush(self) -> None:
        pass

    def close(self, facts: Mapping[str, Any]) -> None:
        self.said.append(("close", facts["status"]))


def told(*notes: Mapping[str, Any], pictures: Any = dict) -> list[Any]:
    diary = Diary()
    deliver(diary, notes, pictures)
    return diary.said
