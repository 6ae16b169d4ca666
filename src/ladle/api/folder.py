"""`RunFolder`: the folder of a run while a sitting writes there, locked; or no folder, for a run in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ladle.core import record
from ladle.core.backend import Saver
from ladle.core.carry import Carry
from ladle.core.errors import ArgumentError, CheckpointError, must
from ladle.core.world import World
from ladle.loop.checkpoint import Checkpoints
from ladle.loop.lock import locked
from ladle.monitor.jsonl import MetricsFile

if TYPE_CHECKING:
    from ladle.api.session import Session

BEST = "best"
"""The folder of the best evaluation's checkpoint, beside those of the newest."""

TRACKERS = "trackers"
"""The folder in which each tracker that hears of a run has a file, with what it knows the run by."""

DRAWN = ("curves.png", "plan.png", "answers.png", "report.html")
WRITTEN = (
    record.RUN_FILE,
    record.METRICS_FILE,
    record.CHECKPOINTS,
    BEST,
    TRACKERS,
    "model.json",
    record.ANSWERS_FILE,
    *DRAWN,
)
"""What a run, or a report on it, leaves in its folder: all that `overwrite` removes."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written.

    - `path`: None for a run in memory. `resume`: go on with the run there. `overwrite`: remove it first.
    - `keep`: whether checkpoints are written.
    """

    path: Path | None
    resume: bool = False
    overwrite: bool = False
    keep: bool = True

    def before(self) -> Mapping[str, Any] | None:
        """run.json of the run to go on with; None for a new one. Read here and nowhere else.

        Raises `ArgumentError` where a folder is missing or not new.
        """
        if self.path is None:
            if self.resume or self.overwrite:
                raise ArgumentError(must("out", "be given", None, "a run is in its folder", "out='runs/a'"))
            return None
        if self.resume and (self.overwrite or not self.keep):
            name, value = ("overwrite", True) if self.overwrite else ("checkpoints", False)
            why = "what is there is gone on with"
            raise ArgumentError(must(name, "be left as it is with resume", value, why, f"{name}={not value}"))
        if self.resume:
            return record.read_json(self.path / record.RUN_FILE)
        if not (self.overwrite and self._holds_a_run()):
            kept = ", or overwrite=True or resume=True" if self._holds_a_run() else ""
            record.require_new(self.path, f"another folder{kept}")
        return None

    def kept_by(self, world: World) -> tuple[RunFolder, Mapping[str, Any] | None]:
        """This folder for rank 0, which keeps the record, none for the others; and what `before` says, for all."""
        return (self if world.rank == 0 else RunFolder(None)), world.first(self.before)

    def open(
        self, stack: ExitStack, saver: Callable[[], Saver]
    ) -> tuple[MetricsFile | None, Checkpoints | None, Checkpoints | None]:
        """Hold the folder until `stack` ends: the metrics file, the newest checkpoints, the best one."""
        if self.path is None:
            return None, None, None
        self.path.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(self.path))
        if self.overwrite:
            self._clear()
        newest = bests = None
        if self.keep:
            newest = stack.enter_context(Checkpoints(self.path / record.CHECKPOINTS, saver()))
            # Two: a kill may come between a new best and the checkpoint of its place; then the one before is the best.
            bests = stack.enter_context(Checkpoints(self.path / BEST, saver(), keep=2))
        return stack.enter_context(MetricsFile(self.path / record.METRICS_FILE)), newest, bests

    def resumed(self, session: Session) -> Carry | None:
        """The newest checkpoint's carry, with the record cut there; None where the run begins.

        Raises `CheckpointError` where none can be gone on from. Nothing is written then.
        """
        if self.path is None or not self.resume or not self._goes_on(session):
            return None
        return session.restored(self.path)

    def begin(self, session: Session) -> Carry:
        """The carry of a run that begins, its first line recorded and its first checkpoint on the way."""
        if session.file is not None:
            session.file.truncate_after(-1)
        carry = session.fresh()
        line: dict[str, Any] = {"examples": 0, "updates": 0, "epoch": 0.0, "seconds": 0.0}
        carry = session.evaluate(carry, line)
        carry = session.record(carry, line)
        session.save(carry)
        return carry

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Write run.json, where there is a folder."""
        if self.path is None:
            return
        record.write_json(self.path / record.RUN_FILE, facts)

    def newest(self, session: Session) -> Path | None:
        """The newest checkpoint, once all that are on their way are written."""
        if session.checkpoints is None:
            return None
        session.checkpoints.wait()
        if session.bests is not None:
            session.bests.wait()
        steps = session.checkpoints.steps()
        return session.checkpoints.folder / f"{steps[-1]:012d}" if steps else None

    def _goes_on(self, session: Session) -> bool:
        """Whether there is a checkpoint to go on from. Raises where there was one and is none.

        Killed before the first checkpoint was whole, a run begins again: the same seed gives the same run. Then what it
        had begun to save is there; where checkpoints were removed there is a record, and nothing that led to it.
        """
        assert self.path is not None and session.checkpoints is not None and session.file is not None
        if session.checkpoints.begun():
            return True
        trained = session.file.last_before(2**63)
        if trained > 0 and not session.checkpoints.interrupted():
            got = f"a record of {trained:,} examples and no checkpoint"
            why, remedy = "the state of the run is nowhere, and its record would be lost", "a new run in another folder"
            raise CheckpointError(must(str(self.path), "hold a checkpoint to go on from", got, why, remedy))
        return False

    def _holds_a_run(self) -> bool:
        assert self.path is not None
        return (self.path / record.RUN_FILE).is_file()

    def _clear(self) -> None:
        """Remove what an earlier run left, and nothing else."""
        assert self.path is not None
        for name in WRITTEN:
            found = self.path / name
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink(missing_ok=True)
