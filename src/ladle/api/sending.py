"""What goes to trackers: which ones a text names, an old run's record, and the process that sends for a `Courier`.

    python -m ladle.api.sending '["mlflow", {"uri": "sqlite:///mlflow.db"}]'

It reads notes (see `ladle.track.deliver`), one a line, and answers with dots while it lives, then `done` or why not.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ladle.api.courier import Courier
from ladle.api.folder import TRACKERS
from ladle.core import record
from ladle.core.errors import ArgumentError, RunError, must, nearest
from ladle.core.protocols import TrackedRun, Tracker
from ladle.monitor.jsonl import MetricsFile
from ladle.track import BY_NAME, MLflow, TensorBoard, Trackio, WandB
from ladle.track.deliver import EVERY_SECONDS, Draw, Note, deliver

ALL = 2**63
"""A position behind every line."""


def trackers(text: str | None, beside: Path) -> list[Tracker]:
    """The trackers that `text` names, joined by commas. Their files are in the folder `beside`, that of the run.

    Where the library has a setting of its own in the environment (MLFLOW_TRACKING_URI, WANDB_DIR, TRACKIO_DIR) that
    holds. Raises `ArgumentError` for unknown names and for libraries that are not installed.
    """
    return [_named(name.strip().lower(), beside.absolute()) for name in (text or "").split(",") if name.strip()]


def _named(name: str, beside: Path) -> Tracker:
    if name not in BY_NAME:
        raise ArgumentError(must("track", "be a known tracker", name, "it has these", nearest(name, BY_NAME)))
    if name == "tensorboard":
        return TensorBoard(str(beside / "tensorboard"))
    if name == "mlflow":
        return MLflow(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside / 'mlflow.db'}")
    if name == "wandb":
        return WandB(folder=os.environ.get("WANDB_DIR") or str(beside))
    return Trackio(folder=os.environ.get("TRACKIO_DIR") or str(beside / "trackio"))


def runs_in(folder: Path) -> list[Path]:
    """The run folders in `folder`: itself, or those of the comparison there."""
    if (folder / record.RUN_FILE).is_file():
        return [folder]
    rows = record.read_json(folder / record.COMPARE_FILE).get("runs", ())
    return list(dict.fromkeys(folder / run for row in rows for run in row.get("folders") or ()))


def send(folder: Path, tracker: Tracker) -> None:
    """Send the run that is in `folder` to `tracker`, as a new one. Raises `RunError` where that failed."""
    facts = record.read_json(folder / record.RUN_FILE)
    said: list[str] = []
    courier = Courier(tracker, said.append)
    courier.begin(folder.resolve().name, facts, folder, ALL)
    courier.end(facts)
    courier.finish()
    if said:
        raise RunError(must(courier.name, "take the run", str(folder), said[0].partition("; the run")[0], "once more"))


@dataclass(frozen=True)
class _Copy:
    """A copy of the run's record in a folder of its own, from which pictures are drawn once it is whole.

    - `origin`: the run's own folder, where its answers are kept at the end; None for a run in memory.
    """

    folder: Path
    lines: MetricsFile
    origin: Path | None = None

    def pictures(self) -> dict[str, Draw]:
        """The run's curves, its plan's picture, and what its model said of validation and test rows."""
        from ladle import report

        self.lines.close()
        return {"curves": lambda: report.write_curves(self.folder), "plan": self._plan, "answers": self._answers}

    def _plan(self) -> Path | None:
        from ladle import report

        plan = record.read_json(self.folder / record.RUN_FILE).get("plan")
        return report.write_plan_figure(plan, self.folder / "plan.png") if plan else None

    def _answers(self) -> Path | None:
        from ladle import report

        kept = None if self.origin is None else self.origin / record.ANSWERS_FILE
        if kept is None or not kept.is_file():
            return None
        shutil.copyfile(kept, self.folder / record.ANSWERS_FILE)
        return report.write_answers(self.folder)

    def take(self, note: Note) -> None:
        if "line" in note:
            self.lines.append(note["line"])
        for name in ("facts", "end"):
            if name in note:
                record.write_json(self.folder / record.RUN_FILE, note[name])


def _heard(place: int, answer: int) -> Iterator[Note]:
    """The notes of a pipe as they come; an empty one each second without. A dot answers each second."""
    rest, dotted = b"", time.monotonic()
    while True:
        ready = select.select([place], [], [], EVERY_SECONDS)[0]
        data = os.read(place, 1 << 16) if ready else b""
        if ready and not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for note in map(json.loads, lines) if lines else ({},):
            dotted = _dot(answer, dotted)
            yield note
            for one in _older(note):
                dotted = _dot(answer, dotted)
                yield one


def _dot(answer: int, last: float) -> float:
    now = time.monotonic()
    if now - last < EVERY_SECONDS:
        return last
    with suppress(BlockingIOError):  # Nobody has listened for hours.
        os.write(answer, b".\n")
    return now


def _older(note: Note) -> Iterator[Note]:
    """The lines that are a run's already when it is told of, with about the time they were written at."""
    if note.get("until", -1) < 0 or not note.get("folder"):
        return
    path = Path(note["folder"]) / record.METRICS_FILE
    lines = [line for line in record.read_lines(path) if int(line.get("examples", 0)) <= note["until"]]
    began = path.stat().st_mtime - float(lines[-1].get("seconds") or 0) if lines else 0.0
    for line in lines:
        yield {"line": line, "when": began + float(line.get("seconds") or 0), "older": True}


def _notes(heard: Iterator[Note], name: str, copy: _Copy) -> Iterator[Note]:
    """What is delivered of what was heard. Older lines are left out where the tracker knows the earlier sitting."""
    known = False
    for note in heard:
        copy.take(note)
        if "begin" in note and 0 <= note["until"] < ALL:
            kept = _kept(note, name)
            known = kept is not None
            note = {**note, "onward": kept}
        if not (known and note.get("older")):
            yield note


def _kept(note: Note, name: str) -> dict[str, Any] | None:
    """The earlier sitting of the run, where this tracker has heard of it."""
    try:
        identity = (Path(note["folder"]) / TRACKERS / name).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    updates = max((int(one["line"].get("updates", 0)) for one in _older(note)), default=0)
    return {"identity": identity, "updates": updates}


def _opened(run: TrackedRun, folder: str | None, name: str) -> None:
    """Remember what `name` knows the run by; and load what draws, while the training goes on."""
    import_module("ladle.report.curves_picture")
    if folder is not None:
        place = Path(folder) / TRACKERS
        place.mkdir(exist_ok=True)
        (place / name).write_text(run.identity + "\n", encoding="utf-8")


def main(args: Sequence[str]) -> int:
    """Send what comes on standard input. Nothing a library prints reaches anybody."""
    answer = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(answer, False)
    os.nice(10)  # The training comes first.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    name, values = json.loads(args[0])
    try:
        with TemporaryDirectory(prefix="ladle-") as scratch:
            _send(BY_NAME[name](**values), name, _heard(0, answer), Path(scratch))
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        os.write(answer, f"{type(error).__name__}{': ' if first else ''}{first}\n".encode())
        return 1
    os.write(answer, b"done\n")
    return 0


def _send(tracker: Tracker, name: str, heard: Iterator[Note], scratch: Path) -> None:
    for note in heard:
        if "begin" in note:
            break
    else:
        return
    place = scratch / note["begin"]
    place.mkdir()
    # An old run that is sent again stays the one that a resumed run goes on with.
    keeps = note["folder"] if note["until"] < ALL else None
    with MetricsFile(place / record.METRICS_FILE) as lines:
        copy = _Copy(place, lines, note["folder"] and Path(note["folder"]))
        notes = _notes(_again(note, heard), name, copy)
        deliver(tracker, notes, copy.pictures, lambda run: _opened(run, keeps, name))


def _again(first: Note, rest: Iterator[Note]) -> Iterator[Note]:
    yield first
    yield from rest


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
