"""`ladle online`."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ladle.cli import lists
from ladle.cli.arguments import Rate, Source
from ladle.cli.common import print_json, rate_from
from ladle.core import record
from ladle.core.errors import ArgumentError, DivergedWarning, must
from ladle.core.spec import require_count


@dataclass(frozen=True)
class OnlineVerb:
    """Learn from rows as they come; each is judged by the model before it, then learnt, exactly once."""

    source: Source
    """A .csv or .jsonl file, a folder of such files in order of their names, or - for standard input."""
    target: str | None = None
    """Column that is learnt."""
    batch: int = 64
    """A batch is closed after so many events."""
    age: float | None = None
    """Or after so many seconds, full or not."""
    idle: float | None = None
    """Seconds without an event after which the stream has ended; inf never. Where left out: what is there now, of
    standard input until it is closed."""
    drift: Literal["adwin", "page-hinkley", "kswin"] | None = None
    """What watches the error for a drift."""
    on_drift: str = "shrink"
    """What is done then, by commas: shrink (the batch), raise (the rate), reset (the optimiser's averages)."""
    factor: float = 4.0
    """How many times smaller the batch, or larger the rate, is at first."""
    hold: int = 5000
    """Events after which batch and rate are back."""
    fading: float = 0.999
    """What an event counts in the faded mean beside the one after it."""
    recent: int = 1000
    """Events in the mean over the newest."""
    kind: Literal["classification", "regression"] | None = None
    """What the target is, where the guess is wrong."""
    classes: str | None = None
    """Names of all classes by commas, where the first events do not have them all."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    head: int = 1000
    """First events that say what columns are, and how numbers are standardised."""
    id: str | None = None
    """Column by which labels that come later are joined: rows without a target wait for one of this id."""
    keep: int = 10_000
    """Events after which an event whose label has not come is left out."""
    bad: Literal["raise", "skip"] = "raise"
    """What becomes of events that cannot be read."""
    model: Literal["linear", "mlp"] = "mlp"
    """Built-in model."""
    optimizer: str = "adam"
    """sgd, momentum, adam, adamw, ..."""
    lr: Rate = "auto"
    """auto, or the learning rate."""
    until: str | None = None
    """Where to end before the stream does: "1e6 examples", "10 min"."""
    seed: int = 0
    """Seed of initial parameters."""
    out: Path | None = None
    """Folder to write; runs/online-... where left out."""
    resume: bool = False
    """Go on with the run in --out, or begin it where there is none."""
    overwrite: bool = False
    """Remove the run that is in --out first."""
    checkpoint_every: float = 30.0
    """Seconds between two checkpoints."""
    every: int = 5000
    """Events between two lines on the terminal."""
    quiet: bool = False
    """Nothing on the terminal but the outcome."""
    json: bool = False
    """One JSON object on standard output and nothing else."""

    def run(self) -> int:
        from ladle.api.online import online
        from ladle.monitor.console import Quiet
        from ladle.monitor.prequential import PrequentialLines

        if self.target is None:
            why, remedy = "it is what is learnt", "--target COLUMN"
            raise ArgumentError(must("--target", "be given", None, why, remedy))
        if self.resume and self.out is None:
            why, remedy = "a run is in its folder", "--out FOLDER, the one it was begun with"
            raise ArgumentError(must("--out", "be given with --resume", None, why, remedy))
        if self.every < 1:
            raise ArgumentError(must("--every", "be at least 1", self.every, "events are counted", "--every 5000"))
        out = self.out or record.free_folder("online", "stdin" if self.source == "-" else self.source)
        show = Quiet() if self.quiet or self.json else PrequentialLines(self.every)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergedWarning)  # The outcome says it.
            done = online(self.source, **self._reading(), **self._how(), out=out, show=show)
        return self._end(done)

    def _reading(self) -> dict[str, Any]:
        names_ = [one.strip() for one in (self.classes or "").split(",")]
        lists_ = {"drop": self.drop, "classes": tuple(filter(None, names_))}
        names = ("target", "kind", "head", "id", "keep", "model", "optimizer")
        return {**{name: getattr(self, name) for name in names}, **lists_, "lr": rate_from(self.lr, words=("auto",))}

    def _how(self) -> dict[str, Any]:
        names = ("age", "bad", "drift", "factor", "hold", "fading", "recent", "until", "seed", "resume", "overwrite")
        return {
            **{name: getattr(self, name) for name in names},
            "size": require_count("batch", self.batch),
            "idle": self.idle,
            "on_drift": lists.parts(self.on_drift),
            "checkpoint_every_seconds": self.checkpoint_every,
        }

    def _end(self, done: Any) -> int:
        run = done.run
        for name, reason in run.refused:
            print(f"ladle: checkpoint {name} refused: {reason}; an older one was used", file=sys.stderr)
        if self.json:
            counts = {name: run.final.get(name, 0) for name in ("examples", "updates", "seconds")}
            labels = {"waiting": len(done.waiting), "expired": done.expired, "unknown": done.unknown}
            said = {"prequential": done.prequential, "decisions": done.decisions, "labels": labels}
            print_json({"folder": str(run.folder), "status": run.status, **counts, **said})
        else:
            print(f"{done.outcome()}\nfolder {run.folder}")
        if run.status == "interrupted":
            print(f"interrupted; go on with the same command, --out {run.folder} and --resume", file=sys.stderr)
            return 143 if run.why.startswith("SIGTERM") else 130
        return 1 if run.status == "diverged" else 0
