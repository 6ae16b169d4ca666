"""`ladle train`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from ladle.cli.arguments import OptionalData, Rate
from ladle.cli.common import Common, print_json
from ladle.cli.folders import require_data, require_folder
from ladle.core import record
from ladle.core.errors import ArgumentError, must

CHANGED = {
    "data", "resume", "size", "micro_size", "schedule", "rule", "until", "restore", "track", "baselines",
    "checkpoint_every", "quiet", "json",
}  # fmt: skip
"""Options that a later sitting has of its own."""


@dataclass(frozen=True)
class Train(Common):
    """Train at a planned or given batch size; checkpoints, evaluation, record. Resumes exactly."""

    data: OptionalData = ""
    """Name (see `ladle data`), table, .npz/.npy/idx file, or file.py:task. With --resume: where the data is now."""
    size: str | None = None
    """Examples per update: auto (planned; the default), full, or a number."""
    micro_size: int | None = None
    """Examples per forward pass; chosen where left out."""
    until: str | None = None
    """When to end: "30 epochs", "2e6 examples", "5000 steps", "10 min", "valid_accuracy >= 0.97", "patience 5"."""
    schedule: str | None = None
    """Batch size over time: "0:64 10ep:128", "grow 64 x5 at 10ep 20ep max 2048", "warmup 8->64 over 1ep", ..."""
    rule: (
        Literal["none", "linear", "square root", "sde", "half-life", "legw", "adamw timescale", "completed"] | None
    ) = None
    """How rate and constants follow the size of a schedule; the optimiser's usual rule where left out."""
    lr: Rate = "auto"
    """auto, sweep (the best of those tried for a few seconds), or the rate at the first batch size."""
    lr_schedule: str = "constant"
    """Rate over time: constant, cosine, linear, "x0.1 at 10 epochs, 20 epochs"; each with ", warmup 1 epoch"."""
    noise: bool = False
    """Measure the gradient noise scale along the run: one update in 16 is cut into pieces for it."""
    memory: str | None = None
    """Memory limit of the whole run, such as 2GB: data, updates of any size or schedule, evaluations, checkpoints."""
    restore: Literal["best", "last"] | None = None
    """Whose parameters the run ends with: best, those of the best evaluation, or last. Where left out: the best where
    patience or a validation target ends the run."""
    track: str | None = None
    """Where else the record goes, by commas: tensorboard, mlflow, wandb, trackio; files are beside the run's folder."""
    baselines: bool = False
    """Fit scikit-learn's linear model and gradient boosting to the same rows at the end, and say which is better."""
    seed: int = 0
    """Seed of initial parameters, data order and dropout."""
    resume: Path | None = None
    """Go on with the run in this folder; --size or --schedule (and --rule), --micro-size and --until may differ."""
    overwrite: bool = False
    """Remove the run that is in --out first."""
    checkpoint_every: float = 30.0
    """Seconds between two checkpoints."""
    quiet: bool = False
    """No progress."""

    RATES: ClassVar = ("auto", "sweep")

    def run(self) -> int:
        from ladle.api import request as asked

        how: dict[str, Any] = {"show": not (self.json or self.quiet), "every_seconds": self.checkpoint_every}
        if self.resume is not None:
            request = self._resumed(self.resume)
            return self._end(asked.resume(request, self.resume, **how), request.baselines)
        if not self.data:
            raise ArgumentError(must("DATA", "be given", None, "there is nothing to train on", "ladle train digits"))
        folder = self.out or record.free_folder("train", self.data)
        return self._end(asked.begin(self._request(), folder, overwrite=self.overwrite, **how), self.baselines)

    def begun_with(self, name: str) -> bool:
        return self.resume is not None and name not in CHANGED

    def _request(self) -> Any:
        """What a new run is asked for. What was not said is as usual."""
        from ladle.api.request import Request

        words = [one.name for one in fields(Request) if one.name not in ("task", "sweep")]
        said = {name: value for name in words if (value := getattr(self, name)) is not None}
        return Request(self.options(), sweep=self.lr == "sweep", **said)

    def _resumed(self, folder: Path) -> Any:
        """What the run in `folder` is to go on with: what it began with, and what is said anew."""
        from ladle.api.request import Request

        require_folder("resume", folder, (record.RUN_FILE,))
        self._require_kept()
        request = Request.of_folder(folder)
        if self.data:
            request = replace(request, task=replace(request.task, data=self.data))
        require_data(request.task, folder)
        request = request.changed(
            self.size, self.micro_size, self.schedule, self.until, self.rule, self.restore, self.track
        )
        request = replace(request, baselines=request.baselines or self.baselines)
        if self.rule is not None and self.size is None and request.schedule is None:
            why = "it says how the rate follows another size"
            raise ArgumentError(must("rule", "come with --size or --schedule", self.rule, why, "leaving it out"))
        return request

    def _require_kept(self) -> None:
        """Refuse with --resume what a run has from its beginning."""
        for one in fields(self):
            if one.name not in CHANGED and (given := getattr(self, one.name)) != one.default:
                why, remedy = "the run goes on as it began", "a new run for that"
                name = f"--{one.name.replace('_', '-')}"
                raise ArgumentError(must(name, "be left out with --resume", given, why, remedy))

    def _end(self, run: Any, baselines: bool) -> int:
        """Say how the run ended, and with which exit code. Of several processes the first one speaks."""
        plain, spoken = None, run.folder is not None
        if baselines and spoken and run.status in ("finished", "stopped"):
            if not (self.json or self.quiet):
                print("fitting scikit-learn's linear model and gradient boosting to the same rows", file=sys.stderr)
            plain = run.baselines()
        for name, reason in run.refused:
            print(f"ladle: checkpoint {name} refused: {reason}; an older one was used", file=sys.stderr)
        if self.json and spoken:
            counts = {key: run.final.get(key, 0) for key in ("examples", "updates", "seconds")}
            final = {key: value for key, value in run.final.items() if key not in counts}
            facts = {"folder": str(run.folder), "status": run.status, "size": run.final.get("size")}
            print_json({**facts, **counts, "final": final, **({"baselines": plain.to_json()} if plain else {})})
        elif spoken:
            print("\n".join([summary(run), *([str(plain)] if plain else []), f"folder {run.folder}"]))
        if run.status == "interrupted":
            if spoken:
                print(f"interrupted; go on with: ladle train --resume {run.folder}", file=sys.stderr)
            return 143 if run.why.startswith("SIGTERM") else 130
        if run.status == "diverged":
            kept = f"; last good checkpoint: {run.checkpoint}" if run.checkpoint else ""
            print(f"ladle: {run.why}{kept}; try a smaller --lr", file=sys.stderr)
            return 1
        return 0


def summary(run: Any) -> str:
    """How a run ended, in two lines."""
    shown = {
        name: f"{value:.6g}"
        for name, value in run.final.items()
        if name.startswith(("train_", "valid_", "test_")) and isinstance(value, float)
    }
    final = run.final
    counts = f"{final['examples']:,} examples, {final['updates']:,} updates, {final['seconds']:.1f} s of training"
    return f"{run.status}: {run.why}; {counts}\n" + "  ".join(f"{name} {value}" for name, value in shown.items())
