"""`TensorBoard`: runs as event files, through tensorboardX. The only file that imports it."""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ladle.core.protocols import Onward
from ladle.track.library import require
from ladle.track.words import ending, parameters, words_of


@dataclass(frozen=True)
class TensorBoard:
    """Writes runs as event files that `tensorboard --logdir FOLDER` shows, each in `folder/NAME`.

    Parameters and the last numbers are under HPARAMS, decisions under TEXT, pictures under IMAGES.

    - `name`: of the run; that of its folder where left out.

    Raises `ArgumentError` where tensorboardX is not installed.
    """

    folder: str = "tensorboard"
    name: str | None = None

    def __post_init__(self) -> None:
        require("tensorboard", "tensorboardX")
        object.__setattr__(self, "folder", str(self.folder))

    def open(self, name: str, facts: Mapping[str, Any], onward: Onward | None = None) -> EventFile:
        return EventFile(Path(self.folder) / (self.name or name), facts, onward)


class EventFile:
    """A run in event files. They are written directly: a process of its own needs no thread and no queue."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], onward: Onward | None) -> None:
        from tensorboardX import FileWriter

        self._folder, self._facts, self._step = folder, facts, 0
        writer = FileWriter(str(folder), flush_secs=1, filename_suffix=f".{time.time_ns()}")
        self._writer = writer
        self._clear(0 if onward is None else onward.updates + 1)
        self.text("run", _table(parameters(facts)), 0)

    @property
    def identity(self) -> str:
        return str(self._folder)

    def numbers(self, values: Mapping[str, float], step: int, when: float) -> None:
        from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[attr-defined]

        pairs = [Summary.Value(tag=name, simple_value=float(value)) for name, value in values.items()]
        self._add(Summary(value=pairs), step, when)

    def text(self, kind: str, words: str, step: int) -> None:
        from tensorboardX.summary import text

        self._add(text(kind, words), step)

    def picture(self, name: str, path: Path, step: int) -> None:
        from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[attr-defined]

        data = path.read_bytes()
        width, height = struct.unpack(">II", data[16:24])  # Where every PNG file has them.
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=data)
        self._add(Summary(value=[Summary.Value(tag=name, image=image)]), step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self, facts: Mapping[str, Any]) -> None:
        from tensorboardX.summary import hparams

        known, last = parameters({**self._facts, **facts}), ending(facts)
        for part in hparams({**known, **words_of(facts)}, last):
            self._add(part, self._step)
        self.numbers(last, self._step, time.time())
        self.text("ended", _table(words_of(facts)), self._step)
        self._writer.close()

    def _clear(self, step: int) -> None:
        """Tell readers to forget what earlier files of the folder say from `step` on: it is made anew."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[attr-defined]

        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(session_log=start), step)

    def _add(self, summary: Any, step: int, when: float | None = None) -> None:
        self._step = max(self._step, step)
        self._writer.add_summary(summary, step, when)


def _table(values: Mapping[str, Any]) -> str:
    """As Markdown, which is how text is shown."""
    rows = (f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in values.items())
    return "\n".join(["| | |", "|---|---|", *rows])
